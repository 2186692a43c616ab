"""What an exported file says of itself, as lines for a terminal and as its model card."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from boats_runtime.errors import ModelError
from boats_runtime.model.file import read_model
from boats_runtime.model.metadata import ModelMetadata

Proof = Mapping[str, Any]


def inspect_file(path: Path) -> ModelMetadata:
    """Reads what a file says of itself, and checks the file against its own digest.

    Raises:
        ModelError: It is missing, is no file of `boats-export`, or was changed since.
    """
    file = read_model(path)
    file.verify_digest()
    metadata = file.metadata
    try:
        list(to_lines(path, metadata))
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise ModelError(f"{path}: its provenance is malformed: export it again") from error
    return metadata


def proof_table(metadata: ModelMetadata) -> list[str]:
    """Returns the proof as the lines of a table."""
    rows = proof_rows(metadata)
    width = max(len(name) for name, _ in rows)
    return [f"  {name:{width}}  {text}" for name, text in rows]


def proof_rows(metadata: ModelMetadata) -> list[tuple[str, str]]:
    """Returns what was compared and measured, each with its name."""
    proof: Proof = metadata.provenance["proof"]
    total = proof["photos"] + proof["hard_photos"]
    rows = [
        ("compared on", f"{proof['photos']} valid photos, {proof['hard_photos']} hard ones"),
        ("same label", f"{proof['labels_equal']} of {total}"),
        ("probabilities within", f"{proof['largest_difference']:.1e}"),
    ]
    if proof["undecided"]:
        rows.append(("undecided ties", str(proof["undecided"])))
    if proof["precision"] != "fp32":
        rows.append(("label of float32", f"{proof['same_label_as_float32']} of {total}"))
    for name, key in (("accuracy", "accuracy"), ("macro-F1", "macro_f1")):
        text = f"{proof['after'][key]:.3f}, float32 {proof['before'][key]:.3f}"
        if "without_refit" in proof:
            text += f", without the second fit {proof['without_refit'][key]:.3f}"
        rows.append((name, text))
    worse = [
        f"{name} {recall:.2f} to {proof['after']['recall'][name]:.2f}"
        for name, recall in proof["before"]["recall"].items()
        if proof["after"]["recall"][name] < recall
    ]
    if proof["precision"] != "fp32":
        rows.append(("recall lost", ", ".join(worse) or "in no class"))
    return rows


def to_lines(path: Path, metadata: ModelMetadata) -> Iterator[str]:
    """Yields what a person wants to know of a file."""
    provenance = metadata.provenance
    config, proof = provenance["config"], provenance["proof"]
    size = metadata.preprocessing
    yield (
        f"{path}: {path.stat().st_size / 1e6:.1f} MB, {proof['precision']}, "
        f"opset {proof['opset']}, unchanged since its export"
    )
    yield f"  model     {config['model']} on {config['backbone']}, weights {config['weights']}"
    yield f"  input     {size.height}x{size.width} RGB uint8, {size.resampling}, turned by EXIF"
    yield f"  classes   {len(metadata.labels)}: {', '.join(metadata.labels)}"
    yield f"  unknown   {_threshold(metadata)}"
    yield f"  versions  {', '.join(f'{k} {v}' for k, v in provenance['export_versions'].items())}"
    yield f"  digest    {metadata.digest}"
    if "quantization" in proof:
        yield f"  int8      {_quantization(proof)}"
    yield "proof"
    yield from proof_table(metadata)


def to_card(path: Path, metadata: ModelMetadata) -> str:
    """Returns the model card in Markdown (Mitchell et al. 2019, https://arxiv.org/abs/1810.03993).

    Args:
        path: The model file.
        metadata: What it says of itself.
    """
    provenance = metadata.provenance
    config, proof = provenance["config"], provenance["proof"]
    size = metadata.preprocessing
    lines = [
        f"# {_escape(path.name)}",
        "",
        f"Classifies photos into {len(metadata.labels)} classes: "
        f"{', '.join(_escape(label) for label in metadata.labels)}.",
        "",
        "| | |",
        "| --- | --- |",
        f"| model | {config['model']} on {config['backbone']}, "
        f"weights {_escape(config['weights'])} |",
        f"| file | {path.stat().st_size / 1e6:.1f} MB, {proof['precision']}, "
        f"opset {proof['opset']} |",
        f"| input | photo, turned by EXIF, stretched to {size.height}x{size.width} "
        f"({size.resampling}), RGB |",
        f"| unknown | {_threshold(metadata)} |",
        f"| SHA-256, its own digest as zeros | `{metadata.digest}` |",
    ]
    if "quantization" in proof:
        lines.append(f"| int8 | {_quantization(proof)} |")
    lines += [
        "",
        "## Proof",
        "",
        "The file against PyTorch and scikit-learn:",
        "",
        *(f"- {name}: {_escape(text)}" for name, text in proof_rows(metadata)),
        "",
        "## How good it is",
        "",
        "As trained, in float32:",
        "",
        "| split | accuracy | 95 % | macro-F1 | 95 % | photos |",
        "| --- | ---: | --- | ---: | --- | ---: |",
        *(_split_row(name, split) for name, split in provenance["metrics"]["splits"].items()),
        *_validation(provenance["metrics"]),
        "",
        "Recall on the valid photos, of the classes that occur there:",
        "",
        "| class | float32 | this file |",
        "| --- | ---: | ---: |",
        *(
            f"| {_escape(name)} | {recall:.3f} | {proof['after']['recall'][name]:.3f} |"
            for name, recall in proof["before"]["recall"].items()
        ),
        "",
        "## What it is not for",
        "",
        "It knows these classes only: a photo of anything else gets one of them, with a score that "
        "may be high. Photos from another camera, place or season than those learned from may be "
        "classified worse than the tables say.",
        "",
    ]
    return "\n".join(lines)


def _threshold(metadata: ModelMetadata) -> str:
    if metadata.threshold is None:
        return "no threshold was chosen"
    point = metadata.provenance["operating_point"]
    return (
        f"under {metadata.threshold:.2f}: {point['coverage']:.1%} of held-out photos are answered, "
        f"{point['accuracy']:.1%} of those rightly"
    )


def _quantization(proof: Proof) -> str:
    used = proof["quantization"]
    return (
        f"ranges by {used['method']}, for {used['target']} CPUs, {len(used['floats'])} layers in "
        f"float, features {used['distance']:.1%} off, {len(used['tried'])} settings tried"
    )


def _split_row(name: str, split: Mapping[str, Any]) -> str:
    cells = [name]
    for key in ("accuracy", "macro_f1"):
        low, high = split[f"{key}_interval"]
        cells += [f"{split[key]:.3f}", f"{low:.3f} to {high:.3f}"]
    return f"| {' | '.join(cells)} | {split['photos']} |"


def _validation(metrics: Mapping[str, Any]) -> Iterator[str]:
    held_out = metrics.get("cross_validation_with_valid")
    if held_out:
        yield _split_row(held_out["kind"], held_out)


def _escape(text: str) -> str:
    """Keeps a name from being read as Markdown."""
    return "".join(f"\\{sign}" if sign in r"\`*_[]<>|#" else sign for sign in text)
