"""Write benchmarks/README.md, its plot and the table of the README from the recorded results.

    python benchmarks/write_readme.py

All numbers come from the JSON of the scripts. A script without JSON is listed as not measured.
"""

import ast
import json
import re
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from boats_runtime.files import write_atomic

FOLDER = Path(__file__).parent
SCRIPTS = (
    "peers", "large_images", "profile_int8", "providers", "precisions", "cold_start", "folder",
    "svm_graph", "training",
)  # fmt: skip
PLOT = "peers.png"
README_BLOCK = re.compile(r"(<!-- peers -->\n).*?(<!-- /peers -->)", re.DOTALL)
EXIT_CODE = re.compile(r"\s*Exits\s+with\s+5\s+if\s+a\s+target\s+is\s+missed\.")
LIBRARIES = (
    "boats", "onnxruntime", "onnxruntime-gpu", "torch", "openvino", "scikit-learn", "skl2onnx",
    "torchvision", "ultralytics", "opencv-python", "numpy", "pillow",
)  # fmt: skip

HEADER = """# Benchmarks

Written by `python benchmarks/write_readme.py` from the JSON in `benchmarks/results/`, which has all
raw values; `make bench` runs all scripts and then this one. Ratios are those of medians, timed in
interleaved trials of one run, with 95% intervals from a bootstrap over starts and rounds. "Faster"
and "slower" need an interval over 5 or more starts. p99 is reported for 1,000 or more runs. To
measure your own file on your own machine, use `boats-benchmark`.
"""

SHIPPED_ESTIMATOR = "CalibratedSVC"
OUTDATED_SVM = (
    f"These results were recorded before the script measured the `{SHIPPED_ESTIMATOR}` that "
    "`boats-train` fits."
)


def main(folder: Path = FOLDER) -> None:
    """Write the pages of a folder of scripts and results."""
    sections = [HEADER]
    for name in SCRIPTS:
        result = read_result(folder, name)
        sections.append(format_section(folder / f"{name}.py", result))
        if name == "peers" and result:
            draw_plot(result["peers"], folder / PLOT)
            sections.append(f"![Median latency of one image by runtime]({PLOT})\n")
            update_readme(folder.parent / "README.md", result)
    write_atomic(folder / "README.md", "\n".join(sections).encode())


def read_result(folder: Path, name: str) -> dict[str, Any] | None:
    """Return the recorded result of a script; None if it was not measured."""
    path = folder / "results" / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def format_section(script: Path, result: dict[str, Any] | None) -> str:
    """Return the section of a script: its docstring, its table and the environment."""
    docstring = ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))) or ""
    title, _, description = docstring.partition("\n")
    lines = [f"## {title.rstrip('.')}", "", EXIT_CODE.sub("", description).strip("\n"), ""]
    if result is None:
        lines.append("Not measured.")
    else:
        lines += [result["table"], ""]
        if script.stem == "svm_graph" and is_outdated(result):
            lines += [OUTDATED_SVM, ""]
        lines += format_environment(result["circumstances"])
    return "\n".join([*lines, ""])


def is_outdated(result: dict[str, Any]) -> bool:
    """Return whether a result of `svm_graph.py` is that of an estimator that is not shipped."""
    return any(row["estimator"] != SHIPPED_ESTIMATOR for row in result.get("rows", ()))


def format_environment(environment: dict[str, Any]) -> list[str]:
    """Return date, commit, machine, versions and warnings of a run."""
    libraries = environment["libraries"]
    versions = ", ".join(f"{name} {libraries[name]}" for name in LIBRARIES if name in libraries)
    return [
        f"{environment['when']}, commit {environment['commit']}, {environment['cpu']}, "
        f"{environment['cores_granted']} cores, Python {environment['python']}, {versions}.",
        *(f"\n**Warning: {warning}**" for warning in environment["warnings"]),
    ]


def update_readme(readme: Path, result: dict[str, Any]) -> None:
    """Replace the table between the marks of the README.

    Raises:
        SystemExit: If the README does not have the marks.
    """
    environment = result["circumstances"]
    machine = f"{environment['cpu']}, {environment['cores_granted']} cores"
    block = (
        f"{result['table']}\n\nResNet50 at 240x800 on {machine}, commit {environment['commit']}; "
        "`python benchmarks/peers.py`, see [all benchmarks](benchmarks/README.md).\n"
    )
    content = readme.read_text(encoding="utf-8")
    changed, count = README_BLOCK.subn(lambda match: match[1] + block + match[2], content)
    if count != 1:
        raise SystemExit(f"{readme}: expected one pair of <!-- peers --> and <!-- /peers -->")
    write_atomic(readme, changed.encode())


def draw_plot(rows: dict[str, dict[str, Any]], path: Path) -> None:
    """Draw the median latencies as bars, the fastest backend at the top."""
    ordered = sorted(rows.items(), key=lambda item: -float(item[1]["p50_ms"]))
    names, times = [name for name, _ in ordered], [row["p50_ms"] for _, row in ordered]
    colors = ["#0b7285" if name.startswith("boats") else "#adb5bd" for name in names]
    figure = Figure(figsize=(8, 0.38 * len(names) + 1), layout="constrained")
    axes = figure.subplots()
    axes.bar_label(axes.barh(names, times, color=colors), fmt="%.0f ms", padding=4)
    axes.set(xlabel="median latency of one image, ms", xlim=(0, max(times) * 1.12))
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
