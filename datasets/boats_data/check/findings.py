"""A finding: what is wrong with a picture set, and what to do about it."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

Severity = Literal["error", "warning"]

MAX_EXAMPLES = 1000
"""So many examples of a finding are kept for JSON; people are shown the first few."""


@dataclass(frozen=True)
class Finding:
    """What is wrong with a picture set, and what to do about it.

    Attributes:
        code: The kind of finding, for programs.
        severity: `error` when the training or its score can't be trusted, else `warning`.
        count: How many photos, files or classes are concerned.
        message: What was found, a finished sentence.
        advice: What to do, finished sentences.
        examples: Photos, pairs, classes or days concerned, the worst first, at most 1,000.
        more: How many examples there are beyond those.
    """

    code: str
    severity: Severity
    count: int
    message: str
    advice: str
    examples: tuple[str, ...]
    more: int = 0

    def to_json(self) -> dict[str, Any]:
        """Returns JSON values."""
        return {
            "code": self.code,
            "severity": self.severity,
            "count": self.count,
            "message": self.message,
            "advice": self.advice,
            "examples": list(self.examples),
            "more": self.more,
        }


def make_finding(
    code: str,
    severity: Severity,
    count: int,
    message: str,
    advice: str,
    examples: Iterable[str],
) -> Finding:
    """Makes a finding of which only the first examples are kept."""
    given = iter(examples)
    kept = tuple(islice(given, MAX_EXAMPLES))
    return Finding(code, severity, count, message, advice, kept, sum(1 for _ in given))
