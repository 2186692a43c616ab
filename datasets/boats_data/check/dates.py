"""Findings from dates in file names: groups that splits share, and images taken moments apart."""

import re
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import combinations

from boats_data.check.findings import Finding, make_finding
from boats_data.check.scan import ScannedImage
from boats_data.groups import match_groups
from boats_runtime.errors import UsageError

NEIGHBOR_SECONDS = 10.0
"""Images of one class taken within this time are assumed to show the same scene."""

_TIME = re.compile(r"^(\d{8}_\d{6})(?!\d)")


@dataclass(frozen=True)
class GroupCounts:
    """Number of images of each group in each split.

    Attributes:
        noun: `day`, or `group` if the user gave a pattern.
        counts: Number of images by split and group, without ungrouped images.
        ungrouped: Names of the images whose file name has no group.
    """

    noun: str
    counts: dict[str, Counter[str]]
    ungrouped: tuple[str, ...]


def count_groups(images: Sequence[ScannedImage], pattern: str | None) -> GroupCounts:
    """Count the images of each group that `match_groups` finds in their file names.

    Raises:
        UsageError: If the pattern is not a regular expression or matches no file name.
    """
    counts: dict[str, Counter[str]] = {image.split: Counter() for image in images}
    ungrouped = []
    groups = match_groups((image.file_name for image in images), pattern)
    for image, group in zip(images, groups, strict=True):
        if group is None:
            ungrouped.append(image.name)
        else:
            counts[image.split][group] += 1
    if pattern is not None and not any(counts.values()):
        raise UsageError(f"--groups {pattern}: matches no file name, for example {ungrouped[0]}")
    return GroupCounts("day" if pattern is None else "group", counts, tuple(ungrouped))


def find_shared_groups(groups: GroupCounts, images: Sequence[ScannedImage]) -> Iterator[Finding]:
    """Yield findings about groups in more than one split and about names without a group."""
    noun, counts = groups.noun, groups.counts
    sizes = Counter(image.split for image in images)
    for first, second in combinations(counts, 2):
        shared = sorted(counts[first].keys() & counts[second].keys())
        if not shared:
            continue
        count = sum(counts[second][group] for group in shared)
        yield make_finding(
            "shared-groups",
            "error",
            f"{count:,} of the {sizes[second]:,} images of {second} are of "
            f"{f'{len(shared):,} {noun}s' if len(shared) > 1 else f'a {noun}'} that {first} "
            "also contains.",
            f"Images of one {noun} look alike, so scores on {second} are too optimistic. Keep "
            f"all images of a {noun} in one split, or measure by cross-validation over {noun}s "
            "(boats-train --groups).",
            (
                f"{group}: {counts[first][group]:,} in {first}, {counts[second][group]:,} in "
                f"{second}"
                for group in shared
            ),
            count,
        )
    if groups.ungrouped and any(counts.values()):
        yield make_finding(
            "names-without-group",
            "warning",
            f"{len(groups.ungrouped):,} of {len(images):,} file names contain no {noun}.",
            f"Cross-validation over {noun}s needs a {noun} in every file name: rename them.",
            groups.ungrouped,
        )


def find_neighbors(images: Sequence[ScannedImage]) -> Iterator[Finding]:
    """Yield findings about images of one class taken moments apart but in different splits.

    The time is read from file names that start with `YYYYMMDD_HHMMSS`.
    """
    sizes = Counter(image.split for image in images)
    taken: dict[tuple[str, str], list[tuple[float, str]]] = defaultdict(list)
    for image in images:
        time = _read_time(image.file_name)
        if time is not None:
            taken[image.split, image.label].append((time, image.name))
    labels = {image.label for image in images}
    for first, second in combinations(sizes, 2):
        pairs = sorted(
            pair
            for label in labels
            for pair in _pair_nearest(taken[second, label], sorted(taken[first, label]))
            if pair[0] <= NEIGHBOR_SECONDS
        )
        if pairs:
            yield make_finding(
                "neighbouring-photos",
                "error",
                f"{len(pairs):,} of the {sizes[second]:,} images of {second} "
                f"{'was' if len(pairs) == 1 else 'were'} taken within "
                f"{NEIGHBOR_SECONDS:.0f} s of an image of the same class in {first}.",
                "They probably show the same scene. Keep all images of a scene in one split, "
                "for example by splitting by day.",
                (f"{name} and {nearest}: {gap:.0f} s apart" for gap, name, nearest in pairs),
            )


def _pair_nearest(
    images: list[tuple[float, str]], others: list[tuple[float, str]]
) -> Iterator[tuple[float, str, str]]:
    """Yield seconds apart, name and nearest other name for each image; `others` are sorted."""
    for time, name in images if others else ():
        index = bisect_left(others, (time, ""))
        gap, nearest = min(
            (abs(time - other_time), other)
            for other_time, other in others[max(index - 1, 0) : index + 1]
        )
        yield gap, name, nearest


def _read_time(file_name: str) -> float | None:
    match = _TIME.match(file_name)
    try:
        time = datetime.strptime(match[1] if match else "", "%Y%m%d_%H%M%S")
    except ValueError:
        return None
    return time.replace(tzinfo=UTC).timestamp()
