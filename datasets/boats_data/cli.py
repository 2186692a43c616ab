"""`boats-data`: looks after picture sets: checks one, or fetches the boats."""

import json
import sys  # noqa: F401
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from boats_runtime.cli.app import create_app, create_log, require_extra, run_app

COMMAND = "boats-data"

app = create_app(COMMAND)
log = create_log(COMMAND)


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
    require_extra(COMMAND, "train", ("rich",))
    from boats_data.check.checks import check_data
    from boats_data.check.report import to_json, to_lines

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
    require_extra(COMMAND, "train", ("pooch", "rich"))
    from boats_data.fetch.fetch import fetch_data

    typer.echo(fetch_data(data, log, url=url, archive=archive, manifest_file=manifest))


def main() -> NoReturn:
    """Runs `boats-data`."""
    run_app(app, COMMAND)
