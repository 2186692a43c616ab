"""Start the project's commands and helper modules in child processes."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest

BIN = Path(sys.executable).parent
TESTS = Path(__file__).parents[1]


@dataclass(frozen=True)
class CommandResult:
    """Exit code and output of a finished command.

    Attributes:
        folder: Working directory of the command.
        returncode: Exit code.
        stdout: Standard output.
        stderr: Standard error.
    """

    folder: Path
    returncode: int
    stdout: str
    stderr: str

    def files(self) -> dict[str, int]:
        """Return the sizes in bytes of the files in the folder, by name."""
        return {path.name: path.stat().st_size for path in self.folder.iterdir() if path.is_file()}


def run_command(
    name: str,
    *arguments: object,
    cwd: Path,
    env: dict[str, str] | None = None,
    file_size_limit: int = 0,
    interrupt_at: str = "",
) -> CommandResult:
    """Run one of the project's commands to its end.

    Args:
        name: Name of the command, such as `boats-predict`.
        arguments: Command-line arguments.
        cwd: Working directory; created if missing.
        env: Variables added to the environment, which has no `BOATS_*` variables otherwise.
        file_size_limit: Largest file that the command can write, in bytes; 0 for no limit.
        interrupt_at: Text on standard error at which the command receives Ctrl-C.
    """
    cwd.mkdir(exist_ok=True)
    command = [str(BIN / name), *map(str, arguments)]
    if file_size_limit or interrupt_at:
        launcher = Path(__file__).with_name("launcher.py")
        command = [sys.executable, str(launcher), str(file_size_limit), *command]
    stderr = ""
    with subprocess.Popen(
        command,
        cwd=cwd,
        env=clean_environment() | (env or {}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    ) as process:
        if not interrupt_at:
            stdout, stderr = process.communicate()
        else:
            assert process.stdout
            assert process.stderr
            for line in process.stderr:
                stderr += line
                if interrupt_at in line:
                    process.send_signal(signal.SIGINT)
            stdout = process.stdout.read()
    return CommandResult(cwd, process.returncode, stdout, stderr)


def main_runner(
    monkeypatch: pytest.MonkeyPatch, main: Callable[[], NoReturn], name: str
) -> Callable[..., object]:
    """Return a function that runs a command in this process and returns its exit code.

    The `BOATS_*` variables set so far are removed; the test can set others.

    Args:
        monkeypatch: Fixture of the test.
        main: Entry point of the command.
        name: Name of the command.
    """
    for variable in [key for key in os.environ if key.startswith("BOATS_")]:
        monkeypatch.delenv(variable)

    def run(*arguments: object) -> object:
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        return stop.value.code or 0

    return run


def module_command(module: str, *arguments: object) -> list[str]:
    """Return the command line that runs a module of `support` as a program."""
    path = TESTS.joinpath(*module.split(".")).with_suffix(".py")
    return [sys.executable, str(path), *map(str, arguments)]


def run_module(
    module: str,
    *arguments: object,
    cwd: Path | None = None,
    env: dict[str, str] | None = None,
    check: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Run a module of `support`, such as `support.list_modules`, as a program.

    Args:
        module: Dotted name.
        arguments: Command-line arguments.
        cwd: Working directory.
        env: Variables added to the environment.
        check: Whether a failure raises `subprocess.CalledProcessError`.
    """
    return subprocess.run(
        module_command(module, *arguments),
        cwd=cwd,
        env=clean_environment() | {"PYTHONPATH": str(TESTS)} | (env or {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        check=check,
    )


def clean_environment() -> dict[str, str]:
    """Return the environment without `BOATS_*` variables and those that boats sets itself."""
    return {
        key: value
        for key, value in os.environ.items()
        if not key.startswith("BOATS_") and key != "ORT_DISABLE_TELEMETRY"
    }
