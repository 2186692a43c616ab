"""Groups of images that belong together, read from file names: images of one day or one camera."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from boats_runtime.errors import UsageError

DATE = r"^(\d{8})_"
"""Default of `--groups`: a leading date such as `20130304_`."""


def match_groups(names: Iterable[str], pattern: str | None) -> list[str | None]:
    """Return the group of each image, or None where the pattern does not match.

    Args:
        names: File names without folders.
        pattern: Regular expression searched in each name; its first capture group, or the whole
            match, is the group. None stands for `DATE`.

    Raises:
        UsageError: If the pattern is not a regular expression.
    """
    try:
        expression = re.compile(DATE if pattern is None else pattern)
    except re.error as error:
        raise UsageError(f"--groups {pattern}: not a regular expression: {error}") from error
    matches = (expression.search(name) for name in names)
    return [match and (match[1 if expression.groups else 0] or "") for match in matches]


def find_groups(paths: Sequence[Path], pattern: str | None) -> list[str] | None:
    """Return the group of each image, or None if there is no pattern and a name has no date.

    Raises:
        UsageError: If the pattern is not a regular expression or does not match every file name.
    """
    matches = match_groups((path.name for path in paths), pattern)
    groups = [group for group in matches if group is not None]
    if len(groups) == len(paths):
        return groups
    if pattern is None:
        return None
    raise UsageError(f"--groups {pattern}: does not match {paths[matches.index(None)]}")
