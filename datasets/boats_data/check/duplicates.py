"""Findings about images that a dataset contains twice: identical files and nearly equal images."""

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from boats_data.check.findings import Finding, format_count, make_finding
from boats_data.check.perceptual_hash import (
    BITS,
    MAX_PAIRS,
    are_nearly_identical,
    find_near_pairs,
)
from boats_data.check.scan import ScannedImage

LOOK_ALIKE_ADVICE = (
    "Look at each pair: images with a plain background look alike without being the same."
)


def find_duplicates(images: Sequence[ScannedImage]) -> Iterator[Finding]:
    """Yield findings about equal images in two classes, in two splits or in one split.

    Identical files and nearly equal images are reported separately. Images that cannot be decoded
    are ignored.
    """
    decoded = [image for image in images if not image.error]
    if not decoded:
        return
    yield from _find_pairs(decoded, _pair_identical(decoded))
    hashes = np.stack([image.hash for image in decoded])
    contents = np.unique([image.digest for image in decoded], return_inverse=True)[1]
    pairs, distances = find_near_pairs(hashes, contents)
    is_same = are_nearly_identical(hashes, pairs)
    yield from _find_pairs(decoded, pairs[is_same], distances[is_same], searched=len(pairs))
    yield from _find_pairs(
        decoded, pairs[~is_same], distances[~is_same], searched=len(pairs), look_alike=True
    )


def _pair_identical(images: Sequence[ScannedImage]) -> NDArray[np.int64]:
    """Pair each file with the first identical file of each split."""
    first: dict[str, dict[str, int]] = {}
    pairs: list[tuple[int, int]] = []
    for index, image in enumerate(images):
        indices = first.setdefault(image.digest, {})
        pairs.extend((other, index) for other in indices.values())
        indices.setdefault(image.split, index)
    return np.asarray(pairs, dtype=np.int64).reshape(-1, 2)


def _find_pairs(
    images: Sequence[ScannedImage],
    pairs: NDArray[np.int64],
    distances: NDArray[np.int64] | None = None,
    *,
    searched: int = 0,
    look_alike: bool = False,
) -> Iterator[Finding]:
    """Yield findings about pairs of equal images; the second image of a pair is the redundant one.

    Args:
        images: Images that the pairs refer to.
        pairs: Indices `(P, 2) int64`, the smaller index first.
        distances: Number of differing bits `(P,) int64`; None for identical files.
        searched: Number of near pairs that the search found.
        look_alike: Whether the images only look alike, which is a warning.
    """
    code, adjective, note = "duplicates", "identical", ""
    if distances is not None:
        code, adjective = "near-duplicates", "nearly identical"
        if searched == MAX_PAIRS:
            note = f" The search ended at {MAX_PAIRS:,} pairs."

    def describe(pair: int) -> str:
        first, second = (images[index].name for index in pairs[pair])
        if distances is None:
            return f"{first} = {second}"
        return f"{first} and {second}: {distances[pair]} of {BITS} bits differ"

    for relation, mask, place, other, advice in _relate(images, pairs):
        if mask.any():
            count = len(np.unique(pairs[mask, 1]))
            verb = f"{'is' if count == 1 else 'are'} {adjective} to"
            if look_alike:
                verb = "looks like" if count == 1 else "look like"
            yield make_finding(
                f"{code}-{relation}",
                "warning" if look_alike or relation == "in-split" else "error",
                f"{format_count(count, 'image')}{place} {verb} {other}.{note}",
                LOOK_ALIKE_ADVICE if look_alike else advice,
                map(describe, np.flatnonzero(mask).tolist()),
                count,
            )


def _relate(
    images: Sequence[ScannedImage], pairs: NDArray[np.int64]
) -> Iterator[tuple[str, NDArray[np.bool_], str, str, str]]:
    """Yield last part of the code, mask of the pairs, place, other image and advice."""
    splits = np.array([image.split for image in images])[pairs]
    labels = np.array([image.label for image in images])[pairs]
    names = dict.fromkeys(image.split for image in images)
    advice = (
        "The labels contradict each other: look at each pair and keep the image of the right class."
    )
    mask = labels[:, 0] != labels[:, 1]
    yield "across-classes", mask, "", "an image of another class", advice
    for first, second in combinations(names, 2):
        advice = f"They make scores on {second} too optimistic: remove them from {second}."
        mask = (splits == (first, second)).all(axis=1)
        yield "across-splits", mask, f" of {second}", f"an image of {first}", advice
    for name in names:
        advice = "They add weight but no information: keep one image of each."
        mask = (splits == name).all(axis=1)
        yield "in-split", mask, f" of {name}", "another image of it", advice
