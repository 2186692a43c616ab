"""Findings about images that a dataset contains twice: identical files and nearly equal images."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from boats_data.check.findings import Finding, Severity, format_count, make_finding
from boats_data.check.perceptual_hash import BITS, MAX_PAIRS, find_near_pairs
from boats_data.check.scan import ScannedImage


@dataclass(frozen=True)
class _Pairs:
    """Pairs of equal images. The second image of a pair is the redundant one.

    Attributes:
        code: First part of the codes of the findings.
        adjective: Adjective for the messages.
        images: Images that the indices refer to.
        indices: `(P, 2) int64`, the smaller index first.
        distances: Number of differing bits `(P,) int64`; None for identical files.
        note: Text appended to the messages.
    """

    code: str
    adjective: str
    images: Sequence[ScannedImage]
    indices: NDArray[np.int64]
    distances: NDArray[np.int64] | None = None
    note: str = ""

    def describe(self, pair: int) -> str:
        first, second = (self.images[index].name for index in self.indices[pair])
        if self.distances is None:
            return f"{first} = {second}"
        return f"{first} and {second}: {self.distances[pair]} of {BITS} bits differ"


def find_duplicates(images: Sequence[ScannedImage]) -> list[Finding]:
    """Return findings about equal images in two classes, in two splits or in one split.

    Identical files and nearly equal images are reported separately. Images that cannot be decoded
    are ignored.
    """
    decoded = [image for image in images if image.properties]
    if not decoded:
        return []
    hashes = np.stack([image.properties.hash for image in decoded if image.properties])
    contents = np.unique([image.digest for image in decoded], return_inverse=True)[1]
    near = find_near_pairs(hashes, contents.astype(np.int64))
    note = "" if near.complete else f" The search ended at {MAX_PAIRS:,} pairs; there are more."
    return [
        *_find(_Pairs("duplicates", "identical", decoded, _pair_identical(decoded))),
        *_find(
            _Pairs(
                "near-duplicates", "nearly identical", decoded, near.indices, near.distances, note
            )
        ),
    ]


def _pair_identical(images: Sequence[ScannedImage]) -> NDArray[np.int64]:
    """Pair each file with the first identical file of each split."""
    first: dict[str, dict[str, int]] = {}
    pairs: list[tuple[int, int]] = []
    for index, image in enumerate(images):
        indices = first.setdefault(image.digest, {})
        pairs.extend((other, index) for other in indices.values())
        indices.setdefault(image.split, index)
    return np.asarray(pairs, dtype=np.int64).reshape(-1, 2)


def _find(pairs: _Pairs) -> Iterator[Finding]:
    splits = np.array([image.split for image in pairs.images])[pairs.indices]
    labels = np.array([image.label for image in pairs.images])[pairs.indices]
    names = dict.fromkeys(image.split for image in pairs.images)
    yield from _make_finding(
        pairs,
        labels[:, 0] != labels[:, 1],
        "across-classes",
        ("", "an image of another class"),
        "The labels contradict each other: look at each pair and keep the image of the right "
        "class.",
    )
    for first, second in combinations(names, 2):
        yield from _make_finding(
            pairs,
            (splits[:, 0] == first) & (splits[:, 1] == second),
            "across-splits",
            (f" of {second}", f"an image of {first}"),
            f"They make scores on {second} too optimistic: remove them from {second}.",
        )
    for name in names:
        yield from _make_finding(
            pairs,
            (splits == name).all(axis=1),
            "in-split",
            (f" of {name}", "another image of it"),
            "They add weight but no information: keep one image of each.",
        )


def _make_finding(
    pairs: _Pairs,
    mask: NDArray[np.bool_],
    relation: str,
    nouns: tuple[str, str],
    advice: str,
) -> Iterator[Finding]:
    if not mask.any():
        return
    count = len(np.unique(pairs.indices[mask, 1]))
    verb = "is" if count == 1 else "are"
    message = (
        f"{format_count(count, 'image')}{nouns[0]} {verb} {pairs.adjective} to {nouns[1]}."
        f"{pairs.note}"
    )
    severity: Severity = "warning" if relation == "in-split" else "error"
    examples = map(pairs.describe, np.flatnonzero(mask).tolist())
    yield make_finding(f"{pairs.code}-{relation}", severity, count, message, advice, examples)
