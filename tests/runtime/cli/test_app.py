import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from boats_runtime import errors
from boats_runtime.cli.app import create_app, print_lines, require_extra, run_app
from boats_runtime.installation import install_command
from support.hostile_names import find_control
from support.process import module_command

EXIT_CODES = {
    "BoatsError": 3,
    "UsageError": 2,
    "ImageError": 1,
    "DataError": 3,
    "RunError": 3,
    "ModelError": 3,
    "OutputError": 3,
    "ProviderError": 4,
    "CheckError": 5,
}


def make_app(error: BaseException | None = None) -> typer.Typer:
    """Return a command with one option that raises the error or prints the option."""
    app = create_app("boats-test")

    @app.command()
    def print_size(size: int = 3) -> None:
        if error is not None:
            raise error
        typer.echo(f"size {size}")

    return app


def run(app: typer.Typer, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int | str | None:
    """Run a command in this process and return its exit code."""
    monkeypatch.setattr(sys, "argv", ["boats-test", *arguments])
    with pytest.raises(SystemExit) as caught:
        run_app(app, "boats-test")
    return caught.value.code


def start(behavior: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        module_command("support.launcher", 0, *module_command("support.sample_command", behavior)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="latin-1",  # decodes any bytes
    )


# --- run_app


def test_run_app__each_error_has_an_exit_code() -> None:
    classes = {
        name: kind.exit_code
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, errors.BoatsError)
    }
    assert classes == EXIT_CODES


@pytest.mark.parametrize(
    ("error", "line", "code"),
    [
        (errors.ImageError("a.jpg: is empty"), "a.jpg: is empty", 1),
        (errors.CheckError("labels differ"), "labels differ", 5),
        (FileNotFoundError(2, "No such file", "a/b.onnx"), "a/b.onnx: No such file", 3),
        (OSError(28, "No space left on device"), "No space left on device", 3),
        (OSError("cannot write mode F as JPEG"), "cannot write mode F as JPEG", 3),
        (MemoryError(), "not enough memory", 3),
        (KeyboardInterrupt(), "interrupted", 130),
    ],
    ids=repr,
)
def test_run_app__error_is_one_line(
    error: BaseException,
    line: str,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(make_app(error), monkeypatch) == code
    output = capsys.readouterr()
    assert (output.out.strip(), output.err.strip()) == ("", f"boats-test: {line}")


HOSTILE = "a\nb\x1b[2J\u202e\x85\udcff"


@pytest.mark.parametrize(
    ("error", "arguments"),
    [
        (errors.ModelError(f"{HOSTILE}: is empty"), ()),
        (FileNotFoundError(2, "No such file", HOSTILE), ()),
        (None, ("--size", HOSTILE)),
        (None, (HOSTILE,)),
        (None, (f"--{HOSTILE}",)),
    ],
)
def test_run_app__control_characters_are_escaped(
    error: Exception | None,
    arguments: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(make_app(error), monkeypatch, *arguments)
    output = capsys.readouterr()
    assert output.out == ""
    assert find_control(output.err) == ""
    assert "x0ab" in output.err.splitlines()[-1] or r"a\nb" in output.err.splitlines()[-1]


def test_print_lines__control_characters_are_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    print_lines("topa", HOSTILE)
    assert capsys.readouterr().out == "topa\na\\x0ab\\x1b[2J\\u202e\\u0085\\xff\n"


def test_run_app__exit_code_of_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(make_app(typer.Exit(7)), monkeypatch) == 7


@pytest.mark.parametrize("arguments", [["--siez", "4"], ["--size", "big"], ["more"]])
def test_run_app__mistyped_arguments(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(make_app(), monkeypatch, *arguments) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert arguments[0] in output.err
    assert "boats-test --help" in output.err or "boats-test -h" in output.err


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_run_app__help_names_the_environment_variable(
    flag: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(make_app(), monkeypatch, flag) == 0
    assert "BOATS_TEST_SIZE" in capsys.readouterr().out


def test_run_app__option_overrides_environment_variable(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(make_app(), monkeypatch) == 0
    monkeypatch.setenv("BOATS_TEST_SIZE", "5")
    assert run(make_app(), monkeypatch) == 0
    assert run(make_app(), monkeypatch, "--size", "6") == 0
    assert capsys.readouterr() == ("size 3\nsize 5\nsize 6\n", "")


def test_run_app__defect_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["boats-test"])
    with pytest.raises(ZeroDivisionError):
        run_app(make_app(ZeroDivisionError()), "boats-test")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no SIGINT to one process")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_run_app__interrupt(number: signal.Signals) -> None:
    process = start("sleep")
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    assert process.communicate() == ("", "boats-test: interrupted\n")
    assert process.returncode == 130


def test_run_app__closed_pipe_is_quiet() -> None:
    process = start("endless")
    assert process.stdout.readline() == "line\n"
    process.stdout.close()
    with process.stderr:
        assert process.stderr.read() == ""
    assert process.wait() == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_run_app__full_disk() -> None:
    with Path("/dev/full").open("w") as full:
        command = module_command("support.sample_command", "quick")
        result = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert result.returncode == 3
    assert result.stderr == "boats-test: No space left on device\n"


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "cp1252"])
def test_run_app__text_that_the_terminal_cannot_show(
    encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", f"{encoding}:strict")
    process = start("undecodable")
    stdout, stderr = process.communicate()
    assert (process.returncode, stderr) == (0, "")
    boat = "船".encode().decode("latin-1") if encoding == "utf-8" else r"\u8239"
    assert stdout.splitlines() == [rf"caf\udce9 {boat}", "done"]


def test_run_app__warnings_of_pillow_are_hidden() -> None:
    process = start("warn")
    stdout, stderr = process.communicate()
    assert (process.returncode, stdout) == (0, "done\n")
    assert "from other" in stderr
    assert "from PIL" not in stderr


# --- require_extra


def test_require_extra__installed() -> None:
    require_extra("boats-test", "train", ["json", "numpy"])


def test_require_extra__missing_modules() -> None:
    with pytest.raises(errors.UsageError) as caught:
        require_extra("boats-test", "train", ["json", "no_such_a", "no_such_b"])
    assert str(caught.value) == (
        f"boats-test needs no_such_a, no_such_b, not installed: {install_command('train')}"
    )
