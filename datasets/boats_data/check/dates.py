"""What file names tell of the time: days that splits share, and photos taken moments apart."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import combinations

import numpy as np

from boats_data.check.findings import Finding, make_finding
from boats_data.check.scan import Photo
from boats_data.groups import DATE
from boats_runtime.errors import UsageError

NEIGHBOURS_S = 10.0
"""Photos of one class taken within this time show, for all one can tell, the same thing."""

_MOMENT = re.compile(r"^(\d{8})_(\d{6})(?!\d)")


@dataclass(frozen=True)
class Groups:
    """The photos by day, or by what else their names tell.

    Attributes:
        noun: `day`, or `group` where the user has said what to look for.
        counts: Photos of each split by group; those whose names tell none are left out.
        without: Names of those that are left out.
    """

    noun: str
    counts: dict[str, Counter[str]]
    without: tuple[str, ...]


def group_photos(photos: Iterable[Photo], pattern: str | None) -> Groups:
    """Reads each photo's group from its file name.

    Args:
        photos: The photos.
        pattern: Regular expression on the file name; its first group, or the whole match, is the
            photo's group. None looks for a leading date.

    Raises:
        UsageError: The pattern is not a regular expression, or matches no file name.
    """
    try:
        expression = re.compile(DATE if pattern is None else pattern)
    except re.error as error:
        raise UsageError(f"--groups {pattern}: not a regular expression: {error}") from error
    counts: dict[str, Counter[str]] = {}
    without = []
    for photo in photos:
        split = counts.setdefault(photo.split, Counter())
        match = expression.search(photo.file)
        if match is None:
            without.append(photo.name)
        else:
            split[match.group(1 if expression.groups else 0) or ""] += 1
    if pattern is not None and not any(counts.values()):
        raise UsageError(f"--groups {pattern}: matches no file name, such as {without[0]}")
    return Groups("day" if pattern is None else "group", counts, tuple(without))


def find_shared(groups: Groups, photos: Iterable[Photo]) -> list[Finding]:
    """Finds days, or other groups, that two splits share, and names that tell none among others.

    Args:
        groups: What `group_photos` made of the photos.
        photos: All photos.
    """
    noun, counts = groups.noun, groups.counts
    sizes = Counter(photo.split for photo in photos)
    findings = []
    for first, second in combinations(counts, 2):
        shared = sorted(counts[first].keys() & counts[second].keys())
        if not shared:
            continue
        inside = sum(counts[second][group] for group in shared)
        of = f"All {inside:,}" if inside == sizes[second] else f"{inside:,} of {sizes[second]:,}"
        which = f"{len(shared):,} {noun}s" if len(shared) > 1 else f"a {noun}"
        findings.append(
            make_finding(
                "shared-groups",
                "error",
                inside,
                f"{of} photos of {second} are of {which} that {first} has too.",
                f"What is of one {noun} looks alike, so scores on {second} flatter. Keep whole "
                f"{noun}s in one split, or judge by {noun}s left out: boats-train --groups.",
                (
                    f"{group}: {counts[first][group]:,} in {first}, {counts[second][group]:,} in "
                    f"{second}"
                    for group in shared
                ),
            )
        )
    if groups.without and any(counts.values()):
        findings.append(
            make_finding(
                "names-without-group",
                "warning",
                len(groups.without),
                f"The names of {len(groups.without):,} of {sum(sizes.values()):,} photos tell no "
                f"{noun}, those of the others do.",
                f"Training by {noun}s left out needs it of every photo: rename them.",
                groups.without,
            )
        )
    return findings


def find_neighbours(photos: Iterable[Photo]) -> list[Finding]:
    """Finds photos taken moments apart, of one class but in two splits.

    The names tell the time where they begin with `YYYYMMDD_HHMMSS`.
    """
    times: dict[str, dict[str, list[tuple[float, str]]]] = defaultdict(lambda: defaultdict(list))
    sizes: Counter[str] = Counter()
    for photo in photos:
        sizes[photo.split] += 1
        moment = _moment(photo.file)
        if moment is not None:
            times[photo.split][photo.label].append((moment, photo.name))
    findings = []
    for first, second in combinations(times, 2):
        pairs = sorted(
            pair
            for label, taken in times[second].items()
            for pair in _nearest(taken, sorted(times[first][label]))
            if pair[0] <= NEIGHBOURS_S
        )
        if pairs:
            findings.append(
                make_finding(
                    "neighbouring-photos",
                    "error",
                    len(pairs),
                    f"{len(pairs):,} of the {sizes[second]:,} photos of {second} "
                    f"{'was' if len(pairs) == 1 else 'were'} taken within "
                    f"{NEIGHBOURS_S:.0f} s of a photo of the same class in {first}.",
                    f"They likely show the same thing, which {first} has then taught already. Keep "
                    "photos of one scene in one split: split by whole days.",
                    (f"{name} and {near}: {gap:.0f} s apart" for gap, name, near in pairs),
                )
            )
    return findings


def _nearest(
    taken: list[tuple[float, str]], others: list[tuple[float, str]]
) -> list[tuple[float, str, str]]:
    """Returns for each photo the nearest other one in time: seconds apart, its name, the other."""
    if not others:
        return []
    moments = np.asarray([moment for moment, _ in others])
    nearest = []
    for moment, name in taken:
        index = int(np.searchsorted(moments, moment))
        around = others[max(index - 1, 0) : index + 1]
        gap, other = min((abs(moment - near), other) for near, other in around)
        nearest.append((gap, name, other))
    return nearest


def _moment(file: str) -> float | None:
    """Returns when a photo was taken in seconds, as its name tells."""
    found = _MOMENT.match(file)
    if found is None:
        return None
    try:
        return (
            datetime.strptime(found[1] + found[2], "%Y%m%d%H%M%S").replace(tzinfo=UTC).timestamp()
        )
    except ValueError:
        return None
