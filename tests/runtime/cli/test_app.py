import gc
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from boats_runtime import errors
from boats_runtime.cli import app as command

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it

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

SCRIPT = """
import time, typer
from boats_runtime.cli import app as command
app = command.create_app("boats-test")
@app.command()
def go(what: str):
    if what == "sleep":
        typer.echo("ready")
        time.sleep(60)
    while what == "endless":
        typer.echo("line")
    if what == "undecodable":
        typer.echo("caf\\udce9 \\u8239")
    if what == "warning":
        import warnings
        warnings.warn_explicit("of Pillow", UserWarning, "x.py", 1, module="PIL.TiffImagePlugin")
        warnings.warn_explicit("of another", UserWarning, "x.py", 1, module="other")
    typer.echo("done")
command.run_app(app, "boats-test")
"""


def new_app(outcome: BaseException | None = None) -> typer.Typer:
    """A command of one option that ends as told, and else prints the option."""
    app = command.create_app("boats-test")

    @app.command()
    def go(size: int = 3) -> None:
        if outcome is not None:
            raise outcome
        typer.echo(f"size {size}")

    return app


def run(app: typer.Typer, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int | str | None:
    """Runs a command as its script does, and returns its exit code."""
    monkeypatch.setattr(sys, "argv", ["boats-test", *arguments])
    with pytest.raises(SystemExit) as caught:
        command.run_app(app, "boats-test")
    return caught.value.code


def start(what: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, what],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="latin-1",  # reads any bytes
    )


# --- run


def test_run__every_error_has_an_exit_code() -> None:
    classes = {
        name: kind.exit_code
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, errors.BoatsError)
    }
    assert classes == EXIT_CODES


@pytest.mark.parametrize("name", EXIT_CODES)
def test_run__error_is_one_line_and_its_exit_code(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    error = getattr(errors, name)("a.jpg: what is wrong, what to do")
    assert run(new_app(error), monkeypatch) == EXIT_CODES[name]
    assert capsys.readouterr() == ("", "boats-test: a.jpg: what is wrong, what to do\n")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (FileNotFoundError(2, "No such file", "a/b.onnx"), "a/b.onnx: No such file"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (OSError("cannot write mode F as JPEG"), "cannot write mode F as JPEG"),
    ],
)  # fmt: skip
def test_run__failed_write_is_one_line(
    error: OSError,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(new_app(error), monkeypatch) == 3
    assert capsys.readouterr() == ("", f"boats-test: {line}\n")


def test_run__success(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(new_app(), monkeypatch) == 0
    assert capsys.readouterr() == ("size 3\n", "")


def test_run__exit_code_of_the_commands_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(new_app(typer.Exit(7)), monkeypatch) == 7


@pytest.mark.parametrize("arguments", [["--siez", "4"], ["--size", "big"], ["more"]])
def test_run__mistyped_arguments(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(new_app(), monkeypatch, *arguments) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert arguments[0] in output.err
    assert "boats-test --help" in output.err or "boats-test -h" in output.err


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_run__help(
    flag: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(new_app(), monkeypatch, flag) == 0
    assert "BOATS_TEST_SIZE" in capsys.readouterr().out


def test_run__option_by_environment_variable(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BOATS_TEST_SIZE", "5")
    assert run(new_app(), monkeypatch) == 0
    assert run(new_app(), monkeypatch, "--size", "6") == 0
    assert capsys.readouterr().out == "size 5\nsize 6\n"


def test_run__defect_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["boats-test"])
    with pytest.raises(ZeroDivisionError):
        command.run_app(new_app(ZeroDivisionError()), "boats-test")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no SIGINT to one process")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_run__interrupt(number: signal.Signals) -> None:
    process = start("sleep")
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    assert process.communicate() == ("", "boats-test: interrupted\n")
    assert process.returncode == 130


def test_run__closed_pipe_is_quiet() -> None:
    process = start("endless")
    assert process.stdout.readline() == "line\n"
    process.stdout.close()
    with process.stderr:
        assert process.stderr.read() == ""
    assert process.wait() == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_run__full_disk() -> None:
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(
            [sys.executable, "-c", SCRIPT, "quick"],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert result.returncode == 3
    assert result.stderr == "boats-test: No space left on device\n"


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "cp1252"])
def test_run__name_that_the_terminal_cannot_show(
    encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", f"{encoding}:strict")
    process = start("undecodable")
    out, err = process.communicate()
    assert (process.returncode, err) == (0, "")
    boat = "船".encode().decode("latin-1") if encoding == "utf-8" else r"\u8239"
    assert out.splitlines() == [rf"caf\udce9 {boat}", "done"]


def test_run__only_pillow_warns_in_vain() -> None:
    process = start("warning")
    out, err = process.communicate()
    assert (process.returncode, out) == (0, "done\n")
    assert "of another" in err
    assert "of Pillow" not in err


# --- require_extra


def test_require_extra__all_there() -> None:
    command.require_extra("boats-test", "train", ["json", "numpy"])


def test_require_extra__names_what_is_missing_and_the_line_to_type() -> None:
    with pytest.raises(errors.UsageError) as caught:
        command.require_extra("boats-test", "train", ["json", "no_such_a", "no_such_b"])
    assert str(caught.value) == (
        "boats-test needs no_such_a, no_such_b, which this installation lacks: "
        "pip install 'boats[train]'"
    )


def test_without_collection__only_meanwhile() -> None:
    with command.pause_garbage_collection():
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(KeyError), command.pause_garbage_collection():
        raise KeyError
    assert gc.isenabled()
    gc.unfreeze()
