import numpy as np
import pytest
from PIL import Image

from boats_data.check import duplicates, perceptual_hash
from boats_data.check.perceptual_hash import BITS, MAX_DISTANCE, compute_hash, find_near_pairs
from support.checked_dataset import CheckedDataset, draw_blots


def test_find_duplicates__identical_files_in_two_splits(dataset: CheckedDataset) -> None:
    dataset.copy("train/a/00.jpg", "valid/a/copy1.jpg", "valid/a/copy2.jpg")
    across, within = dataset.find()
    assert (across.code, across.severity) == ("duplicates-across-splits", "error")
    assert across.message == "2 images of valid are identical to an image of train."
    assert across.examples[0] == "train/a/00.jpg = valid/a/copy1.jpg"
    assert within.message == "1 image of valid is identical to another image of it."
    assert within.examples == ("valid/a/copy1.jpg = valid/a/copy2.jpg",)


def test_find_duplicates__identical_files_in_one_split(dataset: CheckedDataset) -> None:
    dataset.copy("train/a/00.jpg", *(f"train/a/copy{number}.jpg" for number in range(3)))
    finding = dataset.find_only()  # and not also as near duplicates
    assert (finding.code, finding.severity, finding.count) == ("duplicates-in-split", "warning", 3)


def test_find_duplicates__identical_files_in_two_classes(dataset: CheckedDataset) -> None:
    dataset.copy("train/a/00.jpg", "train/b/copy.jpg")
    classes, split = dataset.find()
    assert classes.code == "duplicates-across-classes"
    assert classes.message == "1 image is identical to an image of another class."
    assert split.code == "duplicates-in-split"


def test_find_duplicates__three_splits(dataset: CheckedDataset) -> None:
    (dataset.root / "test/a").mkdir(parents=True)
    dataset.copy("valid/a/10.jpg", "test/a/copy.jpg")
    findings = [finding for finding in dataset.find() if finding.code.startswith("dup")]
    assert [finding.message for finding in findings] == [
        "1 image of test is identical to an image of valid."
    ]


@pytest.mark.parametrize("change", ["compressed", "scaled", "brighter", "gray", "rotated"])
def test_find_duplicates__changed_image(dataset: CheckedDataset, change: str) -> None:
    image = draw_blots(0)
    options: dict[str, object] = {}
    if change == "compressed":
        options = {"quality": 30}
    elif change == "scaled":
        image = image.resize((80, 24))
    elif change == "brighter":
        image = image.point(lambda value: min(255, round(value * 1.1)))
    elif change == "gray":
        image = image.convert("L").convert("RGB")
    else:
        exif = Image.Exif()
        exif[0x0112] = 8
        options = {"exif": exif}
        image = image.transpose(Image.Transpose.ROTATE_270)
    dataset.add("valid/a/other.jpg", image, **options)
    finding = dataset.find_only()
    assert finding.code == "near-duplicates-across-splits"
    assert finding.message == "1 image of valid is nearly identical to an image of train."
    assert finding.examples[0].startswith("train/a/00.jpg and valid/a/other.jpg: ")


def draw_on_plain_water(number: int) -> Image.Image:
    """Return a plain image with a small boat that depends on the number."""
    image = Image.new("RGB", (160, 48), (90, 110, 100))
    image.paste((40, 30, 20), (10 + 40 * number, 20, 18 + 40 * number, 26))
    return image


def test_find_duplicates__plain_background(dataset: CheckedDataset) -> None:
    dataset.add("train/a/plain.png", draw_on_plain_water(0))
    dataset.add("valid/b/plain.png", draw_on_plain_water(2))
    classes, splits = dataset.find()
    assert (classes.code, classes.severity) == ("near-duplicates-across-classes", "warning")
    assert (splits.code, splits.severity) == ("near-duplicates-across-splits", "warning")
    assert splits.message == "1 image of valid looks like an image of train."
    assert splits.advice.startswith("Look at each pair: ")


def test_find_duplicates__nearly_identical_on_a_plain_background(dataset: CheckedDataset) -> None:
    dataset.add("train/a/plain.png", draw_on_plain_water(0), compress_level=1)
    dataset.add("valid/a/plain.png", draw_on_plain_water(0), compress_level=9)
    finding = dataset.find_only()
    assert (finding.code, finding.severity) == ("near-duplicates-across-splits", "error")


def test_find_duplicates__no_image_can_be_decoded(dataset: CheckedDataset) -> None:
    for path in dataset.root.rglob("*.jpg"):
        path.write_text(path.name)
    assert dataset.find_codes() == ["corrupt-photos"]


def test_find_duplicates__search_ends(
    dataset: CheckedDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(perceptual_hash, "MAX_PAIRS", 2)
    monkeypatch.setattr(duplicates, "MAX_PAIRS", 2)
    for number in range(4):
        dataset.add(f"train/a/near{number}.jpg", draw_blots(0), quality=70 + number)
    assert "The search ended at 2 pairs." in dataset.find_only().message


def test_compute_hash__different_images_differ_in_half_of_the_bits() -> None:
    first, second = (compute_hash(draw_blots(seed)) for seed in (0, 1))
    assert first.shape == (BITS,)
    assert abs(np.count_nonzero(first != second) - BITS / 2) < BITS / 6


def test_compute_hash__gradient() -> None:
    bits = compute_hash(Image.linear_gradient("L"))  # black at the top, white at the bottom
    assert not bits[: BITS // 2].any()
    assert bits[BITS // 2 :].all()


def test_find_near_pairs__equals_comparison_of_all_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perceptual_hash, "_BLOCK", 16)
    rng = np.random.default_rng(0)
    hashes = rng.random((100, BITS)) < 0.5
    contents = np.arange(100)
    for copy, changed in ((3, 0), (17, MAX_DISTANCE), (40, MAX_DISTANCE + 1), (99, 5), (98, 0)):
        hashes[copy] = hashes[1]
        hashes[copy, rng.choice(BITS, changed, replace=False)] ^= True
    contents[98] = contents[3]
    distances = np.count_nonzero(hashes[:, None] != hashes[None], axis=2)
    expected = {
        (i, j): distances[i, j]
        for i, j in zip(*np.triu_indices(100, 1), strict=True)
        if distances[i, j] <= MAX_DISTANCE and contents[i] != contents[j]
    }
    near, bits = find_near_pairs(hashes, contents)
    assert dict(zip(map(tuple, near.tolist()), bits.tolist(), strict=True)) == expected
    assert expected.keys() >= {(1, 3), (1, 17), (1, 98), (1, 99)}
    assert bits.tolist() == sorted(bits.tolist())
