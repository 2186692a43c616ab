import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from boats_data.check import perceptual_hash as near_duplicates
from boats_data.check.checks import Report, check_data, find_imbalance, find_small_classes
from boats_data.check.findings import MAX_EXAMPLES, Finding, make_finding
from boats_data.check.perceptual_hash import BITS, NEAR_BITS, find_near, fingerprint
from boats_data.check.report import to_lines
from boats_runtime.errors import DataError, UsageError
from boats_runtime.preprocessing import decode


def draw(number: int, size: tuple[int, int] = (160, 48)) -> Image.Image:
    """Draws a photo of soft blots; each number's are its own."""
    blots = np.random.default_rng(number).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    return Image.fromarray(blots).resize(size, Image.Resampling.BICUBIC)


class Folder:
    """A picture set of two classes with five photos each in `train` and `valid`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for number in range(20):
            split, label = ("train", "valid")[number // 10], ("a", "b")[number // 5 % 2]
            self.add(f"{split}/{label}/{number:02}.jpg", draw(number))

    def add(self, name: str, image: Image.Image, **options: object) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path, **options)
        return path

    def copy(self, name: str, other: str) -> None:
        shutil.copyfile(self.root / name, self.root / other)

    def rename(self, names: dict[str, str]) -> None:
        for name, file in names.items():
            (self.root / name).rename((self.root / name).with_name(file))

    def find(self, pattern: str | None = None) -> list[Finding]:
        return list(check_data(self.root, pattern).findings)

    def codes(self) -> list[str]:
        return [finding.code for finding in self.find()]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "photos")


def only(findings: list[Finding]) -> Finding:
    assert len(findings) == 1, [finding.code for finding in findings]
    return findings[0]


def test_check_data__sound_set_has_no_findings(folder: Folder) -> None:
    report = check_data(folder.root)
    assert report.findings == ()
    assert report.photos == 20
    assert report.splits == ("train", "valid")
    assert report.classes == {"a": Counter(train=5, valid=5), "b": Counter(train=5, valid=5)}
    assert report.kinds == {("JPEG", "RGB", 160, 48): 20}


def test_check_data__no_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere: no such folder; name one with train/"):
        check_data(tmp_path / "nowhere")


def test_check_data__errors_come_before_warnings(folder: Folder) -> None:
    folder.copy("train/a/00.jpg", "train/a/copy.jpg")
    folder.add("train/b/more.png", draw(99).convert("L"))
    (folder.root / "valid/b/broken.jpg").write_bytes(b"")
    assert [finding.severity for finding in folder.find()] == ["error", "warning", "warning"]


def test_find_corrupt__names_the_files_and_why(folder: Folder) -> None:
    whole = (folder.root / "train/a/00.jpg").read_bytes()
    (folder.root / "train/a/cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder.root / "train/a/empty.jpg").write_bytes(b"")
    (folder.root / "valid/b/text.png").write_text("no photo")
    finding = only(folder.find())
    assert (finding.code, finding.severity, finding.count) == ("corrupt-photos", "error", 3)
    assert finding.message == "3 photos can't be decoded."
    assert [example.split(": ")[0] for example in finding.examples] == [
        "train/a/cut.jpg", "train/a/empty.jpg", "valid/b/text.png",
    ]  # fmt: skip
    assert "truncated" in finding.examples[0]
    assert "known format" in finding.examples[2]


def test_find_duplicates__same_bytes_in_two_splits(folder: Folder) -> None:
    folder.copy("train/a/00.jpg", "valid/a/copy.jpg")
    folder.copy("train/a/00.jpg", "valid/a/again.jpg")
    across, within = folder.find()
    assert across.code == "duplicates-across-splits"
    assert across.severity == "error"
    assert across.message == "2 photos of valid are byte for byte the same as one of train."
    assert across.examples[0] == "train/a/00.jpg = valid/a/again.jpg"
    assert within.message == "1 photo of valid is byte for byte the same as another of it."
    assert within.examples == ("valid/a/again.jpg = valid/a/copy.jpg",)


def test_find_duplicates__same_bytes_in_one_split(folder: Folder) -> None:
    for number in range(3):
        folder.copy("train/a/00.jpg", f"train/a/copy{number}.jpg")
    finding = only(folder.find())
    assert (finding.code, finding.severity, finding.count) == ("duplicates-in-split", "warning", 3)


def test_find_duplicates__same_bytes_in_two_classes(folder: Folder) -> None:
    folder.copy("train/a/00.jpg", "train/b/copy.jpg")
    findings = folder.find()
    assert [finding.code for finding in findings] == [
        "duplicates-across-classes", "duplicates-in-split",
    ]  # fmt: skip
    assert findings[0].message == "1 photo is byte for byte the same as one of another class."


@pytest.mark.parametrize("change", ["worse", "smaller", "brighter", "grey", "turned"])
def test_find_duplicates__the_same_photo_saved_otherwise(folder: Folder, change: str) -> None:
    image = draw(0)
    name, options = "valid/a/other.jpg", {}
    if change == "worse":
        options = {"quality": 30}
    elif change == "smaller":
        image = image.resize((80, 24))
    elif change == "brighter":
        image = image.point(lambda value: min(255, round(value * 1.1)))
    elif change == "grey":
        image = image.convert("L").convert("RGB")
    else:
        options = {"exif": Image.Exif()}
        options["exif"][0x0112] = 8  # to be turned back by a quarter
        image = image.transpose(Image.Transpose.ROTATE_270)
    folder.add(name, image, **options)
    finding = only(folder.find())
    assert finding.code == "near-duplicates-across-splits"
    assert finding.message == "1 photo of valid is nearly the same as one of train."
    assert finding.examples[0].startswith("train/a/00.jpg and valid/a/other.jpg: ")


def test_find_duplicates__bytes_and_likeness_are_told_once(folder: Folder) -> None:
    folder.copy("train/a/00.jpg", "train/a/copy.jpg")
    assert folder.codes() == ["duplicates-in-split"]


def test_find_duplicates__nothing_can_be_decoded(folder: Folder) -> None:
    for path in folder.root.rglob("*.jpg"):
        path.write_text(path.name)
    assert folder.codes() == ["corrupt-photos"]


def test_fingerprint__photos_differ_in_half_of_their_bits() -> None:
    first, second = (fingerprint(draw(number)) for number in (0, 1))
    assert first.shape == (BITS,)
    assert abs(np.count_nonzero(first != second) - BITS / 2) < BITS / 6


def test_fingerprint__tells_brighter_from_darker() -> None:
    ramp = Image.linear_gradient("L")  # black above, white below
    bits = fingerprint(ramp)
    assert not bits[: BITS // 2].any()
    assert bits[BITS // 2 :].all()


def test_find_near__finds_what_comparing_all_pairs_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_duplicates, "_BLOCK", 16)
    rng = np.random.default_rng(0)
    bits = rng.random((100, BITS)) < 0.5
    contents = np.arange(100)
    for copy, changed in ((3, 0), (17, NEAR_BITS), (40, NEAR_BITS + 1), (99, 5), (98, 0)):
        bits[copy] = bits[1]
        bits[copy, rng.choice(BITS, changed, replace=False)] ^= True
    contents[98] = contents[3]
    expected = {
        (i, j): np.count_nonzero(bits[i] != bits[j])
        for i in range(100)
        for j in range(i + 1, 100)
        if np.count_nonzero(bits[i] != bits[j]) <= NEAR_BITS and contents[i] != contents[j]
    }
    near = find_near(bits, contents)
    assert near.complete
    found = dict(zip(map(tuple, near.pairs.tolist()), near.bits.tolist(), strict=True))
    assert found == expected
    assert {(1, 3), (1, 17), (1, 98), (1, 99)} <= set(found)
    assert (3, 98) not in found
    assert near.bits.tolist() == sorted(near.bits.tolist())


def test_find_near__too_many_pairs_end_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_duplicates, "MAX_PAIRS", 10)
    near = find_near(np.zeros((40, BITS), bool), np.arange(40))
    assert not near.complete
    assert near.pairs.shape == (10, 2)


def test_find_duplicates__says_that_the_search_ended(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(near_duplicates, "MAX_PAIRS", 2)
    for number in range(4):
        folder.add(f"train/a/like{number}.jpg", draw(0), quality=70 + number)
    finding = only(folder.find())
    assert "there are more" in finding.message


def day_names(folder: Folder) -> None:
    """Gives `train` two days and `valid` the second of them and a third one."""
    days = ["20130304"] * 5 + ["20130305"] * 8 + ["20130306"] * 7
    folder.rename(
        {
            f"{('train', 'valid')[number // 10]}/{('a', 'b')[number // 5 % 2]}/{number:02}.jpg": (
                f"{day}_{number:02}.jpg"
            )
            for number, day in enumerate(days)
        }
    )


def test_find_shared__days_in_two_splits(folder: Folder) -> None:
    day_names(folder)
    finding = only(folder.find())
    assert (finding.code, finding.severity, finding.count) == ("shared-groups", "error", 3)
    assert finding.message == "3 of 10 photos of valid are of a day that train has too."
    assert finding.examples == ("20130305: 5 in train, 3 in valid",)
    assert "boats-train --groups" in finding.advice


def test_find_shared__whole_days_apart_are_sound(folder: Folder) -> None:
    for path in list(folder.root.rglob("*.jpg")):
        day = "20130304" if "train" in path.parts else "20130305"
        path.rename(path.with_name(f"{day}_{path.name}"))
    report = check_data(folder.root)
    assert report.findings == ()
    assert report.groups.noun == "day"
    assert report.groups.counts == {"train": {"20130304": 10}, "valid": {"20130305": 10}}


@pytest.mark.parametrize("pattern", [r"_0?(\d)\d?\.", r"(?<=_)\d(?=\d\.)"])
def test_find_shared__by_the_first_bracket_or_the_whole_match(folder: Folder, pattern: str) -> None:
    day_names(folder)
    (folder.root / "valid/b/20130306_19.jpg").rename(folder.root / "valid/b/20130306_09.jpg")
    finding = only(folder.find(pattern))
    assert "group that train has too" in finding.message or "groups that train" in finding.message
    assert "day" not in finding.message


def test_find_shared__names_without_a_day_among_others(folder: Folder) -> None:
    folder.rename({"train/a/00.jpg": "20130304_00.jpg"})
    finding = only(folder.find())
    assert (finding.code, finding.count) == ("names-without-group", 19)
    assert finding.examples[0] == "train/a/01.jpg"


@pytest.mark.parametrize(
    ("pattern", "message"),
    [("(", "--groups \\(: not a regular expression"), ("x", "--groups x: matches no file name")],
)
def test_group_photos__useless_expression_is_refused(
    folder: Folder, pattern: str, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        folder.find(pattern)


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
def test_find_neighbours__within_ten_seconds(
    folder: Folder, first: str, second: str, gap: int | None
) -> None:
    folder.rename({"train/a/00.jpg": f"{first}.jpg", "valid/a/10.jpg": f"{second}.jpg"})
    found = [finding for finding in folder.find() if finding.code == "neighbouring-photos"]
    if gap is None:
        assert not found
    else:
        expected = f"valid/a/{second}.jpg and train/a/{first}.jpg: {gap} s apart"
        assert only(found).examples == (expected,)
        assert only(found).message.startswith("1 of the 10 photos of valid was taken")


def test_find_neighbours__other_classes_are_no_neighbours(folder: Folder) -> None:
    folder.rename({"train/a/00.jpg": "20130304_120000_1.jpg"})
    folder.rename({"valid/b/15.jpg": "20130304_120001_1.jpg"})
    assert "neighbouring-photos" not in folder.codes()


def test_find_neighbours__takes_the_nearest(folder: Folder) -> None:
    for number, second in enumerate((10, 20, 30, 40, 50)):
        folder.rename({f"train/a/{number:02}.jpg": f"20130304_1200{second}_{number}.jpg"})
    folder.rename({"valid/a/10.jpg": "20130304_120038_1.jpg"})
    found = [finding for finding in folder.find() if finding.code == "neighbouring-photos"]
    assert only(found).examples[0].endswith("20130304_120040_3.jpg: 2 s apart")


def test_find_small_classes__in_each_split(folder: Folder) -> None:
    (folder.root / "train/b/05.jpg").unlink()
    shutil.rmtree(folder.root / "valid/a")
    train, valid = folder.find()
    assert (train.code, valid.code) == ("small-classes", "small-classes")
    assert train.message == "1 class of train has fewer than 5 photos."
    assert train.examples == ("b: 4",)
    assert valid.examples == ("a: none",)


@pytest.mark.parametrize(("photos", "found"), [(49, False), (50, True)])
def test_find_imbalance__from_ten_times_on(photos: int, found: bool) -> None:
    classes = {"a": Counter(train=5), "b": Counter(train=photos)}
    findings = find_imbalance(classes)
    assert bool(findings) == found
    if found:
        assert findings[0].examples == ("b: 50", "a: 5")
        assert "10 times" in findings[0].message
    assert find_small_classes(classes, ("train",)) == []


def test_find_mixed_images__shapes(folder: Folder) -> None:
    folder.add("train/a/tall.jpg", draw(50, (100, 100)))
    finding = only(folder.find())
    assert finding.code == "mixed-shapes"
    assert finding.examples[0] == "train/a/tall.jpg: 1.00"


def test_find_mixed_images__a_turned_photo_has_its_upright_shape(folder: Folder) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    folder.add("train/a/turned.jpg", draw(50, (48, 160)), exif=exif)
    report = check_data(folder.root)
    assert report.findings == ()
    assert report.kinds == {("JPEG", "RGB", 160, 48): 21}


def test_find_mixed_images__grey_among_colour(folder: Folder) -> None:
    folder.add("train/a/grey.png", draw(50).convert("L"))
    finding = only(folder.find())
    assert (finding.code, finding.examples) == ("mixed-colours", ("train/a/grey.png: mode L",))


def test_find_mixed_images__all_grey_is_sound(folder: Folder) -> None:
    for path in folder.root.rglob("*.jpg"):
        decode(path).convert("L").save(path)
    assert folder.codes() == []


def test_find_unused__files_that_training_passes_over(folder: Folder) -> None:
    for name in ("train/a/photo.gif", "train/stray.jpg", "valid/a/deep/photo.jpg", "notes.txt"):
        (folder.root / name).parent.mkdir(exist_ok=True)
        (folder.root / name).write_bytes(b"x")
    (folder.root / "train/a/.hidden.jpg").write_bytes(b"x")
    (folder.root / "train/.cache").mkdir()
    (folder.root / "train/.cache/file").write_bytes(b"x")
    finding = only(folder.find())
    assert finding.code == "unused-files"
    assert finding.examples == ("train/a/photo.gif", "train/stray.jpg", "valid/a/deep/photo.jpg")


def test_make_finding__keeps_the_first_examples_and_counts_the_rest() -> None:
    def endless() -> Iterator[str]:
        yield from map(str, range(MAX_EXAMPLES + 7))

    finding = make_finding("code", "error", 1, "message", "advice", endless())
    assert (len(finding.examples), finding.examples[-1], finding.more) == (MAX_EXAMPLES, "999", 7)


@pytest.fixture(scope="module")
def real_report(boats_data: Path) -> Report:
    return check_data(boats_data)


def test_check_data__real_boats_share_all_their_days(real_report: Report) -> None:
    found = {finding.code: finding for finding in real_report.findings}
    assert real_report.photos == 3869
    assert found["shared-groups"].count == 395
    assert found["neighbouring-photos"].count == 54
    assert "corrupt-photos" not in found


def test_check_data__real_boats_look_alike_but_one_pair_is_the_same(real_report: Report) -> None:
    near = [finding for finding in real_report.findings if "near" in finding.code.split("-")]
    first, second = (f"train/Ambulanza/20130305_075734_{frame}.jpg" for frame in (31024, 31040))
    assert only(near).examples[0].startswith(f"{first} and {second}: ")
    assert only(near).count == 1


def test_to_lines__real_boats_fit_two_screens(real_report: Report) -> None:
    lines = list(to_lines(real_report))
    assert len(lines) < 100
    assert all(len(line) <= 100 for line in lines if not line.startswith("    "))
