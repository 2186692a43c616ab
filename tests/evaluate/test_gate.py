import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from boats_evaluate.evaluation import Evaluation
from boats_evaluate.gate import SIGNIFICANCE, Verdict, hold_against, require_passed
from boats_evaluate.results import Baseline
from boats_runtime.errors import CheckError, DataError

LABELS = ("a", "b", "c")
MakeEvaluation = Callable[..., Evaluation]

# 100 photos of a, 40 of b, 4 of c, all right.
TARGETS = np.repeat([0, 1, 2], [100, 40, 4])


def wrong_on(*places: int) -> np.ndarray:
    predicted = TARGETS.copy()
    predicted[list(places)] = (predicted[list(places)] + 1) % 3
    return predicted


def to_baseline(evaluation: Evaluation) -> Baseline:
    predicted = (evaluation.labels[label] for label in evaluation.main.answers.predicted)
    pairs = zip(evaluation.digests, predicted, strict=True)
    return Baseline("older.onnx", evaluation.labels, dict(pairs))


@pytest.fixture
def judge_change(make_evaluation: MakeEvaluation) -> Callable[..., Verdict]:
    """Holds predictions against earlier ones."""

    def run(before: np.ndarray, after: np.ndarray, max_drop: float = 0.5) -> Verdict:
        baseline = to_baseline(make_evaluation(LABELS, TARGETS, before))
        return hold_against(
            make_evaluation(LABELS, TARGETS, after), baseline, max_drop, SIGNIFICANCE
        )

    return run


JudgeChange = Callable[..., Verdict]


def names_of(verdict: Verdict) -> list[str]:
    return [check.name for check in verdict.refused]


def test_hold_against__the_same(judge_change: JudgeChange) -> None:
    verdict = judge_change(wrong_on(1, 2), wrong_on(1, 2))
    assert names_of(verdict) == []
    assert [check.name for check in verdict.checks] == [
        "accuracy", "macro-F1", "recall of a", "recall of b",
    ]  # fmt: skip
    assert {check.p_worse for check in verdict.checks} == {1.0}
    assert verdict.too_few == ("c",)
    assert (verdict.photos, verdict.only_now, verdict.only_then) == (144, 0, 0)
    require_passed(verdict, SIGNIFICANCE)


def test_hold_against__a_fall_that_can_be_chance(judge_change: JudgeChange) -> None:
    # 4 photos of 144 are 2.8 points, but four coins fall alike 1 time in 16.
    verdict = judge_change(wrong_on(), wrong_on(0, 1, 2, 3))
    accuracy = verdict.checks[0]
    assert accuracy.before - accuracy.after > 0.02
    assert accuracy.p_worse == pytest.approx(1 / 16)
    assert not accuracy.refused


def test_hold_against__a_fall_beyond_the_noise(judge_change: JudgeChange) -> None:
    verdict = judge_change(wrong_on(), wrong_on(*range(12)))
    assert names_of(verdict) == ["accuracy", "macro-F1", "recall of a"]
    with pytest.raises(CheckError) as caught:
        require_passed(verdict, SIGNIFICANCE)
    message = str(caught.value)
    assert message.startswith("refused, worse than older.onnx on the same 144 photos")
    assert "accuracy 0.917 instead of 1.000 (p 0.00024)" in message
    assert "recall of a 0.880 instead of 1.000" in message
    assert "recall of b" not in message


def test_hold_against__a_fall_that_is_allowed(judge_change: JudgeChange) -> None:
    assert names_of(judge_change(wrong_on(), wrong_on(*range(12)), max_drop=12.5)) == []


def test_hold_against__one_class_alone(judge_change: JudgeChange) -> None:
    # 8 photos of b are lost and 8 of a are won: as accurate as before.
    verdict = judge_change(wrong_on(*range(8)), wrong_on(*range(100, 108)))
    assert verdict.checks[0].before == verdict.checks[0].after
    assert names_of(verdict) == ["macro-F1", "recall of b"]
    # Corrected for the two classes: 2 of 256.
    assert verdict.refused[-1].p_worse == pytest.approx(2 / 256)


def test_hold_against__better(judge_change: JudgeChange) -> None:
    assert names_of(judge_change(wrong_on(*range(12)), wrong_on())) == []


def test_hold_against__photos_that_both_have(make_evaluation: MakeEvaluation) -> None:
    before = to_baseline(make_evaluation(LABELS, TARGETS, TARGETS))
    later = make_evaluation(LABELS, TARGETS[:50], TARGETS[:50])
    digests = (*later.digests[:45], *(bytes([9] * 31 + [n]) for n in range(5)))
    verdict = hold_against(replace(later, digests=digests), before, 0.5, SIGNIFICANCE)
    assert (verdict.photos, verdict.only_now, verdict.only_then) == (45, 5, 99)


def test_hold_against__other_photos(make_evaluation: MakeEvaluation) -> None:
    evaluation = make_evaluation(LABELS, TARGETS, TARGETS)
    baseline = Baseline("older.onnx", LABELS, {b"other": "a"})
    with pytest.raises(DataError, match="other photos: none of its 1 is in made/up"):
        hold_against(evaluation, baseline, 0.5, SIGNIFICANCE)


def test_hold_against__other_labels(make_evaluation: MakeEvaluation) -> None:
    evaluation = make_evaluation(LABELS, TARGETS, TARGETS)
    baseline = replace(to_baseline(evaluation), labels=("a", "b", "d"))
    with pytest.raises(DataError, match="other labels: c, d only on one side"):
        hold_against(evaluation, baseline, 0.5, SIGNIFICANCE)


def test_hold_against__labels_in_another_order(make_evaluation: MakeEvaluation) -> None:
    evaluation = make_evaluation(LABELS, TARGETS, TARGETS)
    baseline = replace(to_baseline(evaluation), labels=("c", "a", "b"))
    assert hold_against(evaluation, baseline, 0.5, SIGNIFICANCE).refused == ()


def test_to_json__says_whether_it_passed(judge_change: JudgeChange) -> None:
    value = json.loads(json.dumps(judge_change(wrong_on(), wrong_on(*range(12))).to_json()))
    assert value["passed"] is False
    assert value["checks"][0]["name"] == "accuracy"
    assert value["checks"][0]["refused"] is True
