"""Errors of the project: each has a finished message and the exit code of the commands."""

from typing import ClassVar


class BoatsError(Exception):
    """Base class of all errors that the user can fix: the message says what, where and what to do.

    Attributes:
        exit_code: Exit code of a command that the error ends.
    """

    exit_code: ClassVar[int] = 3


class UsageError(BoatsError):
    """The command or function is used wrongly, or the extra that it needs is not installed."""

    exit_code = 2


class ImageError(BoatsError):
    """One image cannot be used; the others can."""

    exit_code = 1


class DataError(BoatsError):
    """The dataset cannot be used."""


class RunError(BoatsError):
    """A run folder cannot be read."""


class ModelError(BoatsError):
    """A model file cannot be used."""


class OutputError(BoatsError):
    """A result cannot be written."""


class ProviderError(BoatsError):
    """The requested execution provider is not available or cannot run the model."""

    exit_code = 4


class CheckError(BoatsError):
    """A result fails a check of parity or accuracy."""

    exit_code = 5


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message; the name of its type if it has no message."""
    lines = (line.strip() for line in str(error).splitlines())
    return next(filter(None, lines), type(error).__name__)
