"""Write `docs/reference/commands.md` from the help texts of the commands."""

import os
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "commands.md"
BIN = Path(sys.executable).parent

COMMANDS = (
    "boats-data check",
    "boats-data fetch",
    "boats-train",
    "boats-export",
    "boats-export inspect",
    "boats-evaluate",
    "boats-predict",
    "boats-benchmark",
    "boats-doctor",
)

INTRODUCTION = """\
# Commands

Written by `make reference` from the help texts. Each option can also be set by the environment
variable in brackets. Exit codes: [Exit codes](exit-codes.md).
"""


def main() -> None:
    """Write the page, or print it if `--print` is given."""
    if sys.argv[1:] == ["--print"]:
        print(create_page(), end="")
    else:
        PAGE.write_text(create_page(), encoding="utf-8")


def create_page() -> str:
    """Return the page as Markdown."""
    sections = (f"## {command}\n\n```text\n{read_help(command)}```\n" for command in COMMANDS)
    return "\n".join([INTRODUCTION, *sections])


def read_help(command: str) -> str:
    """Return the help text of a command, 100 columns wide."""
    name, *subcommand = command.split()
    environment = {key: value for key, value in os.environ.items() if "BOATS_" not in key}
    result = subprocess.run(
        [BIN / name, *subcommand, "--help"],
        env=environment | {"COLUMNS": "102", "TERMINAL_WIDTH": "100", "NO_COLOR": "1"},
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    return "\n".join(line.rstrip() for line in result.stdout.strip().splitlines()) + "\n"


if __name__ == "__main__":
    main()
