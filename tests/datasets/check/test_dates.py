import pytest

from boats_data.check.checks import check_data
from boats_data.check.findings import Finding
from boats_runtime.errors import UsageError
from support.checked_dataset import CheckedDataset


@pytest.fixture
def dated(dataset: CheckedDataset) -> CheckedDataset:
    """`train` has two days; `valid` has the second of them and a third day."""
    days = ["20130304"] * 5 + ["20130305"] * 8 + ["20130306"] * 7
    for path, day in zip(sorted(dataset.root.rglob("*.jpg")), days, strict=True):
        path.rename(path.with_name(f"{day}_{path.name}"))
    return dataset


def find_neighbors(dataset: CheckedDataset) -> list[Finding]:
    return [finding for finding in dataset.find() if finding.code == "neighbouring-photos"]


def test_find_shared_groups__day_in_two_splits(dated: CheckedDataset) -> None:
    finding = dated.find_only()
    assert (finding.code, finding.severity, finding.count) == ("shared-groups", "error", 3)
    assert finding.message == "3 of the 10 images of valid are of a day that train also contains."
    assert finding.examples == ("20130305: 5 in train, 3 in valid",)
    assert "boats-train --groups" in finding.advice


def test_find_shared_groups__separate_days(dataset: CheckedDataset) -> None:
    for path in list(dataset.root.rglob("*.jpg")):
        day = "20130304" if "train" in path.parts else "20130305"
        path.rename(path.with_name(f"{day}_{path.name}"))
    report = check_data(dataset.root)
    assert report.findings == ()
    assert report.groups.noun == "day"
    assert report.groups.counts == {"train": {"20130304": 10}, "valid": {"20130305": 10}}


@pytest.mark.parametrize("pattern", [r"_0?(\d)\d?\.", r"(?<=_)\d(?=\d\.)"])
def test_find_shared_groups__pattern(dated: CheckedDataset, pattern: str) -> None:
    dated.rename("valid/b/20130306_19.jpg", "20130306_09.jpg")
    finding = dated.find_only(pattern)
    assert "group" in finding.message
    assert "day" not in finding.message


def test_find_shared_groups__names_without_a_day(dataset: CheckedDataset) -> None:
    dataset.rename("train/a/00.jpg", "20130304_00.jpg")
    finding = dataset.find_only()
    assert (finding.code, finding.count) == ("names-without-group", 19)
    assert finding.message == "19 of 20 file names contain no day."
    assert finding.examples[0] == "train/a/01.jpg"


@pytest.mark.parametrize(
    ("pattern", "message"),
    [("(", r"--groups \(: not a regular expression"), ("x", "--groups x: matches no file name")],
)
def test_count_groups__useless_pattern(dataset: CheckedDataset, pattern: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        dataset.find(pattern)


@pytest.mark.parametrize(
    ("first", "second", "gap"),
    [
        ("20130304_120000_1", "20130304_120010_2", 10),
        ("20130304_120000_1", "20130304_120011_2", None),
        ("20130304_120005", "20130304_120004", 1),
        ("20130304_235958_1", "20130305_000003_2", 5),
        ("20131340_120000_1", "20131340_120000_2", None),
        ("20130304_1200001_1", "20130304_1200002_1", None),
    ],
)
def test_find_neighbors__within_ten_seconds(
    dataset: CheckedDataset, first: str, second: str, gap: int | None
) -> None:
    dataset.rename("train/a/00.jpg", f"{first}.jpg")
    dataset.rename("valid/a/10.jpg", f"{second}.jpg")
    findings = find_neighbors(dataset)
    assert len(findings) == (gap is not None)
    for finding in findings:
        example = f"valid/a/{second}.jpg and train/a/{first}.jpg: {gap} s apart"
        assert finding.examples == (example,)
        assert finding.message.startswith("1 of the 10 images of valid was taken within 10 s")


def test_find_neighbors__nearest(dataset: CheckedDataset) -> None:
    for number, second in enumerate((10, 20, 30, 40, 50)):
        dataset.rename(f"train/a/{number:02}.jpg", f"20130304_1200{second}_{number}.jpg")
    dataset.rename("valid/a/10.jpg", "20130304_120038_1.jpg")
    (finding,) = find_neighbors(dataset)
    assert finding.examples[0].endswith("20130304_120040_3.jpg: 2 s apart")
