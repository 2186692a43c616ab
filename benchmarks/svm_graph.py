"""Latency of the exported SVM: the graph of boats, skl2onnx's own conversion, and scikit-learn.

    python benchmarks/svm_graph.py

16 classes and 1,600 support vectors of 1,280 and 2,048 features, the sizes of MobileNetV2 and
ResNet50. Both graphs use the same number of threads and run several times in a trial, after one
untimed run. Exits with 5 if a target is missed.
"""

import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from sklearn.calibration import CalibratedClassifierCV

from boats_benchmark.report import format_markdown
from boats_benchmark.timing import (
    Estimate,
    TimingSettings,
    estimate_ratio,
    summarize,
    time_interleaved,
)
from boats_export.classifier_graph import export_classifier
from boats_runtime.cpu import granted_cpus
from boats_runtime.model_session import FEATURES
from boats_runtime.providers.session import Threads, open_session
from boats_train.models.calibrated_svc import CalibratedSVC
from suite.harness import ScriptResult, run_script
from suite.synthetic_svm import convert_by_skl2onnx, fit_calibrated_svms, make_features

WIDTHS = (1280, 2048)
BACKENDS = ("scikit-learn", "skl2onnx", "graph")

MAX_SHARES = {1: 1 / 10, 64: 1 / 20}
"""Target: latency of the graph relative to skl2onnx, by batch size."""

MAX_MS = 0.5
"""Target: latency of the graph for one image."""

STARTS = 5
"""Number of times that the sessions are opened, as the memory layout differs between them."""

ROUNDS = {1: 10, 64: 1}
"""Number of rounds in each start, by batch size."""

RUNS = 10
"""Number of runs in a trial."""

PredictProba = Callable[[NDArray[Any]], NDArray[Any]]


@dataclass(frozen=True)
class ConvertedSVM:
    """An SVM in scikit-learn and its two conversions.

    Attributes:
        width: Number of features D.
        calibrated: Estimator of boats.
        stock: The same SVM calibrated by scikit-learn, for skl2onnx.
        graph: Conversion of `calibrated` by boats.
        stock_graph: Conversion of `stock` by skl2onnx's own converters.
    """

    width: int
    calibrated: CalibratedSVC
    stock: CalibratedClassifierCV
    graph: onnx.ModelProto
    stock_graph: onnx.ModelProto

    @classmethod
    def create(cls, width: int) -> "ConvertedSVM":
        """Fit and convert a synthetic SVM."""
        calibrated, stock = fit_calibrated_svms(width)
        graph = export_classifier(calibrated, width)
        return cls(width, calibrated, stock, graph, convert_by_skl2onnx(stock, width))

    def open(self, threads: int) -> dict[str, PredictProba]:
        """Open sessions, and return a function for each of the `BACKENDS`."""
        stock_graph, graph = (open_svm(model, threads) for model in (self.stock_graph, self.graph))
        return dict(zip(BACKENDS, (self.calibrated.predict_proba, stock_graph, graph), strict=True))


def measure(threads: int = granted_cpus()) -> ScriptResult:
    """Time both widths at both batch sizes in each start."""
    svms = [ConvertedSVM.create(width) for width in WIDTHS]
    cases = [(svm, batch) for svm in svms for batch in MAX_SHARES]
    starts = []
    for seed in range(STARTS):
        starts.append([time_backends(svm, batch, threads, seed) for svm, batch in cases])
        print(f"start {seed + 1} of {STARTS}", file=sys.stderr, flush=True)
    rows = [
        make_row(
            svm, batch, {name: np.stack([start[name] for start in values]) for name in BACKENDS}
        )
        for (svm, batch), values in zip(cases, zip(*starts, strict=True), strict=True)
    ]
    content = {
        "threads": threads,
        "plan": {"starts": STARTS, "rounds": ROUNDS, "turn": RUNS},
        "rows": rows,
    }
    missed = [line for row in rows for line in find_missed_targets(row)]
    return ScriptResult(to_markdown(rows), content, missed)


