from pathlib import Path

import numpy as np
import pytest

from boats_runtime.errors import UsageError
from boats_train.svm.folds import MAX_FOLDS, Folds, find_groups, make_folds


def dated(*days: str) -> list[Path]:
    return [Path(f"train/a/{day}_1200{number:02d}_1.jpg") for number, day in enumerate(days)]


def test_make_folds__holds_out_whole_days() -> None:
    paths = dated("20130304", "20130305", "20130304", "20130305", "20130306", "20130306")
    targets = np.array([0, 0, 1, 1, 0, 1])
    folds = make_folds(paths, targets, None, seed=0)
    assert folds.kind == "leave-one-group-out"
    assert folds.names == ("20130304", "20130305", "20130306")
    for learned, held in folds.strict():
        days = {paths[index].name[:8] for index in held}
        assert len(days) == 1
        assert days.isdisjoint(paths[index].name[:8] for index in learned)


def test_make_folds__without_dates_deals_class_by_class() -> None:
    targets = np.repeat([0, 1, 2], [50, 10, 2])
    paths = [Path(f"photo{number}.jpg") for number in range(len(targets))]
    folds = make_folds(paths, targets, None, seed=3)
    assert folds.kind == "stratified"
    assert sorted(np.concatenate([held for _, held in folds.strict()])) == list(range(62))
    for fold in range(5):
        counts = np.bincount(targets[folds.assigned == fold], minlength=3)
        assert counts[0] == 10
        assert counts[1] == 2
        assert counts[2] <= 1


def test_make_folds__the_seed_decides_the_dealing() -> None:
    targets = np.repeat([0, 1], 20)
    paths = [Path(f"{number}.jpg") for number in range(40)]
    first, again, other = (make_folds(paths, targets, None, seed).assigned for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_make_folds__groups_that_leave_one_class_are_done_without() -> None:
    paths = dated("20130304", "20130304", "20130305", "20130305")
    folds = make_folds(paths, np.array([0, 0, 1, 1]), None, seed=0)
    assert folds.kind == "stratified"


def test_make_folds__one_day_only_is_stratified() -> None:
    folds = make_folds(dated(*["20130304"] * 6), np.array([0, 1] * 3), None, seed=0)
    assert folds.kind == "stratified"


def test_make_folds__many_groups_are_dealt_evenly() -> None:
    paths = [Path(f"boat{number // 3:02d}-{number}.jpg") for number in range(90)]
    folds = make_folds(paths, np.arange(90) % 2, r"^boat(\d+)", seed=0)
    assert folds.kind == "grouped"
    assert np.bincount(folds.assigned).tolist() == [9] * MAX_FOLDS
    for start in range(0, 90, 3):
        assert len(set(folds.assigned[start : start + 3])) == 1


def test_with_every_class__keeps_a_class_that_is_held_out_whole() -> None:
    folds = Folds(np.array([0, 0, 1, 1, 1]), ("a", "b"), "leave-one-group-out")
    targets = np.array([0, 1, 0, 1, 2])
    (first, held_first), (second, held_second) = folds.with_every_class(targets)
    assert first.tolist() == [2, 3, 4]
    assert held_first.tolist() == [0, 1]
    assert second.tolist() == [0, 1, 4]
    assert held_second.tolist() == [2, 3, 4]


def test_find_groups__the_whole_match_without_a_group() -> None:
    assert find_groups([Path("x/cam7-001.jpg")], r"cam\d") == ["cam7"]


def test_find_groups__none_when_a_name_has_no_date() -> None:
    assert find_groups([*dated("20130304"), Path("other.jpg")], None) is None


def test_find_groups__a_name_that_does_not_match_is_named() -> None:
    with pytest.raises(UsageError, match=r"--groups .*does not match .*other\.jpg"):
        find_groups([Path("cam1.jpg"), Path("other.jpg")], r"cam\d")


def test_find_groups__a_broken_expression() -> None:
    with pytest.raises(UsageError, match="not a regular expression"):
        find_groups([Path("a.jpg")], "(")
