"""Shared parts of the commands: application, log, exit codes and checks for extras."""

import importlib.util
import io
import os
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import typer

from boats_runtime.cli.command import create_common_options
from boats_runtime.errors import BoatsError, OutputError, UsageError
from boats_runtime.installation import install_command
from boats_runtime.text import escape_text

INTERRUPTED = 130

ParserError: Any = typer.BadParameter.__base__
"""Error in the arguments of a command; Typer does not export it."""

Log = Callable[[str], None]
"""Function that prints one line about the progress of a command."""


def create_log(command: str, *, quiet: bool = False) -> Log:
    """Return a function that prints a line to stderr after the name of the command, or nothing."""

    def log(line: str) -> None:
        if quiet:
            return
        print(f"{command}: {escape_text(line)}", file=sys.stderr)  # noqa: T201

    return log


def print_lines(*lines: str) -> None:
    """Print lines to stdout, with escapes in place of control characters."""
    for line in lines:
        typer.echo(escape_text(line))


def create_app(command: str) -> typer.Typer:
    """Return a Typer application; variables such as `BOATS_TRAIN_SEED` set its options."""
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
    """Run a command and exit; print an error as one line on stderr.

    The exit code is that of a `BoatsError`, that of `OutputError` if reading or writing fails, 130
    after an interrupt, and 0 if the reader of a pipe closes it, such as `head`.
    """
    # SIGTERM, sent by process supervisors, interrupts a command like Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # Pillow also warns of damage that `decode` reports as an error of the image.
    warnings.filterwarnings("ignore", module="PIL")
    # File names can contain characters that the terminal's encoding lacks.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        main = typer.main.get_command(app)
        main.params += create_common_options()
        code = main(prog_name=command, standalone_mode=False)
    except BoatsError as error:
        _fail(command, str(error), error.exit_code)
    except ParserError as error:
        error.message = escape_text(error.message)
        error.show()
        sys.exit(error.exit_code)
    except SystemExit as stop:
        # Typer turns a closed pipe into SystemExit.
        if isinstance(stop.__context__, BrokenPipeError):
            sys.exit(0)
        raise
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _fail(command, f"{where}{error.strerror or error}", OutputError.exit_code)
    except MemoryError:
        _fail(command, "not enough memory", BoatsError.exit_code)
    except KeyboardInterrupt:
        _fail(command, "interrupted", INTERRUPTED)
    # Typer turns an interrupt into this exit code.
    if code == INTERRUPTED:
        _fail(command, "interrupted", INTERRUPTED)
    sys.exit(code or 0)


def set_passive_openmp() -> None:
    """Make idle OpenMP threads sleep; call it before PyTorch is imported.

    They spin by default, which slows down two trainings on the same cores many times over.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def require_extra(command: str, extra: str, modules: Sequence[str]) -> None:
    """Check that the modules of an extra are installed.

    Raises:
        UsageError: If a module is missing; the message has the command that installs the extra.
    """
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(
            f"{command} needs {', '.join(missing)}, not installed: {install_command(extra)}"
        )


def _fail(command: str, message: str, exit_code: int) -> NoReturn:
    create_log(command)(message)
    sys.exit(exit_code)
