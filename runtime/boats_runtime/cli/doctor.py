"""`boats-doctor`: what this machine can run, and what is missing for more."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from boats_runtime.cli.app import create_app, run_app
from boats_runtime.errors import ProviderError

COMMAND = "boats-doctor"

app = create_app(COMMAND)


@app.command()
def doctor(
    model: Annotated[
        Path | None,
        typer.Option(help="A model to try on each provider.", show_default="a tiny one"),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", envvar="BOATS_DOCTOR_JSON", help="Print one JSON object.")
    ] = False,
) -> None:
    """Show what this machine has, and try every provider."""
    from boats_runtime.doctor import examine, works
    from boats_runtime.model.file import read_model

    content = None
    if model is not None:
        file = read_model(model)
        file.verify_digest()
        content = file.content
    findings = examine(content)
    for line in [json.dumps(findings, indent=2)] if as_json else to_lines(findings):
        typer.echo(line)
    if not works(findings):
        raise ProviderError(findings["onnxruntime"]["problem"] or "no provider works here")


def to_lines(findings: dict[str, Any]) -> Iterator[str]:
    """Yields the findings for a person; their schema stands in `boats_runtime.doctor`."""
    versions, cpu = findings["versions"], findings["cpu"]
    wheels = findings["onnxruntime"]["wheels"]
    rows = {
        "boats": f"{versions['boats']}, Python {versions['python']}, NumPy {versions['numpy']}, "
        f"Pillow {versions['pillow']}",
        "system": versions["system"],
        "ONNX Runtime": ", ".join(f"{name} {one}" for name, one in wheels.items()) or "none",
        "CPU": cpu["model"],
        "features": ", ".join(cpu["features"]) or "unknown",
        "int8": _tell(cpu["exact_int8"], "exact sums", "sums may saturate: export --target any"),
        "bf16": _tell(cpu["bf16"], "yes", "no"),
        "threads": f"{cpu['granted']} granted, of {cpu['seen']} seen "
        f"(affinity {_tell(cpu['affinity'])}, control groups {_tell(cpu['quota'] or 'no limit')})",
        "photos": ", ".join(findings["photos"]),
    }
    if "HEIC" not in findings["photos"]:
        rows["photos"] += "; HEIC: pip install pillow-heif"
    for name, text in rows.items():
        yield f"{name:13} {text}"
    if libraries := findings["cuda_libraries"]:
        yield f"\nCUDA {findings['onnxruntime']['cuda']} is what this ONNX Runtime was built for"
        for one in libraries:
            yield f"  {one['name']:20} {(one['version'] or 'found') if one['found'] else 'missing'}"
    if findings["providers"]:
        yield "\nprovider      status   first ms   p50 ms"
    for name, one in findings["providers"].items():
        if one["status"] == "works":
            yield f"{name:13} works    {one['first_ms']:8.2f} {one['p50_ms']:8.2f}"
        else:
            yield f"{name:13} {one['status']:8} {one['detail']}"


def _tell(value: object, yes: str = "", no: str = "") -> str:
    if value is None:
        return "not told"
    if isinstance(value, bool):
        return yes if value else no
    return f"{value:g}" if isinstance(value, float) else str(value)


def main() -> NoReturn:
    """Runs `boats-doctor`."""
    run_app(app, COMMAND)
