from pathlib import Path

import pytest

from boats_data.groups import find_groups, match_groups
from boats_runtime.errors import UsageError


@pytest.mark.parametrize(
    ("pattern", "groups"),
    [
        (None, ["20130304", None]),
        (r"cam(\d)", ["7", None]),
        (r"cam\d", ["cam7", None]),
        (r"cam\d(x)?", ["", None]),
        (r"\.jpg$", [".jpg", ".jpg"]),
    ],
)
def test_match_groups__group_or_none(pattern: str | None, groups: list[str | None]) -> None:
    assert match_groups(["20130304_cam7.jpg", "other.jpg"], pattern) == groups


def test_find_groups__ignores_folders() -> None:
    paths = [Path("20130305_x/20130304_1.jpg"), Path("20130306_2.jpg")]
    assert find_groups(paths, None) == ["20130304", "20130306"]


def test_find_groups__name_without_a_date() -> None:
    assert find_groups([Path("20130304_1.jpg"), Path("other.jpg")], None) is None


def test_find_groups__pattern_does_not_match_every_name() -> None:
    with pytest.raises(UsageError, match=r"--groups cam\\d: does not match a/other\.jpg"):
        find_groups([Path("a/cam1.jpg"), Path("a/other.jpg")], r"cam\d")
