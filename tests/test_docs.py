"""Run every command of the documentation."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import torchvision

from support.images import write_dataset
from support.process import BIN, clean_environment, run_command

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
BLOCK = re.compile(
    r"(?:^<!-- not run: (?P<reason>[^\n]+) -->\n)?^```(?P<language>\w+)(?: exit=(?P<code>\w+))?\n"
    r"(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)

# A small network without a download. The environment sets options that a command does not give.
SMALL_NETWORK = {
    "BOATS_TRAIN_BACKBONE": "shufflenet_v2_x0_5",
    "BOATS_TRAIN_WEIGHTS": "none",
    "BOATS_TRAIN_IMAGE_SIZE": "64x160",
}
FEW_EPOCHS = {"BOATS_TRAIN_EPOCHS": "2", "BOATS_TRAIN_BATCH_SIZE": "8"}


@dataclass(frozen=True)
class Command:
    """A command line of a page; `code` is the expected exit code, None for any."""

    page: Path
    line: str
    code: int | None


def find_commands() -> Iterator[Command]:
    """Yield the commands that run, each once, in the order of the pages."""
    seen = set()
    for page in PAGES:
        for block in BLOCK.finditer(page.read_text()):
            if block["language"] != "sh":
                continue
            code = None if block["code"] == "any" else int(block["code"] or 0)
            for line in block["text"].splitlines():
                if line not in seen:
                    seen.add(line)
                    yield Command(page.relative_to(ROOT), line, code)


def find_blocks(language: str) -> list[tuple[str, str | None]]:
    """Return the text of each block in a language, and why it does not run."""
    return [
        (block["text"], block["reason"])
        for page in PAGES
        for block in BLOCK.finditer(page.read_text())
        if block["language"] == language
    ]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """A folder with the files that the commands name."""
    folder = tmp_path_factory.mktemp("docs")
    write_dataset(folder / "data")
    image = folder / "data" / "test" / "topa" / "00.jpg"
    shutil.copy(image, folder / "image.jpg")
    (folder / "list.txt").write_text("image.jpg\n")
    (folder / "models").mkdir()
    for name in ("boats.onnx", "fp16.onnx"):
        shutil.copy(tiny_model, folder / name)
    torch.manual_seed(0)
    network = torchvision.models.mobilenet_v2(weights=None)
    torch.save(network.state_dict(), folder / "mobilenet_v2.pth")
    return folder


def environment(line: str) -> dict[str, str]:
    """Return the variables that make a training in a command short."""
    if not line.startswith("boats-train"):
        return {}
    small = SMALL_NETWORK
    if "--from" in line or "--model cnn" in line:
        small = {}
    gradient = "--model finetune" in line or "--model cnn" in line
    return small | (FEW_EPOCHS if gradient else {})


@pytest.mark.parametrize(
    "command", [pytest.param(command, id=command.line) for command in find_commands()]
)
def test_documentation__command_runs(command: Command, workspace: Path) -> None:
    folder = workspace / "demo" if "--demo" in command.line else workspace
    folder.mkdir(exist_ok=True)
    result = subprocess.run(
        ["bash", "-c", command.line],
        cwd=folder,
        env=clean_environment()
        | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
        | environment(command.line),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert "Traceback" not in result.stderr
    if command.code is None:
        assert result.returncode in (0, 1, 5), result.stderr
    else:
        assert result.returncode == command.code, result.stderr


def test_documentation__commands_that_do_not_run_have_their_options(tmp_path: Path) -> None:
    helps: dict[str, str] = {}
    for text, reason in find_blocks("bash"):
        assert reason, f"say why it does not run:\n{text}"
        for line in text.splitlines():
            words = line.split()
            names = [word for word in words if re.fullmatch(r"boats-\w+", word)]
            if not names:
                continue
            name = names[0]
            subcommand = "fetch" if "fetch" in words else ""
            key = f"{name} {subcommand}"
            if key not in helps:
                arguments = (subcommand, "--help") if subcommand else ("--help",)
                helps[key] = run_command(name, *arguments, cwd=tmp_path).stdout
            for option in words[words.index(name) :]:
                if option.startswith("--"):
                    assert option.partition("=")[0] in helps[key], line


def test_documentation__python_runs(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workspace)
    for text, _ in find_blocks("python"):
        exec(compile(text, "documentation", "exec"), {})  # noqa: S102


def test_documentation__links_exist() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[\w-]*)?\)", page.read_text()):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page}: {target}"


def test_readme__is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 180


def test_command_reference__is_current() -> None:
    page = ROOT / "docs" / "reference" / "commands.md"
    before = page.read_text()
    script = ROOT / "scripts" / "write_reference.py"
    created = subprocess.run(
        [sys.executable, script, "--print"], capture_output=True, encoding="utf-8", check=True
    ).stdout
    assert created == before, "run `make reference`"
