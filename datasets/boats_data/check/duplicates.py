"""Photos that are in a picture set twice: byte for byte, or nearly the same."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from boats_data.check.findings import Finding, Severity, make_finding
from boats_data.check.perceptual_hash import BITS, MAX_PAIRS, find_near
from boats_data.check.scan import Photo


@dataclass(frozen=True)
class _Kind:
    """How the findings about one kind of duplicates are worded."""

    code: str
    are: str
    between: str


_EXACT = _Kind("duplicates", "byte for byte", "{0} = {1}")
_NEAR = _Kind("near-duplicates", "nearly", "{0} and {1}: {2} of " + f"{BITS} bits differ")


@dataclass(frozen=True)
class _Pairs:
    """Pairs of photos that are the same; the photo that comes later is the one to leave out.

    Attributes:
        kind: What "the same" means.
        photos: The photos that the pairs are of.
        indices: `(P, 2) int64`, the smaller one first.
        bits: In how many bits the fingerprints differ `(P,) int64`.
    """

    kind: _Kind
    photos: Sequence[Photo]
    indices: NDArray[np.int64]
    bits: NDArray[np.int64]


def find_duplicates(photos: Sequence[Photo]) -> list[Finding]:
    """Finds photos that are there twice: in two classes, in two splits, or in one split.

    Files of the same bytes are told apart from photos that are nearly the same; those that can't be
    decoded don't count.
    """
    decoded = [photo for photo in photos if photo.image is not None]
    if not decoded:
        return []
    exact = np.asarray(_exact_pairs(decoded), dtype=np.int64).reshape(-1, 2)
    findings = _relate(_Pairs(_EXACT, decoded, exact, np.zeros(len(exact), np.int64)))
    contents = np.unique([photo.digest for photo in decoded], return_inverse=True)[1]
    near = find_near(
        np.stack([photo.image.fingerprint for photo in decoded if photo.image is not None]),
        contents.astype(np.int64),
    )
    more = "" if near.complete else f" The search ended at {MAX_PAIRS:,} pairs: there are more."
    findings.extend(_relate(_Pairs(_NEAR, decoded, near.pairs, near.bits), more))
    return findings


def _exact_pairs(photos: Sequence[Photo]) -> list[tuple[int, int]]:
    """Pairs each file with the first one of the same bytes in each split."""
    first: dict[str, dict[str, int]] = {}
    pairs: list[tuple[int, int]] = []
    for index, photo in enumerate(photos):
        seen = first.setdefault(photo.digest, {})
        pairs.extend((other, index) for other in seen.values())
        seen.setdefault(photo.split, index)
    return pairs


def _relate(pairs: _Pairs, more: str = "") -> list[Finding]:
    """Sorts the pairs by what they spoil; `more` ends each message."""
    photos = pairs.photos
    names = list(dict.fromkeys(photo.split for photo in photos))
    split = np.asarray([names.index(photo.split) for photo in photos], np.int64)[pairs.indices]
    labels = sorted({photo.label for photo in photos})
    label = np.asarray([labels.index(photo.label) for photo in photos], np.int64)[pairs.indices]
    found = _find(
        pairs,
        label[:, 0] != label[:, 1],
        "across-classes",
        ("", "one of another class"),
        "A classifier can't learn both. Look at each pair, and keep the right class's.",
        more,
    )
    for (i, first), (j, second) in combinations(enumerate(names), 2):
        found += _find(
            pairs,
            (split[:, 0] == i) & (split[:, 1] == j),
            "across-splits",
            (f" of {second}", f"one of {first}"),
            f"What {first} has taught, {second} can't judge: remove them from {second}.",
            more,
        )
    for i, name in enumerate(names):
        found += _find(
            pairs,
            (split == i).all(axis=1),
            "in-split",
            (f" of {name}", "another of it"),
            "They add weight but nothing new: keep one of each.",
            more,
        )
    return found


def _find(
    pairs: _Pairs,
    chosen: NDArray[np.bool_],
    relation: str,
    words: tuple[str, str],
    advice: str,
    more: str,
) -> list[Finding]:
    if not chosen.any():
        return []
    count = len(np.unique(pairs.indices[chosen, 1]))
    are = "photo{} is" if count == 1 else "photos{} are"
    kind = pairs.kind
    message = f"{count:,} {are.format(words[0])} {kind.are} the same as {words[1]}.{more}"
    chosen_pairs = zip(pairs.indices[chosen].tolist(), pairs.bits[chosen].tolist(), strict=True)
    examples = (
        kind.between.format(pairs.photos[first].name, pairs.photos[second].name, bits)
        for (first, second), bits in chosen_pairs
    )
    severity: Severity = "warning" if relation == "in-split" else "error"
    return [make_finding(f"{kind.code}-{relation}", severity, count, message, advice, examples)]
