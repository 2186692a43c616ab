"""The network in int8 beside float32, on the CPU: time a photo, and size; and what each part does.

    python benchmarks/precisions.py --backbone resnet50

Weights are random and photos drawn: neither changes how long a product takes. "plain stem" is int8
without the first layers rearranged (`boats_export.space_to_depth`). Exits with 5 if a target is missed.
"""  # noqa: E501

import argparse
from functools import partial
from typing import Any

from boats_benchmark.timing import Plan, measure, median_ratio, summarise
from boats_runtime.classifier import INPUT
from boats_runtime.providers.session import Threads, open_session
from suite.harness import Result, run_script, tell
from suite.synthetic_models import add_svm, make_networks, make_pixels, quantize
from svm_graph import CLASSES, VECTORS

TIMES_FASTER = 3.0
MEGABYTES = 30.0

PLAIN = "int8, plain stem"


def main() -> None:
    """Measures, prints a Markdown table and writes the raw values."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--rounds", type=int, default=60)
    run_script(parser, judge)


def judge(options: argparse.Namespace) -> Result:
    """Measures, and holds the result against the targets."""
    row = compare(options.backbone, options.rounds)
    missed = []
    if row["times_faster"][0] < TIMES_FASTER:
        missed.append(f"int8: not {TIMES_FASTER} times as fast as fp32")
    if row["int8_mb"] > MEGABYTES:
        missed.append(f"int8: more than {MEGABYTES} MB")
    return Result(to_markdown(row), {"precisions": row}, missed)


def compare(backbone: str, rounds: int) -> dict[str, Any]:
    """Measures the networks and the file with a head, in turns, photo by photo."""
    networks = make_networks(backbone)
    models = {name: networks[name] for name in ("fp32", "int8")}
    models["int8 with SVM"] = add_svm(networks["int8"])
    models[PLAIN] = quantize(networks["fp32"])
    pixels = make_pixels()
    contents = {name: model.SerializeToString() for name, model in models.items()}
    sessions = {
        name: open_session(content, "cpu", Threads(spin=True)).session
        for name, content in contents.items()
    }
    tasks = {name: partial(one.run, None, {INPUT: pixels}) for name, one in sessions.items()}
    plan = Plan(warm_up=3, settle=1, turn=4, min_count=max(1, rounds // 4), min_seconds=0)
    values = measure(tasks, plan)
    ratio, stem = (median_ratio(values[other], values["int8"]) for other in ("fp32", PLAIN))
    times = {name: summarise(durations) for name, durations in values.items()}
    return {
        "backbone": backbone,
        "times": times,
        "times_faster": ratio.to_json(),
        "of_plain_stem": stem.to_json(),
        **{f"{name}_mb": len(content) / 1e6 for name, content in contents.items()},
    }


def to_markdown(row: dict[str, Any]) -> str:
    """Returns the table."""
    lines = ["| network | p50 ms | p90 ms | MB |", "| --- | ---: | ---: | ---: |"]
    for name, times in row["times"].items():
        lines.append(
            f"| {row['backbone']} {name} | {times['p50_ms']:.1f} | {times['p90_ms']:.1f} "
            f"| {row[f'{name}_mb']:.1f} |"
        )
    lines.append(
        f"\nint8 is {tell(row['times_faster'])} times as fast as fp32, and "
        f"{tell(row['of_plain_stem'])} times as fast as with a plain stem; the SVM has {VECTORS} "
        f"vectors and {CLASSES} classes"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
