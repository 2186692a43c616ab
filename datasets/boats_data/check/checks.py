"""Check a dataset before training."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL.Image import getmodebase

from boats_data.check.dates import GroupCounts, count_groups, find_neighbors, find_shared_groups
from boats_data.check.duplicates import find_duplicates
from boats_data.check.findings import Finding, format_count, make_finding
from boats_data.check.scan import ScannedImage, list_images, scan_images
from boats_data.dataset import list_files, scan_dataset
from boats_data.shape_leakage import compute_quantity, find_shape_leaks

MIN_IMAGES = 5
"""Smallest number of images of a class in a split without a finding."""

MAX_IMBALANCE = 10.0
"""Ratio of the largest to the smallest class of `train` that is reported."""

MAX_ASPECT_RATIO = 1.5
"""Ratio of the largest to the smallest aspect ratio that is reported."""


@dataclass(frozen=True)
class Report:
    """Result of a check.

    Attributes:
        root: Folder of the dataset.
        splits: Names of its splits.
        images: Number of images, including those that cannot be decoded.
        classes: Number of images by class and split.
        formats: Number of decoded images by format, mode, width and height.
        groups: Number of images by day, or by the groups of `--groups`.
        findings: Problems, errors first.
    """

    root: Path
    splits: tuple[str, ...]
    images: int
    classes: dict[str, Counter[str]]
    formats: Counter[tuple[str, str, int, int]]
    groups: GroupCounts
    findings: tuple[Finding, ...]


def check_data(root: Path, pattern: str | None = None) -> Report:
    """Read every image of a dataset and look for problems that spoil training or its scores.

    Args:
        root: Folder of the dataset.
        pattern: Pattern for `match_groups`, for images that must not be in two splits.

    Raises:
        UsageError: If `pattern` is not a regular expression or matches no file name.
        DataError: If the folder does not exist or is not a dataset.
    """
    dataset = scan_dataset(root)
    # Before the images are decoded, so that a wrong pattern is reported at once.
    groups = count_groups(list_images(dataset), pattern)
    images = scan_images(dataset)
    splits = tuple(dataset.splits)
    classes = {
        label: Counter(image.split for image in images if image.label == label)
        for label in dataset.classes
    }
    findings = [
        *find_corrupt(images),
        *find_duplicates(images),
        *find_shared_groups(groups, images),
        *find_neighbors(images),
        *find_small_classes(classes, splits),
        *find_imbalance(classes),
        *find_mixed_images(images),
        *find_telling_shapes(images),
        *find_unused(root, splits, images),
    ]
    formats = Counter(
        (image.format, image.mode, image.width, image.height) for image in images if not image.error
    )
    findings.sort(key=lambda finding: finding.severity)
    return Report(root, splits, len(images), classes, formats, groups, tuple(findings))


def find_corrupt(images: Sequence[ScannedImage]) -> Iterator[Finding]:
    """Yield a finding about images that cannot be decoded."""
    corrupt = [f"{image.name}: {image.error}" for image in images if image.error]
    if corrupt:
        yield make_finding(
            "corrupt-photos",
            "error",
            f"{format_count(len(corrupt), 'image')} cannot be decoded.",
            "Replace or remove them: training skips them.",
            corrupt,
        )


def find_small_classes(
    classes: Mapping[str, Counter[str]], splits: Sequence[str]
) -> Iterator[Finding]:
    """Yield findings about classes with too few images in a split to train or evaluate them."""
    for split in splits:
        small = sorted(
            (counts[split], label)
            for label, counts in classes.items()
            if counts[split] < MIN_IMAGES
        )
        if small:
            yield make_finding(
                "small-classes",
                "warning",
                f"{format_count(len(small), 'class', 'classes')} of {split} "
                f"{'has' if len(small) == 1 else 'have'} fewer than {MIN_IMAGES} images.",
                "Collect more images of these classes, or remove the classes."
                if split == "train"
                else "A single error changes the score of such a class by 20 percentage points "
                "or more. Collect more images, or use the scores of cross-validation.",
                (f"{label}: {count or 'none'}" for count, label in small),
            )


def find_imbalance(classes: Mapping[str, Counter[str]]) -> Iterator[Finding]:
    """Yield a finding if some classes have many more training images than others."""
    ranked = sorted((counts["train"], label) for label, counts in classes.items())
    (smallest, smallest_label), (largest, largest_label) = ranked[0], ranked[-1]
    if largest >= MAX_IMBALANCE * smallest:
        yield make_finding(
            "imbalanced-classes",
            "warning",
            f"The largest class of train has {largest / smallest:.0f} times as many images as the "
            "smallest.",
            "Compare models by macro-F1, which weights all classes equally, instead of accuracy "
            "alone. Collect more images of the small classes.",
            (f"{largest_label}: {largest:,}", f"{smallest_label}: {smallest:,}"),
        )


def find_mixed_images(images: Sequence[ScannedImage]) -> Iterator[Finding]:
    """Yield findings about different aspect ratios, and about gray images among color images."""
    decoded = [image for image in images if not image.error]
    ratios = sorted((image.width / image.height, image.name) for image in decoded)
    if ratios and ratios[-1][0] >= MAX_ASPECT_RATIO * ratios[0][0]:
        (smallest, narrow), (largest, wide) = ratios[0], ratios[-1]
        yield make_finding(
            "mixed-shapes",
            "warning",
            f"The aspect ratio (width / height) ranges from {smallest:.2f} to {largest:.2f}, "
            "and training resizes every image to one shape.",
            "Crop or pad the images to one aspect ratio, and pass boats-train an --image-size "
            "with this ratio.",
            (f"{narrow}: {smallest:.2f}", f"{wide}: {largest:.2f}"),
            count=len(ratios),
        )
    gray = [
        f"{image.name}: mode {image.mode}" for image in decoded if getmodebase(image.mode) == "L"
    ]
    if 0 < len(gray) < len(decoded):
        yield make_finding(
            "mixed-colours",
            "warning",
            f"{len(gray):,} of {format_count(len(decoded), 'image')} "
            f"{'is' if len(gray) == 1 else 'are'} gray, the others are in color.",
            "Check that gray images occur in all classes and splits: otherwise the classifier "
            "learns to separate gray from color.",
            gray,
        )


def find_telling_shapes(images: Sequence[ScannedImage]) -> Iterator[Finding]:
    """Yield findings about shapes and resolutions that predict the class of training images."""
    train = [image for image in images if image.split == "train" and not image.error]
    if not train:
        return
    sizes = np.array([(image.height, image.width) for image in train], dtype=np.int64)
    labels = np.array([image.label for image in train])
    names, targets = np.unique(labels, return_inverse=True)
    for leak in find_shape_leaks(sizes, targets):
        values = compute_quantity(leak.quantity, sizes)
        medians = (f"{name}: median {np.median(values[labels == name]):.4g}" for name in names)
        yield make_finding(
            "shape-predicts-class", "warning", leak.message, leak.advice, medians, count=len(train)
        )


def find_unused(
    root: Path, splits: Sequence[str], images: Sequence[ScannedImage]
) -> Iterator[Finding]:
    """Yield a finding about files in the folders of the splits that training ignores."""
    used = {image.name for image in images}
    names = [f"{split}/{name}" for split in splits for name in list_files(root / split)]
    unused = [name for name in names if name not in used]
    if unused:
        yield make_finding(
            "unused-files",
            "warning",
            f"Training ignores {format_count(len(unused), 'file')} outside <split>/<class>/ or "
            "with an unknown suffix.",
            "Move or convert the files that are meant as training images, and remove the others.",
            unused,
        )
