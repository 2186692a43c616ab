"""`boats-doctor`: show what this machine can run and what is missing."""

import json
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from boats_runtime.cli.app import create_app, run_app
from boats_runtime.cli.command import Command
from boats_runtime.errors import ProviderError
from boats_runtime.text import escape_text

COMMAND = "boats-doctor"

EXAMPLES = """
boats-doctor
boats-doctor --model boats.onnx --json
"""

app = create_app(COMMAND)


@app.command(cls=Command, epilog=EXAMPLES)
def doctor(
    model: Annotated[
        Path | None,
        typer.Option(help="Model to run on each provider.", show_default="a tiny one"),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", envvar="BOATS_DOCTOR_JSON", help="Print one JSON object.")
    ] = False,
) -> None:
    """Show the hardware and software of this machine and test each provider."""
    from boats_runtime.doctor import examine, works
    from boats_runtime.model.file import read_model

    content = None
    if model is not None:
        file = read_model(model)
        file.verify_digest()
        content = file.content
    findings = examine(content)
    typer.echo(json.dumps(findings, indent=2) if as_json else format_findings(findings))
    if not works(findings):
        raise ProviderError(findings["onnxruntime"]["problem"] or "no provider works here")


def format_findings(findings: dict[str, Any]) -> str:
    """Return findings, with the keys that `boats_runtime.doctor` lists, as text."""
    versions, cpu = findings["versions"], findings["cpu"]
    wheels = findings["onnxruntime"]["wheels"]
    formats = ", ".join(findings["photos"])
    rows = {
        "boats": f"{versions['boats']}, Python {versions['python']}, NumPy {versions['numpy']}, "
        f"Pillow {versions['pillow']}",
        "system": versions["system"],
        "ONNX Runtime": ", ".join(f"{name} {number}" for name, number in wheels.items()) or "none",
        "CPU": cpu["model"],
        "features": ", ".join(cpu["features"]) or "unknown",
        "int8": _format(cpu["exact_int8"], "exact sums", "sums can saturate: export --target any"),
        "bf16": _format(cpu["bf16"], "yes", "no"),
        "threads": f"{cpu['granted']} of {cpu['seen']} CPUs (affinity {_format(cpu['affinity'])}, "
        f"control groups {_format(cpu['quota'] or 'no limit')})",
        "images": formats if "HEIC" in formats else f"{formats}; HEIC: pip install pillow-heif",
    }
    lines = [f"{name:13} {text}" for name, text in rows.items()]
    if libraries := findings["cuda_libraries"]:
        lines += ["", f"this ONNX Runtime needs CUDA {findings['onnxruntime']['cuda']}"]
    for library in libraries:
        version = library["version"] or "unknown version"
        lines.append(f"  {library['name']:20} {version if library['found'] else 'missing'}")
    if findings["providers"]:
        lines += ["", "provider      status   first ms   p50 ms"]
    for name, result in findings["providers"].items():
        if result["status"] == "works":
            times = f"{result['first_ms']:8.2f} {result['p50_ms']:8.2f}"
            lines.append(f"{name:13} works    {times}")
        else:
            lines.append(f"{name:13} {result['status']:8} {result['detail']}")
    return "\n".join(map(escape_text, lines))


def _format(value: object, yes: str = "", no: str = "") -> str:
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return yes if value else no
    return f"{value:g}" if isinstance(value, float) else str(value)


def main() -> NoReturn:
    """Run `boats-doctor`."""
    run_app(app, COMMAND)
