"""Groups of images, read from file names: images of one day, camera or patient."""

import re
from collections.abc import Sequence
from pathlib import Path

from boats_runtime.errors import UsageError

DATE = r"^(\d{8})_"
"""Default of `--groups`: a leading date like `20130304_`."""


def find_groups(paths: Sequence[Path], pattern: str | None) -> list[str] | None:
    """Reads each photo's group from its file name.

    Returns:
        The groups in the photos' order; None when no pattern was given and not every name has a
        date.

    Raises:
        UsageError: The pattern is not a regular expression, or does not match every file name.
    """
    try:
        expression = re.compile(DATE if pattern is None else pattern)
    except re.error as error:
        raise UsageError(f"--groups {pattern}: not a regular expression: {error}") from error
    groups = []
    for path in paths:
        match = expression.search(path.name)
        if match is None:
            if pattern is None:
                return None
            raise UsageError(f"--groups {pattern}: does not match {path}")
        groups.append(match.group(1 if expression.groups else 0) or "")
    return groups
