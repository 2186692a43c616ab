"""A command made with `boats_runtime.cli.app`, for tests of its handling of signals and output.

Usage: python sample_command.py BEHAVIOR
"""

import time
import warnings

import typer

from boats_runtime.cli.app import create_app, run_app

COMMAND = "boats-test"

app = create_app(COMMAND)


@app.command()
def run(behavior: str) -> None:
    """Behave as the argument says and print `done`."""
    if behavior == "sleep":
        typer.echo("ready")
        time.sleep(60)  # until a signal
    while behavior == "endless":
        typer.echo("line")
    if behavior == "undecodable":
        typer.echo("caf\udce9 \u8239")
    if behavior == "warn":
        for module in ("PIL.TiffImagePlugin", "other"):
            warnings.warn_explicit(f"from {module}", UserWarning, "x.py", 1, module=module)
    typer.echo("done")


if __name__ == "__main__":
    run_app(app, COMMAND)
