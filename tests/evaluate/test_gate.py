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


def run_gate(before: np.ndarray, after: np.ndarray, max_drop: float = 0.5) -> GateResult:
    baseline = make_baseline(make_evaluation(LABELS, TARGETS, before))
    return compare_to_baseline(make_evaluation(LABELS, TARGETS, after), baseline, max_drop)


def failed_names(result: GateResult) -> list[str]:
    return [check.name for check in result.failures]


def test_compare_to_baseline__equal_predictions() -> None:
    result = run_gate(predict_with_mistakes(1, 2), predict_with_mistakes(1, 2))
    assert failed_names(result) == []
    assert [check.name for check in result.checks] == [
        "accuracy", "macro-F1", "recall of a", "recall of b",
    ]  # fmt: skip
    assert {check.p_worse for check in result.checks} == {1.0}
    assert result.unchecked == ("c",)
    assert (result.images, result.only_evaluated, result.only_baseline) == (144, 0, 0)
    require_passed(result)


def test_compare_to_baseline__drop_that_is_not_significant() -> None:
    # Losing 4 of 144 images is a drop of 2.8 points, with p = 1/16.
    accuracy = run_gate(TARGETS, predict_with_mistakes(0, 1, 2, 3)).checks[0]
    assert accuracy.before - accuracy.after > 0.02
    assert accuracy.p_worse == pytest.approx(1 / 16)
    assert not accuracy.failed


def test_compare_to_baseline__significant_drop() -> None:
    result = run_gate(TARGETS, predict_with_mistakes(*range(12)))
    assert failed_names(result) == ["accuracy", "macro-F1", "recall of a"]
    with pytest.raises(CheckError) as caught:
        require_passed(result)
    message = str(caught.value)
    assert message.startswith("refused: worse than older.onnx on the same 144 images (p < 0.05)")
    assert "accuracy 0.917 instead of 1.000 (p 0.00024)" in message
    assert "recall of a 0.880 instead of 1.000" in message
    assert "recall of b" not in message


@pytest.mark.parametrize(
    ("before", "after", "max_drop"),
    [
        pytest.param((), range(12), 12.5, id="allowed drop"),
        pytest.param(range(12), (), 0.5, id="improvement"),
    ],
)
def test_compare_to_baseline__passed(before: range, after: range, max_drop: float) -> None:
    result = run_gate(predict_with_mistakes(*before), predict_with_mistakes(*after), max_drop)
    assert failed_names(result) == []


def test_compare_to_baseline__recall_of_one_class() -> None:
    # 8 images of b are lost and 8 of a are won: the accuracy is unchanged.
    result = run_gate(predict_with_mistakes(*range(8)), predict_with_mistakes(*range(100, 108)))
    assert result.checks[0].before == result.checks[0].after
    assert failed_names(result) == ["macro-F1", "recall of b"]
    # p = 1/256, corrected for two classes.
    assert result.failures[-1].p_worse == pytest.approx(2 / 256)


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
    assert compare_to_baseline(evaluation, baseline).failures == ()


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
    result = run_gate(TARGETS, predict_with_mistakes(*range(12)))
    value = json.loads(json.dumps(result.to_json()))
    assert value["passed"] is False
    assert list(value) == [
        "baseline", "photos", "only_now", "only_then", "checks", "too_few", "passed",
    ]  # fmt: skip
    accuracy = value["checks"][0]
    assert list(accuracy) == [
        "name", "before", "after", "allowed", "p_worse", "photos", "refused",
    ]  # fmt: skip
    assert (accuracy["name"], accuracy["refused"]) == ("accuracy", True)
