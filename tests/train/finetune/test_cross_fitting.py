from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from boats_train.finetune import cross_fitting
from boats_train.finetune.cross_fitting import (
    Comparison,
    CrossFit,
    Progress,
    choose_epochs,
    compare,
    count_fold_epochs,
    cross_fit,
    make_cross_fit_folds,
    run_epochs,
    split_fold,
)
from boats_train.finetune.learners import FineTuningImages
from boats_train.finetune.loop import CHECKPOINT, Checkpoint
from boats_train.finetune.trainer import FineTuningData
from support.cross_fitting import SETTINGS, change, make_source


def make_images(groups: list[str], train_count: int) -> FineTuningImages:
    paths = tuple(Path(f"{group}_{number}.jpg") for number, group in enumerate(groups))
    return FineTuningImages(paths, np.arange(len(groups)) % 2, train_count, ("a", "b"))


def run_cross_fit(
    data: FineTuningData, folder: Path, *, may_stop: bool = False
) -> tuple[CrossFit, list[int], list[str]]:
    *_, cache, source = make_source(data, folder / "activations")
    folds = make_cross_fit_folds(source.images, None, 0)
    lines: list[str] = []
    checkpoint = Checkpoint(folder, resume=False, log=lines.append)
    settings = change(epochs=1)
    fitted = cross_fit(source, folds, settings, checkpoint, Progress(100), may_stop=may_stop)
    return fitted, cache.trained, lines


def test_cross_fit__networks_do_not_see_the_held_out_images(
    data: FineTuningData, tmp_path: Path
) -> None:
    fitted, trained, lines = run_cross_fit(data, tmp_path)
    assert len(fitted.features) == len(fitted.folds.names) == 3
    assert fitted.is_complete
    start = 0
    for fold in range(3):
        train, held_out = split_fold(fitted.folds, fold, make_source(data, tmp_path)[3].images)
        used = trained[start : start + 4 * -(-len(train) // 4)]
        start += len(used)
        assert set(used) <= set(train.tolist())
        assert set(used).isdisjoint(held_out.tolist())
    assert start == len(trained)
    assert "cross-fitting 1/3 (fold 1 held out): epoch 1 of 1: loss " in lines[0]
    assert [sorted(curve) for curve in fitted.average_curves()] == [
        ["held_out_accuracy", "held_out_macro_f1"]
    ]


def test_cross_fit__stops_if_no_fold_gains(
    data: FineTuningData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cross_fitting, "compare", lambda tuned, _: lose(len(tuned)))
    stopped, _, _ = run_cross_fit(data, tmp_path, may_stop=True)
    assert len(stopped.features) == 2
    assert not stopped.is_complete
    assert run_cross_fit(data, tmp_path)[0].is_complete


def lose(folds: int) -> Comparison:
    return Comparison((0.5,) * folds, (0.6,) * folds)


@pytest.mark.parametrize(
    ("fine_tuned", "pays"),
    [((0.95, 0.93, 0.94), True), ((0.91, 0.90, 0.92), False), ((0.99, 0.85, 0.90), False)],
)
def test_comparison__pays_above_one_standard_error(
    fine_tuned: tuple[float, ...], pays: bool
) -> None:
    comparison = Comparison(fine_tuned, (0.91, 0.90, 0.92))
    assert comparison.pays is pays


def test_comparison__describes_the_difference() -> None:
    comparison = Comparison((0.95, 0.93, 0.94), (0.91, 0.90, 0.92))
    assert comparison.describe("groups") == "+3.0 points on 3 held-out groups (SE 0.6)"


def test_compare__each_side_with_its_best_candidate() -> None:
    comparison = compare([[0.9, 0.8], [0.7, 0.7]], [[0.6, 0.9], [0.6, 0.5]])
    assert comparison == Comparison((0.9, 0.7), (0.9, 0.5))


@pytest.mark.parametrize(
    ("accuracies", "epochs"),
    [((0.8, 0.9, 0.95, 0.96), 12), ((0.8, 0.96, 0.95, 0.96), 12), ((0.8, 0.96, 0.95, 0.95), 6)],
)
def test_choose_epochs__fewer_if_held_out_accuracy_falls(
    accuracies: tuple[float, ...], epochs: int
) -> None:
    curves = [{"held_out_accuracy": accuracy} for accuracy in accuracies]
    assert choose_epochs(12, curves) == epochs


def test_count_fold_epochs__a_third() -> None:
    assert [count_fold_epochs(epochs) for epochs in (12, 3, 1)] == [4, 1, 1]


def test_make_cross_fit_folds__groups_of_train_and_valid() -> None:
    groups = ["20130304"] * 6 + ["20130305"] * 6 + ["20130304", "20130305"]
    folds = make_cross_fit_folds(make_images(groups, 12), None, 0)
    assert folds.kind == "leave-one-group-out"
    assert folds.assignment.tolist() == [0] * 6 + [1] * 6 + [0, 1]


def test_make_cross_fit_folds__at_most_five() -> None:
    groups = [f"201303{day:02}" for day in range(1, 8) for _ in range(4)]
    folds = make_cross_fit_folds(make_images(groups, 28), None, 0)
    assert (folds.kind, len(folds.names)) == ("grouped", 5)


def test_make_cross_fit_folds__group_without_training_images() -> None:
    groups = ["20130304"] * 6 + ["20130305"] * 6 + ["20130306"] * 2
    folds = make_cross_fit_folds(make_images(groups, 12), None, 0)
    assert (folds.kind, len(folds.names)) == ("stratified", 3)


def test_run_epochs__resumes(data: FineTuningData, tmp_path: Path) -> None:
    *_, source = make_source(data, tmp_path / "activations")
    lines: list[str] = []

    def train(name: str, stop_after: int = 3) -> np.ndarray:
        images, checkpoint = source.images, Checkpoint(tmp_path / name, True, lines.append)
        settings = replace(SETTINGS, epochs=3)
        learner = source.start(images.train, images.valid, settings, copy=True)
        if stop_after < 3:
            learner = Interrupted(learner, stop_after)  # type: ignore[assignment]
        run_epochs(learner, settings, checkpoint, Progress(12), 4, "training")
        return learner.compute_features()

    expected = train("whole")
    with pytest.raises(KeyboardInterrupt):
        train("interrupted", stop_after=2)
    assert (tmp_path / "interrupted" / CHECKPOINT).is_file()
    np.testing.assert_array_equal(train("interrupted"), expected)
    assert any(line.startswith("resuming after epoch 2 of ") for line in lines)
    assert not any("has no checkpoint" in line for line in lines)


class Interrupted:
    """A learner that is interrupted after some epochs."""

    def __init__(self, learner: object, epochs: int) -> None:
        self._learner, self._epochs = learner, epochs

    def train_epoch(self, epoch: int) -> dict[str, float]:
        if epoch > self._epochs:
            raise KeyboardInterrupt
        return self._learner.train_epoch(epoch)  # type: ignore[attr-defined, no-any-return]

    def __getattr__(self, name: str) -> object:
        return getattr(self._learner, name)
