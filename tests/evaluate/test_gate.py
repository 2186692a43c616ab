import json
from dataclasses import replace

import numpy as np
import pytest

from boats_evaluate.evaluation import Evaluation
from boats_evaluate.gate import GateResult, compare_to_baseline, require_passed
from boats_evaluate.results import Baseline
from boats_runtime.errors import CheckError, DataError
from support.evaluations import make_evaluation

LABELS = ("a", "b", "c")
TARGETS = np.repeat([0, 1, 2], [100, 40, 4])
"""Images 0 to 99 are of class a, 100 to 139 of b, 140 to 143 of c."""


def predict_with_mistakes(*mistakes: int) -> np.ndarray:
    """Return predictions that are incorrect for the images with these indices."""
    predicted = TARGETS.copy()
    predicted[list(mistakes)] = (predicted[list(mistakes)] + 1) % 3
    return predicted


def make_baseline(evaluation: Evaluation) -> Baseline:
    labels = [evaluation.labels[index] for index in evaluation.main.predictions.predicted]
    digests = [image.digest for image in evaluation.images]
    predicted = dict(zip(digests, labels, strict=True))
    return Baseline("older.onnx", evaluation.labels, predicted)


def run_gate(
    before: np.ndarray,
    after: np.ndarray,
    max_drop: float = 0.5,
    targets: np.ndarray = TARGETS,
    groups: np.ndarray | None = None,
) -> GateResult:
    baseline = make_baseline(make_evaluation(LABELS, targets, before))
    evaluation = make_evaluation(LABELS, targets, after, groups=groups)
    return compare_to_baseline(evaluation, baseline, max_drop)


def verdicts(result: GateResult) -> list[str]:
    return [check.verdict for check in result.checks]


def test_compare_to_baseline__equal_predictions() -> None:
    result = run_gate(predict_with_mistakes(1, 2), predict_with_mistakes(1, 2))
    assert [check.name for check in result.checks] == [
        "accuracy", "macro-F1", "recall of a", "recall of b",
    ]  # fmt: skip
    assert verdicts(result) == ["pass"] * 4
    assert {check.p_worse for check in result.checks} == {1.0}
    assert result.unchecked == ("c",)
    assert (result.images, result.only_evaluated, result.only_baseline) == (144, 0, 0)
    require_passed(result)


def test_compare_to_baseline__drop_that_is_not_significant() -> None:
    # Losing 4 of 144 images is a drop of 2.8 points, with p = 1/16.
    result = run_gate(TARGETS, predict_with_mistakes(0, 1, 2, 3))
    accuracy = result.checks[0]
    assert accuracy.before - accuracy.after > 0.02
    assert accuracy.p_worse == pytest.approx(1 / 16)
    assert (accuracy.verdict, accuracy.refused) == ("inconclusive", False)
    assert result.verdict == "inconclusive"
    with pytest.raises(CheckError) as caught:
        require_passed(result)
    message = str(caught.value)
    assert message.startswith("inconclusive: the 144 images do not show that this is not worse")
    bound = accuracy.loss[1]
    assert 4 < bound < 7
    assert (
        f"accuracy 0.972 instead of 1.000 (up to {bound:.1f} points may be lost, 0.5 al" in message
    )
    assert "--allow-inconclusive" in message
    require_passed(result, allow_inconclusive=True)


def test_compare_to_baseline__significant_drop() -> None:
    result = run_gate(TARGETS, predict_with_mistakes(*range(20)))
    assert verdicts(result) == ["fail", "fail", "fail", "pass"]
    assert [check.refused for check in result.checks] == [True, True, True, False]
    with pytest.raises(CheckError) as caught:
        require_passed(result, allow_inconclusive=True)
    message = str(caught.value)
    assert message.startswith("refused: worse than older.onnx on the same 144 images (p < 0.05)")
    assert "accuracy 0.861 instead of 1.000 (at least 9." in message
    assert "recall of a 0.800 instead of 1.000" in message
    assert "recall of b" not in message


def test_compare_to_baseline__allowed_drop() -> None:
    # 12 of 144 images are lost, 12 of 100 of class a; at most 12.9 and 18.4 points at 95%.
    before, after = TARGETS, predict_with_mistakes(*range(12))
    assert verdicts(run_gate(before, after, 12.5)) == [
        "inconclusive",
        "pass",
        "inconclusive",
        "pass",
    ]
    assert verdicts(run_gate(before, after, 20)) == ["pass"] * 4
    assert verdicts(run_gate(before, after, 100)) == ["pass"] * 4


