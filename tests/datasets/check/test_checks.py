import shutil
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from boats_data.check.checks import Report, check_data, find_imbalance, find_small_classes
from boats_data.check.findings import MAX_EXAMPLES, make_finding
from boats_data.check.report import to_lines
from boats_runtime.decoding import decode
from support.checked_dataset import CheckedDataset, draw_blots


def test_check_data__errors_before_warnings(dataset: CheckedDataset) -> None:
    dataset.copy("train/a/00.jpg", "train/a/copy.jpg")
    dataset.add("train/b/more.png", draw_blots(99).convert("L"))
    (dataset.root / "valid/b/broken.jpg").write_bytes(b"")
    assert [finding.severity for finding in dataset.find()] == ["error", "warning", "warning"]


def test_find_corrupt__names_files_and_reasons(dataset: CheckedDataset) -> None:
    content = (dataset.root / "train/a/00.jpg").read_bytes()
    (dataset.root / "train/a/cut.jpg").write_bytes(content[: len(content) // 2])
    (dataset.root / "train/a/empty.jpg").write_bytes(b"")
    (dataset.root / "valid/b/text.png").write_text("text")
    finding = dataset.find_only()
    assert (finding.code, finding.severity, finding.count) == ("corrupt-photos", "error", 3)
    assert finding.message == "3 images cannot be decoded."
    names = [example.split(": ")[0] for example in finding.examples]
    assert names == ["train/a/cut.jpg", "train/a/empty.jpg", "valid/b/text.png"]
    assert "truncated" in finding.examples[0]
    assert "known format" in finding.examples[2]


def test_find_small_classes__in_each_split(dataset: CheckedDataset) -> None:
    (dataset.root / "train/b/05.jpg").unlink()
    shutil.rmtree(dataset.root / "valid/a")
    train, valid = dataset.find()
    assert (train.code, valid.code) == ("small-classes", "small-classes")
    assert train.message == "1 class of train has fewer than 5 images."
    assert train.examples == ("b: 4",)
    assert valid.examples == ("a: none",)


@pytest.mark.parametrize(("images", "found"), [(49, False), (50, True)])
def test_find_imbalance__ratio_of_ten(images: int, found: bool) -> None:
    classes = {"a": Counter(train=5), "b": Counter(train=images)}
    findings = list(find_imbalance(classes))
    assert bool(findings) == found
    if found:
        assert findings[0].examples == ("b: 50", "a: 5")
        assert "10 times" in findings[0].message
    assert list(find_small_classes(classes, ("train",))) == []


def test_find_mixed_images__aspect_ratios(dataset: CheckedDataset) -> None:
    dataset.add("train/a/tall.jpg", draw_blots(50, (100, 100)))
    finding = dataset.find_only()
    assert finding.code == "mixed-shapes"
    assert finding.examples[0] == "train/a/tall.jpg: 1.00"


def test_find_mixed_images__size_after_exif_orientation(dataset: CheckedDataset) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    dataset.add("train/a/rotated.jpg", draw_blots(50, (48, 160)), exif=exif)
    report = check_data(dataset.root)
    assert report.findings == ()
    assert report.formats == {("JPEG", "RGB", 160, 48): 21}


def test_find_mixed_images__gray_among_color(dataset: CheckedDataset) -> None:
    dataset.add("train/a/gray.png", draw_blots(50).convert("L"))
    finding = dataset.find_only()
    assert (finding.code, finding.examples) == ("mixed-colours", ("train/a/gray.png: mode L",))
    assert finding.message == "1 of 21 images is gray, the others are in color."


def test_find_mixed_images__only_gray(dataset: CheckedDataset) -> None:
    for path in dataset.root.rglob("*.jpg"):
        decode(path).convert("L").save(path)
    assert dataset.find_codes() == []


def test_find_unused__files_that_training_ignores(dataset: CheckedDataset) -> None:
    unused = ("train/a/image.gif", "train/stray.jpg", "valid/a/deep/image.jpg")
    for name in (*unused, "notes.txt", "train/a/.hidden.jpg", "train/.cache/file"):
        (dataset.root / name).parent.mkdir(exist_ok=True)
        (dataset.root / name).write_bytes(b"x")
    finding = dataset.find_only()
    assert (finding.code, finding.examples) == ("unused-files", unused)


def test_make_finding__keeps_the_first_examples_and_counts_the_others() -> None:
    finding = make_finding("code", "error", "message", "advice", map(str, range(MAX_EXAMPLES + 7)))
    assert (len(finding.examples), finding.examples[-1], finding.more) == (MAX_EXAMPLES, "999", 7)
    assert finding.count == MAX_EXAMPLES + 7


@pytest.fixture(scope="module")
def boats_report(boats_data: Path) -> Report:
    return check_data(boats_data)


def test_check_data__boats_dataset(boats_report: Report) -> None:
    findings = {finding.code: finding for finding in boats_report.findings}
    assert boats_report.images == 3869
    assert findings["shared-groups"].count == 395
    assert findings["neighbouring-photos"].count == 54
    assert "corrupt-photos" not in findings
    (near,) = (finding for code, finding in findings.items() if code.startswith("near-"))
    first, second = (f"train/Ambulanza/20130305_075734_{frame}.jpg" for frame in (31024, 31040))
    assert near.examples[0].startswith(f"{first} and {second}: ")
    assert near.count == 1


def test_to_lines__boats_dataset_fits_two_screens(boats_report: Report) -> None:
    lines = list(to_lines(boats_report))
    assert len(lines) < 100
    assert all(len(line) <= 100 for line in lines if not line.startswith("    "))
