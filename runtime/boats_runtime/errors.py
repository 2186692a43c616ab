"""The project's errors: each carries a finished message and the exit code of the commands."""

from typing import ClassVar


class BoatsError(Exception):
    """Base of every error that is the user's to mend: says what, where and what to do."""

    exit_code: ClassVar[int] = 3


class UsageError(BoatsError):
    """The command was called wrongly, or without the extra it needs."""

    exit_code = 2


class ImageError(BoatsError):
    """One photo can't be used; the others still can."""

    exit_code = 1


class DataError(BoatsError):
    """The training data can't be used."""


class RunError(BoatsError):
    """A run folder can't be read."""


class ModelError(BoatsError):
    """A model file can't be used."""


class OutputError(BoatsError):
    """What was made could not be written."""


class ProviderError(BoatsError):
    """The execution provider asked for is not there, or is not the one at work."""

    exit_code = 4


class CheckError(BoatsError):
    """A check refused the result: parity or accuracy."""

    exit_code = 5


def first_line(error: Exception) -> str:
    """Returns the first line of a library's message; the error's kind where it has none."""
    return next(iter(str(error).splitlines()), type(error).__name__)