@pytest.mark.parametrize("max_drop", [0, 0.5])
def test_compare_to_baseline__improvement(max_drop: float) -> None:
    result = run_gate(predict_with_mistakes(*range(12)), TARGETS, max_drop)
    assert result.verdict == "pass"
    assert all(check.loss[0] < 0 for check in result.checks[:3])


def test_compare_to_baseline__recall_of_one_class() -> None:
    # 8 images of b are lost and 8 of a are won: the accuracy is unchanged.
    result = run_gate(predict_with_mistakes(*range(8)), predict_with_mistakes(*range(100, 108)))
    assert result.checks[0].before == result.checks[0].after
    assert verdicts(result)[2:] == ["pass", "fail"]
    # p = 1/256, corrected for two classes.
    assert result.checks[-1].p_worse == pytest.approx(2 / 256)


def test_compare_to_baseline__rare_class_cannot_block_by_a_single_image() -> None:
    # 1,000 images of a and 40 of b: no test of 40 images can exclude a loss of 0.5 points.
    targets = np.repeat([0, 1], [1000, 40])
    after = targets.copy()
    after[1000] = 0
    result = run_gate(targets, after, targets=targets)
    assert verdicts(result) == ["pass", "inconclusive", "pass", "untested"]
    # A loss that is significant and above the allowed drop blocks all the same.
    after[1000:1006] = 0
    rare = run_gate(targets, after, targets=targets).checks[-1]
    assert (rare.verdict, rare.refused) == ("fail", True)


def test_compare_to_baseline__never_passes_what_significance_refused() -> None:
    # `refused`: the drop is above the allowed one and significant if images are independent.
    rng = np.random.default_rng(0)
    targets = np.repeat([0, 1, 2], [60, 30, 10])
    refused = 0
    for _ in range(40):
        before, after = (
            np.where(rng.random(100) < share, targets, rng.integers(0, 3, 100))
            for share in (0.95, 0.75)
        )
        result = run_gate(before, after, targets=targets, groups=np.arange(100) % 3)
        if any(check.refused for check in result.checks):
            refused += 1
            assert result.verdict in ("fail", "inconclusive")
    assert refused > 5


def test_compare_to_baseline__loss_on_one_day_is_not_certain() -> None:
    targets = np.zeros(2000, np.int64)
    after = targets.copy()
    after[:80] = 1  # all on the first of 8 days
    assert run_gate(targets, after, targets=targets).verdict == "fail"
    result = run_gate(targets, after, targets=targets, groups=np.arange(2000) // 250)
    assert (result.verdict, result.unit, result.groups) == ("inconclusive", "groups", 8)
    assert result.checks[0].refused


def test_compare_to_baseline__common_images_only() -> None:
    baseline = make_baseline(make_evaluation(LABELS, TARGETS, TARGETS))
    evaluation = make_evaluation(LABELS, TARGETS[:50], TARGETS[:50])
    others = (replace(image, digest=b"other" + image.digest) for image in evaluation.images[45:])
    images = (*evaluation.images[:45], *others)
    result = compare_to_baseline(replace(evaluation, images=images), baseline)
    assert (result.images, result.only_evaluated, result.only_baseline) == (45, 5, 99)


def test_compare_to_baseline__label_order_does_not_matter() -> None:
    evaluation = make_evaluation(LABELS, TARGETS, TARGETS)
    baseline = replace(make_baseline(evaluation), labels=("c", "a", "b"))
    assert compare_to_baseline(evaluation, baseline).verdict == "pass"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"predicted": {b"other": "a"}}, "different images: none of its 1 images is in some/fold"),
        ({"labels": ("a", "b", "d")}, "different labels: c, d in only one of them"),
    ],
)
def test_compare_to_baseline__not_comparable(change: dict[str, object], message: str) -> None:
    evaluation = make_evaluation(LABELS, TARGETS, TARGETS)
    with pytest.raises(DataError, match=message):
        compare_to_baseline(evaluation, replace(make_baseline(evaluation), **change))


def test_to_json__keys() -> None:
    result = run_gate(TARGETS, predict_with_mistakes(*range(20)))
    value = json.loads(json.dumps(result.to_json()))
    assert (value["passed"], value["verdict"]) == (False, "fail")
    assert list(value) == [
        "baseline", "photos", "only_now", "only_then", "checks", "too_few", "passed", "verdict",
        "significance", "interval_unit", "interval_groups",
    ]  # fmt: skip
    accuracy = value["checks"][0]
    assert list(accuracy) == [
        "name", "before", "after", "allowed", "p_worse", "photos", "refused", "verdict", "loss",
    ]  # fmt: skip
    assert (accuracy["name"], accuracy["refused"]) == ("accuracy", True)
