"""The SVM's graph beside skl2onnx's own conversion and scikit-learn, on the CPU.

    python benchmarks/svm_graph.py

16 classes and 1,600 support vectors of 1,280 and 2,048 features: those of MobileNetV2 and ResNet50.
Both graphs run with the same threads, several times in a row, after one run that isn't timed: it
meets the spinning threads of the session before it. Exits with 5 if a target is missed.
"""

import argparse
import sys
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.calibration import CalibratedClassifierCV
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC

from boats_benchmark.timing import Plan, Ratio, measure, median_ratio, summarise
from boats_export.classifier_graph import export_classifier
from boats_export.opset import IR_VERSION, OPSET
from boats_runtime.classifier import FEATURES
from boats_runtime.cpu import granted_cpus
from boats_train.models.calibrated_svc import CalibratedSVC
from suite.harness import Result, run_script, tell

CLASSES = 16
VECTORS = 1600
WIDTHS = (1280, 2048)
TARGETS = {1: 1 / 10, 64: 1 / 20}
"""Largest time of the graph by batch size, as a share of that of skl2onnx's."""

STARTS = 5
"""Times that all sessions are opened anew, spread over the run: memory lies elsewhere then, and the
machine has another mood."""

ROUNDS = {1: 10, 64: 1}
"""Of each start, by batch size."""

TURN = 10
"""Runs in a row: the vectors stay in the cache, as long as it is large enough for them."""

ADDED_MS = 0.5
"""What the whole SVM may take of a photo."""


@dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes:
        features: D.
        estimator: Class of the estimator.
        batch: N.
        times: Of each side, as `summarise` has them.
        share_of_skl2onnx: The graph's time beside that of skl2onnx's.
        share_of_scikit_learn: The graph's time beside scikit-learn's.
        largest_difference: Of a score or probability to scikit-learn in float64, by side.
    """

    features: int
    estimator: str
    batch: int
    times: dict[str, dict[str, Any]]
    share_of_skl2onnx: Ratio
    share_of_scikit_learn: Ratio
    largest_difference: dict[str, float]

    @property
    def missed(self) -> list[str]:
        """The targets that it misses, in words."""
        where = f"{self.estimator}, {self.features} features, batch {self.batch}"
        missed = []
        if self.share_of_skl2onnx.value > TARGETS[self.batch]:
            missed.append(f"{where}: {self.share_of_skl2onnx.value:.3f} of skl2onnx's time")
        if self.batch == 1 and self.times["graph"]["p50_ms"] > ADDED_MS:
            missed.append(f"{where}: {self.times['graph']['p50_ms']:.2f} ms")
        return missed


def main() -> None:
    """Fits, measures, prints a Markdown table and writes the raw values."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, default=granted_cpus(), help="of both graphs")
    run_script(parser, compare_all)


def compare_all(options: argparse.Namespace) -> Result:
    """Measures both widths at both batch sizes, start after start."""
    contests = [make_contest(features) for features in WIDTHS]
    starts: list[list[Values]] = []
    for seed in range(STARTS):
        starts.append([])
        for contest in contests:
            sides = contest.open(options.threads)
            starts[-1] += [measure_sides(sides, contest.photos(batch), seed) for batch in TARGETS]
        print(f"start {seed + 1} of {STARTS}", file=sys.stderr, flush=True)
    places = [(contest, batch) for contest in contests for batch in TARGETS]
    rows = [
        make_row(
            contest, batch, {side: np.stack([one[side] for one in measured]) for side in SIDES}
        )
        for (contest, batch), measured in zip(places, zip(*starts, strict=True), strict=True)
    ]
    told = {
        "threads": options.threads,
        "plan": {"starts": STARTS, "rounds": ROUNDS, "turn": TURN},
        "rows": list(map(asdict, rows)),
    }
    missed = [line for row in rows for line in row.missed]
    return Result("\n".join([HEADER, *map(to_markdown, rows)]), told, missed)


def fit(features: int) -> tuple[CalibratedClassifierCV, CalibratedSVC]:
    """Fit an SVC of `VECTORS` support vectors on synthetic features, and calibrate it.

    Args:
        features: D.

    Returns:
        The same SVC calibrated by scikit-learn and by boats.
    """
    rng = np.random.default_rng(0)
    targets = np.arange(VECTORS) % CLASSES
    # Like pooled activations, none below zero; the classes overlap, so that all vectors support.
    centres = rng.normal(0, 0.05, (CLASSES, features))
    photos = np.maximum(centres[targets] + rng.normal(0, 1, (VECTORS, features)), 0)
    svc = SVC(break_ties=True, cache_size=1000)
    everything = [(np.arange(VECTORS), np.arange(VECTORS))]
    calibrated = CalibratedClassifierCV(svc, method="sigmoid", ensemble=False, cv=everything)
    photos = photos.astype(np.float32)
    calibrated.fit(photos, targets)
    fitted = calibrated.calibrated_classifiers_[0].estimator
    if len(fitted.support_vectors_) != VECTORS:
        raise AssertionError(f"{len(fitted.support_vectors_)} support vectors, not {VECTORS}")
    own = CalibratedSVC(make_pipeline(fitted))
    return calibrated, own.fit(fitted.decision_function(photos), targets)


