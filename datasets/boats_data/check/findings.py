"""Problems found in a dataset, with advice."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Literal

Severity = Literal["error", "warning"]

MAX_EXAMPLES = 1000
"""Largest number of examples that a finding keeps."""


@dataclass(frozen=True)
class Finding:
    """A problem of a dataset. The attributes are the keys of the JSON report.

    Attributes:
        code: Kind of finding, for programs.
        severity: `error` if the training or its scores cannot be trusted, else `warning`.
        count: Number of images, files or classes concerned.
        message: Problem, in complete sentences.
        advice: What to do, in complete sentences.
        examples: Images, pairs, classes or groups concerned, worst first, at most `MAX_EXAMPLES`.
        more: Number of further examples.
    """

    code: str
    severity: Severity
    count: int
    message: str
    advice: str
    examples: tuple[str, ...]
    more: int = 0


def make_finding(
    code: str,
    severity: Severity,
    message: str,
    advice: str,
    examples: Iterable[str],
    count: int | None = None,
) -> Finding:
    """Return a finding that keeps the first examples; its count is by default their number."""
    remaining = iter(examples)
    first = tuple(islice(remaining, MAX_EXAMPLES))
    more = sum(1 for _ in remaining)
    return Finding(
        code, severity, len(first) + more if count is None else count, message, advice, first, more
    )


def format_count(number: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun, such as `1 image` or `2,000 images`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
