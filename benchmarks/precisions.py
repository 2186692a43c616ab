"""Latency and size of a network in int8 and float32 on the CPU, and the effect of single steps.

    python benchmarks/precisions.py --backbone resnet50

Weights and images are synthetic, which does not change the latency. "plain stem" is int8 without
the rearranged first layers (`boats_export.space_to_depth`). Exits with 5 if a target is missed.
"""

from functools import partial
from typing import Any

from boats_benchmark.report import format_markdown
from boats_benchmark.timing import Estimate, TimingSettings, compare
from boats_runtime.model_session import INPUT
from boats_runtime.providers.session import Threads, open_session
from suite.harness import ScriptResult, run_script
from suite.synthetic_models import add_svm, load_networks, make_pixels, quantize
from suite.synthetic_svm import CLASSES, SUPPORT_VECTORS

MIN_SPEEDUP = 3.0
MAX_MEGABYTES = 30.0

PLAIN_STEM = "int8, plain stem"


def measure(backbone: str = "resnet50", rounds: int = 60) -> ScriptResult:
    """Time the networks and a file with an SVM, one image at a time."""
    networks = load_networks(backbone)
    models = {precision: networks[precision] for precision in ("fp32", "int8")}
    models["int8 with SVM"] = add_svm(networks["int8"])
    models[PLAIN_STEM] = quantize(networks["fp32"])
    contents = {name: model.SerializeToString() for name, model in models.items()}
    feeds = {INPUT: make_pixels()}
    tasks = {
        name: partial(open_session(content, "cpu", Threads(spin=True)).session.run, None, feeds)
        for name, content in contents.items()
    }
    settings = TimingSettings(3, untimed_calls=1, timed_calls=4, min_rounds=max(1, rounds // 4))
    ratios = {"times_faster": ("fp32", "int8"), "of_plain_stem": (PLAIN_STEM, "int8")}
    row: dict[str, Any] = {
        "backbone": backbone,
        **compare(tasks, settings, ratios),
        **{f"{name}_mb": len(content) / 1e6 for name, content in contents.items()},
    }
    missed = []
    if row["times_faster"][0] < MIN_SPEEDUP:
        missed.append(f"int8: not {MIN_SPEEDUP} times as fast as fp32")
    if row["int8_mb"] > MAX_MEGABYTES:
        missed.append(f"int8: more than {MAX_MEGABYTES} MB")
    return ScriptResult(to_markdown(row), {"precisions": row}, missed)


def to_markdown(row: dict[str, Any]) -> str:
    """Return the table."""
    cells = [
        [f"{row['backbone']} {name}"]
        + [f"{value:.1f}" for value in (times["p50_ms"], times["p90_ms"], row[f"{name}_mb"])]
        for name, times in row["times"].items()
    ]
    speedup, stem_speedup = (
        Estimate(*row[key]).format() for key in ("times_faster", "of_plain_stem")
    )
    return (
        f"{format_markdown(('network', 'p50 ms', 'p90 ms', 'MB'), cells)}\n\n"
        f"int8 is {speedup} times as fast as fp32, and {stem_speedup} times as fast as with a "
        f"plain stem; the SVM has {SUPPORT_VECTORS} support vectors and {CLASSES} classes"
    )


if __name__ == "__main__":
    run_script(measure)