def open_svm(model: onnx.ModelProto, threads: int) -> PredictProba:
    """Open a model on the CPU and return a function from features to probabilities."""
    session = open_session(model.SerializeToString(), "cpu", Threads(threads, spin=True)).session

    def predict_proba(features: NDArray[Any]) -> NDArray[Any]:
        _, probabilities = session.run(["label", "probabilities"], {FEATURES: features})
        return probabilities  # type: ignore[no-any-return]

    return predict_proba


def time_backends(
    svm: ConvertedSVM, batch: int, threads: int, seed: int
) -> dict[str, NDArray[np.int64]]:
    """Time the `BACKENDS` on the same features in new sessions."""
    settings = TimingSettings(
        untimed_calls=1, timed_calls=RUNS, min_rounds=ROUNDS[batch], seed=seed
    )
    features = make_features(batch, svm.width)
    tasks = {name: partial(run, features) for name, run in svm.open(threads).items()}
    return time_interleaved(tasks, settings)


def make_row(svm: ConvertedSVM, batch: int, values: dict[str, NDArray[np.int64]]) -> dict[str, Any]:
    """Return the result of a comparison as JSON values.

    `largest_difference` is that of a probability to scikit-learn in float64.

    Args:
        svm: The SVM.
        batch: Batch size.
        values: Durations of each of the `BACKENDS`, (starts, rounds, runs) int64, nanoseconds.
    """
    features = make_features(batch, svm.width)
    backends = svm.open(1)
    exact = {"skl2onnx": svm.stock, "graph": svm.calibrated}
    return {
        "features": svm.width,
        "estimator": type(svm.calibrated).__name__,
        "batch": batch,
        "times": {name: summarize(durations) for name, durations in values.items()},
        "share_of_skl2onnx": asdict(estimate_ratio(values["graph"], values["skl2onnx"])),
        "share_of_scikit_learn": asdict(estimate_ratio(values["graph"], values["scikit-learn"])),
        "largest_difference": {
            name: float(
                np.abs(
                    backends[name](features) - estimator.predict_proba(features.astype(np.float64))
                ).max()
            )
            for name, estimator in exact.items()
        },
    }


def find_missed_targets(row: dict[str, Any]) -> list[str]:
    """Return a line for each target that a row misses."""
    where = f"{row['estimator']}, {row['features']} features, batch {row['batch']}"
    share, latency_ms = row["share_of_skl2onnx"]["value"], row["times"]["graph"]["p50_ms"]
    missed = []
    if share > MAX_SHARES[row["batch"]]:
        missed.append(f"{where}: {share:.3f} of the latency of skl2onnx")
    if row["batch"] == 1 and latency_ms > MAX_MS:
        missed.append(f"{where}: {latency_ms:.2f} ms")
    return missed


def to_markdown(rows: list[dict[str, Any]]) -> str:
    """Return the table; times are medians."""
    header = (
        "features", "estimator", "batch", "scikit-learn ms", "skl2onnx ms", "graph ms (p90)",
        "share of skl2onnx (95%)", "target", "largest difference",
    )  # fmt: skip
    cells = []
    for row in rows:
        sklearn_ms, skl2onnx_ms, graph_ms = (row["times"][name]["p50_ms"] for name in BACKENDS)
        cells.append(
            (
                row["features"],
                row["estimator"],
                row["batch"],
                f"{sklearn_ms:.2f}",
                f"{skl2onnx_ms:.2f}",
                f"{graph_ms:.3f} ({row['times']['graph']['p90_ms']:.3f})",
                Estimate(**row["share_of_skl2onnx"]).format(3),
                f"{MAX_SHARES[row['batch']]:.2f}",
                f"{row['largest_difference']['graph']:.0e}",
            )
        )
    return format_markdown(header, cells, text_columns=0)


if __name__ == "__main__":
    run_script(measure)
