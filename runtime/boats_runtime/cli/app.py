"""What the commands share: errors become one line and an exit code, missing extras are named."""

import gc
import importlib.util
import io
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

import typer

from boats_runtime.errors import BoatsError, OutputError, UsageError

INTERRUPTED = 130

Log = Callable[[str], None]
"""Takes one line about the progress of a command."""


def create_log(command: str) -> Log:
    """Return a function that prints a line to stderr after the name of the command."""

    def log(line: str) -> None:
        print(f"{command}: {line}", file=sys.stderr)  # noqa: T201

    return log


def create_app(command: str) -> typer.Typer:
    """Makes the Typer application of a command.

    Every option can also be given by an environment variable: `BOATS_TRAIN_SEED` is `--seed` of
    `boats-train`.
    """
    return typer.Typer(
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={
            "help_option_names": ["-h", "--help"],
            "auto_envvar_prefix": command.upper().replace("-", "_"),
        },
    )


def run_app(app: typer.Typer, command: str) -> NoReturn:
    """Runs a command to its exit code; the user's mistakes end in one line on stderr.

    A `BoatsError` exits with its own code, a failed read or write with that of `OutputError`, an
    interrupt with 130; a closed pipe ends quietly, as `head` expects.
    """
    # Asked to stop by a supervisor, a command cleans up as it does after Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # Pillow warns of what `decode` reports as the photo's own error.
    warnings.filterwarnings("ignore", module="PIL")
    # A file's name need not be text in the terminal's encoding.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        app(prog_name=command)
    except BoatsError as error:
        _fail(command, str(error), error.exit_code)
    except SystemExit as stop:
        # Typer has met a closed pipe and an interrupt before this function can.
        if isinstance(stop.__context__, BrokenPipeError):
            sys.exit(0)
        if stop.code == INTERRUPTED:
            _fail(command, "interrupted", INTERRUPTED)
        raise
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _fail(command, f"{where}{error.strerror or error}", OutputError.exit_code)
    except KeyboardInterrupt:
        _fail(command, "interrupted", INTERRUPTED)
    sys.exit(0)


def wait_passively() -> None:
    """Lets OpenMP's threads sleep while they wait; to be called before PyTorch is imported.

    They spin by default: two trainings on the same cores then hold each other up many times over.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@contextmanager
def pause_garbage_collection() -> Iterator[None]:
    """Holds the garbage collector back: imports make many objects and no garbage."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def require_extra(command: str, extra: str, modules: Sequence[str]) -> None:
    """Checks that an extra is installed.

    Raises:
        UsageError: A module of the extra can't be found; the message is the line to type.
    """
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(
            f"{command} needs {', '.join(missing)}, which this installation lacks: "
            f"pip install 'boats[{extra}]'"
        )


def _fail(command: str, message: str, exit_code: int) -> NoReturn:
    print(f"{command}: {message}", file=sys.stderr)  # noqa: T201
    sys.exit(exit_code)
