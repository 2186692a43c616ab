"""`boats-data`: looks after picture sets: checks one, or fetches the boats."""

import json
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from boats_runtime import command

COMMAND = "boats-data"

app = command.new_app(COMMAND)


@app.command()
def check(
    data: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder with train/<class>/*.jpg and valid/.")
    ],
    groups: Annotated[
        str | None,
        typer.Option(
            metavar="REGEX",
            help="Finds in a file's name what should not be in two splits.",
            show_default="a leading date, 20130304_",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Look for what would spoil a training: exit status 1 says that something was found."""
    command.require_extra(COMMAND, "train", ("rich",))
    from boats_train.data_check import check_data
    from boats_train.data_report import to_json, to_lines

    report = check_data(data, groups)
    if as_json:
        typer.echo(json.dumps(to_json(report), indent=2))
    else:
        for line in to_lines(report):
            typer.echo(line)
    if report.findings:
        raise typer.Exit(1)


@app.command()
def fetch(
    data: Annotated[
        Path, typer.Argument(metavar="DIR", help="Where the boats are to be; must not exist.")
    ] = Path("data"),
    url: Annotated[
        str | None, typer.Option(help="Archive to download instead of the public ones.")
    ] = None,
    archive: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Archive that was downloaded by hand.")
    ] = None,
    manifest: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Digests of the files, if not the boats.", hidden=True),
    ] = None,
) -> None:
    """Download the boats of Venice, and check every file against this project's own digests."""
    command.require_extra(COMMAND, "train", ("pooch", "rich"))
    from boats_train.data_fetch import fetch_data

    typer.echo(fetch_data(data, log, url=url, archive=archive, manifest_file=manifest))


def log(line: str) -> None:
    """Prints a line about what goes on to stderr."""
    print(f"{COMMAND}: {line}", file=sys.stderr)  # noqa: T201


def main() -> NoReturn:
    """Runs `boats-data`."""
    command.run(app, COMMAND)