Side = Callable[[NDArray[np.float32]], Any]
Values = dict[str, NDArray[np.int64]]
SIDES = ("scikit-learn", "skl2onnx", "graph")


@dataclass(frozen=True)
class Contest:
    """An estimator and what both conversions make of it.

    Attributes:
        name: Class of the estimator.
        features: D.
        scores: Probabilities of boats' estimator in scikit-learn, from `(N, D)` to `(N, K)`.
        stock_scores: Probabilities of the estimator that skl2onnx converts.
        stock: skl2onnx's conversion.
        graph: boats' conversion.
    """

    name: str
    features: int
    scores: Side
    stock_scores: Side
    stock: bytes
    graph: bytes

    def open(self, threads: int) -> dict[str, Side]:
        """Opens the sessions anew."""
        stock, graph = (open_session(model, threads) for model in (self.stock, self.graph))
        return dict(zip(SIDES, (self.scores, stock, graph), strict=True))

    def photos(self, batch: int) -> NDArray[np.float32]:
        """Makes up the features of so many photos, always the same."""
        rng = np.random.default_rng(1)
        values: NDArray[np.float64] = np.maximum(rng.normal(0, 1, (batch, self.features)), 0)
        return values.astype(np.float32)


def make_contest(features: int) -> Contest:
    """Fit an SVC, calibrate it by scikit-learn and by boats, and convert both results."""
    stock, own = fit(features)
    return Contest(
        type(own).__name__,
        features,
        own.predict_proba,
        stock.predict_proba,
        convert_by_skl2onnx(stock, features),
        export_classifier(own, features).SerializeToString(),
    )


def convert_by_skl2onnx(estimator: Any, features: int) -> bytes:
    """Converts as skl2onnx does by itself, of the same opset."""
    with warnings.catch_warnings():
        # skl2onnx reads probA_, which scikit-learn 1.9 warns of and 1.11 drops.
        warnings.simplefilter("ignore", FutureWarning)
        model = to_onnx(
            estimator,
            initial_types=[(FEATURES, FloatTensorType([None, features]))],
            target_opset={"": OPSET, "ai.onnx.ml": 3},
            options={id(estimator): {"zipmap": False}},
        )
    model.ir_version = IR_VERSION
    serialised: bytes = model.SerializeToString()
    return serialised


def open_session(model: bytes, threads: int) -> Side:
    """Opens a model on the CPU, ready to be called with features."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def run(features: NDArray[np.float32]) -> Any:
        _, scores = session.run(["label", "probabilities"], {FEATURES: features})
        return scores

    return run


def measure_sides(sides: dict[str, Side], photos: NDArray[np.float32], seed: int) -> Values:
    """Measures all sides of a start on the same photos."""
    plan = Plan(settle=1, turn=TURN, min_count=ROUNDS[len(photos)], min_seconds=0, seed=seed)
    return measure({name: partial(run, photos) for name, run in sides.items()}, plan)


def make_row(contest: Contest, batch: int, values: Values) -> Row:
    """Returns what was measured of a contest at a batch size: `(starts, rounds, turn)` a side."""
    sides, photos = contest.open(1), contest.photos(batch)
    wide = photos.astype(np.float64)
    exact = {"skl2onnx": contest.stock_scores(wide), "graph": contest.scores(wide)}
    return Row(
        contest.features,
        contest.name,
        batch,
        times={name: summarise(durations) for name, durations in values.items()},
        share_of_skl2onnx=median_ratio(values["graph"], values["skl2onnx"]),
        share_of_scikit_learn=median_ratio(values["graph"], values["scikit-learn"]),
        largest_difference={
            name: float(np.max(np.abs(sides[name](photos) - expected)))
            for name, expected in exact.items()
        },
    )


HEADER = (
    "| features | estimator | batch | scikit-learn ms | skl2onnx ms | graph ms (p90) "
    "| of skl2onnx (95%) | target | largest difference |\n| " + " | ".join(["---:"] * 9) + " |"
)


def to_markdown(row: Row) -> str:
    """Returns a row of the table; times are medians."""
    times = {name: summary["p50_ms"] for name, summary in row.times.items()}
    share = row.share_of_skl2onnx
    cells = (
        row.features,
        row.estimator,
        row.batch,
        f"{times['scikit-learn']:.2f}",
        f"{times['skl2onnx']:.2f}",
        f"{times['graph']:.3f} ({row.times['graph']['p90_ms']:.3f})",
        tell(share.to_json(), 3),
        f"{TARGETS[row.batch]:.2f}",
        f"{row.largest_difference['graph']:.0e}",
    )
    return f"| {' | '.join(map(str, cells))} |"


if __name__ == "__main__":
    main()
