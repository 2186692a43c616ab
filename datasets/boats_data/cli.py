"""`boats-data`: check a dataset, or download the boats dataset."""

import json
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from boats_runtime.cli.app import create_app, create_log, print_lines, require_extra, run_app
from boats_runtime.cli.command import Command

COMMAND = "boats-data"

app = create_app(COMMAND)
log = create_log(COMMAND)


@app.command(cls=Command, epilog="boats-data check data")
def check(
    data: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder with train/<class>/*.jpg and valid/.")
    ],
    groups: Annotated[
        str | None,
        typer.Option(
            metavar="REGEX",
            help="Groups in file names; a group must not occur in two splits.",
            show_default="a leading date, 20130304_",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Look for problems that spoil training or its scores.

    Exit codes: 0 without findings, 1 with findings (errors or warnings).
    """
    from boats_data.check.checks import check_data
    from boats_data.check.report import to_json, to_lines

    report = check_data(data, groups)
    if as_json:
        typer.echo(json.dumps(to_json(report), indent=2))
    else:
        print_lines(*to_lines(report))
    if report.findings:
        raise typer.Exit(1)


@app.command(cls=Command, epilog="boats-data fetch data")
def fetch(
    data: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder for the dataset; must not exist.")
    ] = Path("data"),
    url: Annotated[
        str | None, typer.Option(help="Archive to download instead of the public ones.")
    ] = None,
    archive: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Archive that is already downloaded.")
    ] = None,
    manifest: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="SHA-256 of the files of another dataset.", hidden=True),
    ] = None,
) -> None:
    """Download the boats of Venice and verify the SHA-256 of every file."""
    require_extra(COMMAND, "train", ("pooch",))
    from boats_data.fetch.fetch import fetch_data

    print_lines(fetch_data(data, log, url=url, archive=archive, manifest_file=manifest))


def main() -> NoReturn:
    """Run `boats-data`."""
    run_app(app, COMMAND)
