"""Checks a picture set before it is trained on."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from boats_data.check.dates import Groups, find_neighbours, find_shared, group_photos
from boats_data.check.duplicates import find_duplicates
from boats_data.check.findings import Finding, make_finding
from boats_data.check.scan import Photo, find_ignored, name_photos, survey_photos
from boats_data.dataset import Dataset, scan_dataset
from boats_runtime.errors import DataError

SMALL_CLASS = 5
"""A class with fewer photos in a split is small."""

IMBALANCE = 10.0
"""A largest class with this many times the photos of the smallest is worth a word."""

SHAPES = 1.5
"""Photos whose ratios of width to height differ by this factor are of different shapes."""

_GREY = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L"})


@dataclass(frozen=True)
class Report:
    """What a check found.

    Attributes:
        root: The picture set's folder.
        splits: Names of its splits.
        photos: Photos in all, corrupt ones too.
        classes: Photos of each class, by split.
        kinds: Photos by format, mode, width and height; those that can be decoded.
        groups: The photos by day, or by what else `--groups` finds in their names.
        findings: What is wrong, errors first.
    """

    root: Path
    splits: tuple[str, ...]
    photos: int
    classes: dict[str, Counter[str]]
    kinds: Counter[tuple[str, str, int, int]]
    groups: Groups
    findings: tuple[Finding, ...]


def check_data(root: Path, pattern: str | None = None) -> Report:
    """Reads every photo of a picture set and looks for what would spoil a training or its score.

    Args:
        root: The picture set's folder.
        pattern: Regular expression that finds in a file's name what should not be in two splits;
            its first group, or the whole match. None looks for a leading date.

    Raises:
        UsageError: `pattern` is no regular expression, or matches no file name.
        DataError: The folder is missing or is no picture set.
    """
    if not root.is_dir():
        raise DataError(
            f"{root}: no such folder; name one with train/<class>/*.jpg and valid/<class>/*.jpg"
        )
    dataset = scan_dataset(root)
    # The names are read first: a mistyped expression is told before all photos have been decoded.
    group_photos(name_photos(dataset), pattern)
    photos = survey_photos(dataset)
    groups = group_photos(photos, pattern)
    classes = _count_classes(dataset, photos)
    findings = [
        *find_corrupt(photos),
        *find_duplicates(photos),
        *find_shared(groups, photos),
        *find_neighbours(photos),
        *find_small_classes(classes, tuple(dataset.splits)),
        *find_imbalance(classes),
        *find_mixed_images(photos),
        *find_unused(find_ignored(dataset)),
    ]
    return Report(
        root,
        tuple(dataset.splits),
        len(photos),
        classes,
        Counter(
            (photo.image.format, photo.image.mode, photo.image.width, photo.image.height)
            for photo in photos
            if photo.image
        ),
        groups,
        tuple(sorted(findings, key=lambda finding: finding.severity)),
    )


def find_corrupt(photos: Sequence[Photo]) -> list[Finding]:
    """Finds the photos that can't be decoded."""
    corrupt = [f"{photo.name}: {photo.error}" for photo in photos if photo.error]
    if not corrupt:
        return []
    return [
        make_finding(
            "corrupt-photos",
            "error",
            len(corrupt),
            f"{_count(len(corrupt), 'photo')} can't be decoded.",
            "Replace or remove them: training skips them.",
            corrupt,
        )
    ]


def find_small_classes(classes: dict[str, Counter[str]], splits: tuple[str, ...]) -> list[Finding]:
    """Finds the classes that have too few photos in a split to learn or to judge them."""
    advice = {
        "train": "Collect more photos of them, or leave these classes out.",
        "valid": "Their scores rest on a few photos: one more wrong moves them by 20 points or "
        "more. Collect more, or judge by photos left out in turn.",
    }
    findings = []
    for split in splits:
        small = sorted(
            (counts[split], label)
            for label, counts in classes.items()
            if counts[split] < SMALL_CLASS
        )
        if small:
            findings.append(
                make_finding(
                    "small-classes",
                    "warning",
                    len(small),
                    f"{_count(len(small), 'class', 'classes')} of {split} "
                    f"{'has' if len(small) == 1 else 'have'} fewer than {SMALL_CLASS} photos.",
                    advice.get(split, advice["valid"]),
                    (f"{label}: {photos or 'none'}" for photos, label in small),
                )
            )
    return findings


def find_imbalance(classes: dict[str, Counter[str]]) -> list[Finding]:
    """Finds out whether some classes have many more photos to learn from than others."""
    ranked = sorted((counts["train"], label) for label, counts in classes.items())
    (few, smallest), (many, largest) = ranked[0], ranked[-1]
    if many < IMBALANCE * few:
        return []
    return [
        make_finding(
            "imbalanced-classes",
            "warning",
            2,
            f"The largest class of train has {many / few:.0f} times the photos of the smallest.",
            "Judge by macro-F1, which counts every class alike, and not by accuracy alone; collect "
            "more of the small classes.",
            (f"{largest}: {many:,}", f"{smallest}: {few:,}"),
        )
    ]


def find_mixed_images(photos: Sequence[Photo]) -> list[Finding]:
    """Finds photos of different shapes, and grey photos among ones in colour."""
    images = [(photo, photo.image) for photo in photos if photo.image]
    findings = []
    shapes = sorted((image.width / image.height, photo.name) for photo, image in images)
    if shapes and shapes[-1][0] >= SHAPES * shapes[0][0]:
        (narrow, first), (wide, last) = shapes[0], shapes[-1]
        findings.append(
            make_finding(
                "mixed-shapes",
                "warning",
                len(shapes),
                f"Width to height goes from {narrow:.2f} to {wide:.2f}, and training stretches "
                "every photo to one shape.",
                "Crop or pad them to one shape, and give boats-train an --image-size like it.",
                (f"{first}: {narrow:.2f}", f"{last}: {wide:.2f}"),
            )
        )
    grey = [f"{photo.name}: mode {image.mode}" for photo, image in images if image.mode in _GREY]
    if 0 < len(grey) < len(images):
        findings.append(
            make_finding(
                "mixed-colours",
                "warning",
                len(grey),
                f"{_count(len(grey), 'photo')} of {len(images):,} are grey, the others in colour.",
                "Check that they are not of certain classes or splits only: the classifier would "
                "learn the colour.",
                grey,
            )
        )
    return findings


def find_unused(ignored: Sequence[str]) -> list[Finding]:
    """Makes a finding of the files that training passes over."""
    if not ignored:
        return []
    return [
        make_finding(
            "unused-files",
            "warning",
            len(ignored),
            f"{_count(len(ignored), 'file')} that training passes over: not in "
            "<split>/<class>/, or not photos by name.",
            "Move or convert those that are meant to be photos, and remove the others.",
            ignored,
        )
    ]


def _count_classes(dataset: Dataset, photos: Sequence[Photo]) -> dict[str, Counter[str]]:
    classes: dict[str, Counter[str]] = {label: Counter() for label in dataset.classes}
    for photo in photos:
        classes[photo.label][photo.split] += 1
    return classes


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"
