"""Description of an exported file, as lines for a terminal and as a model card."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PureWindowsPath
from typing import Any

from boats_runtime.errors import ModelError
from boats_runtime.model.file import read_model
from boats_runtime.model.metadata import ModelMetadata
from boats_runtime.text import escape_text

SHOWN_DIGITS = 16
"""Hexadecimal digits of a digest that are shown in a text."""


def inspect_file(path: Path) -> ModelMetadata:
    """Read the metadata of a file and check the file against its own digest.

    Returns:
        The metadata without the folders of the machine that a file of an old version may contain.

    Raises:
        ModelError: If the file is missing, was not written by `boats-export`, or was changed.
    """
    file = read_model(path)
    file.verify_digest()
    try:
        list(describe_model(path, file.metadata))
        return replace(file.metadata, provenance=remove_folders(file.metadata.provenance))
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise ModelError(f"{path}: its provenance is malformed: export it again") from error


def remove_folders(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Return a provenance with the base name of each path of the training machine."""
    config, metrics = dict(provenance["config"]), dict(provenance["metrics"])
    for key in {"data", "weights", "from_run"} & set(config):
        config[key] = base_name(config[key])
    metrics["skipped"] = [base_name(path) for path in metrics.get("skipped", ())]
    return {**provenance, "config": config, "metrics": metrics}


def base_name(path: str) -> str:
    """Return the last part of a path of any system."""
    return PureWindowsPath(path).name or path  # takes both separators


def describe_model(path: Path, metadata: ModelMetadata) -> Iterator[str]:
    """Yield the description of a file as lines of text."""
    yield from map(escape_text, _describe_model(path, metadata))
    yield "proof"
    yield from format_proof(metadata)


def _describe_model(path: Path, metadata: ModelMetadata) -> Iterator[str]:
    provenance = metadata.provenance
    proof = provenance["proof"]
    size = metadata.preprocessing
    versions = provenance["export_versions"]
    yield f"{path}: {_describe_file(path, proof)}, unchanged since export"
    yield f"  model     {_describe_network(provenance)}"
    if provenance.get("weights"):
        yield f"  weights   {_describe_weights(provenance['weights'])}"
    yield (
        f"  input     {size.height}x{size.width} RGB uint8, {size.resampling}, "
        "EXIF orientation applied"
    )
    yield f"  classes   {len(metadata.labels)}: {', '.join(metadata.labels)}"
    yield f"  unknown   {_describe_threshold(metadata)}"
    yield f"  versions  {', '.join(f'{name} {version}' for name, version in versions.items())}"
    yield f"  digest    {metadata.digest}"
    if "quantization" in proof:
        yield f"  int8      {_describe_quantization(proof)}"


def format_proof(metadata: ModelMetadata) -> list[str]:
    """Return the results of the verification as the lines of a table."""
    rows = list_proof(metadata)
    width = max(len(name) for name, _ in rows)
    return [escape_text(f"  {name:{width}}  {text}") for name, text in rows]


def list_proof(metadata: ModelMetadata) -> list[tuple[str, str]]:
    """Return the names and values of the results of the verification."""
    proof: Mapping[str, Any] = metadata.provenance["proof"]
    total = proof["photos"] + proof["hard_photos"]
    before, after = proof["before"], proof["after"]
    rows = [
        (
            "compared on",
            f"{proof['photos']} validation images, {proof['hard_photos']} stress inputs",
        ),
        ("same label", f"{proof['labels_equal']} of {total}"),
        ("probabilities within", f"{proof['largest_difference']:.1e}"),
    ]
    if proof["undecided"]:
        rows.append(("tied votes", str(proof["undecided"])))
    if proof["precision"] != "fp32":
        rows.append(("same label as float32", f"{proof['same_label_as_float32']} of {total}"))
    for name, key in (("accuracy", "accuracy"), ("macro-F1", "macro_f1")):
        text = f"{after[key]:.3f}, float32 {before[key]:.3f}"
        if "without_refit" in proof:
            text += f", without refit {proof['without_refit'][key]:.3f}"
        if "candidates" in proof:
            text += "; chosen on the same images"
        rows.append((name, text))
    if proof["precision"] != "fp32":
        losses = [
            f"{name} {recall:.2f} to {after['recall'][name]:.2f}"
            for name, recall in before["recall"].items()
            if after["recall"][name] < recall
        ]
        rows.append(("lower recall", ", ".join(losses) or "in no class"))
    if "fp16_arithmetic" in proof:
        rows.append(("float16 arithmetic", _describe_fp16(proof, total)))
    return rows


def create_card(path: Path, metadata: ModelMetadata) -> str:
    """Return the model card in Markdown (Mitchell et al. 2019, https://arxiv.org/abs/1810.03993).

    Args:
        path: Model file.
        metadata: Metadata of the file.
    """
    provenance = metadata.provenance
    proof, metrics = provenance["proof"], provenance["metrics"]
    size = metadata.preprocessing
    splits = dict(metrics["splits"])
    if held_out := metrics.get("cross_validation_with_valid"):
        splits[held_out["kind"]] = held_out
    lines = [
        f"# {_escape(path.name)}",
        "",
        f"Classifies images into {len(metadata.labels)} classes: "
        f"{', '.join(_escape(label) for label in metadata.labels)}.",
        "",
        "| | |",
        "| --- | --- |",
        f"| model | {_escape(_describe_network(provenance))} |",
        *_format_weights(provenance.get("weights")),
        f"| file | {_describe_file(path, proof)} |",
        f"| input | RGB image, EXIF orientation applied, resized to {size.height}x{size.width} "
        f"({size.resampling}) without keeping the aspect ratio |",
        f"| unknown | {_describe_threshold(metadata)} |",
        f"| SHA-256, computed with the digest as zeros | `{metadata.digest}` |",
    ]
    if "quantization" in proof:
        lines.append(f"| int8 | {_describe_quantization(proof)} |")
    lines += [
        "",
        "## Verification",
        "",
        "The file compared with PyTorch and scikit-learn:",
        "",
        *(f"- {name}: {_escape(text)}" for name, text in list_proof(metadata)),
        "",
        "## Performance",
        "",
        "As trained, in float32:",
        "",
        "| split | accuracy | 95% interval | macro-F1 | 95% interval | images |",
        "| --- | ---: | --- | ---: | --- | ---: |",
        *(_format_split(name, split) for name, split in splits.items()),
        "",
        "Recall of each class in the validation images:",
        "",
        "| class | float32 | this file |",
        "| --- | ---: | ---: |",
        *(
            f"| {_escape(name)} | {recall:.3f} | {proof['after']['recall'][name]:.3f} |"
            for name, recall in proof["before"]["recall"].items()
        ),
        "",
        "## Limitations",
        "",
        "The model knows these classes only: it assigns one of them to every image, possibly with "
        "a high score. Accuracy can be lower than in the tables on images from another camera, "
        "place or season than the training images.",
        "",
    ]
    return "\n".join(map(escape_text, lines))


def _describe_network(provenance: Mapping[str, Any]) -> str:
    config, digests = provenance["config"], provenance.get("inputs", {})
    text = f"{config['model']} on {config['backbone']}"
    for name, key in (("weights", "weights"), ("from the run", "from_run")):
        if config.get(key):
            text += f", {name} {base_name(config[key])}"
        if key in digests:
            text += f" (SHA-256 {digests[key][:SHOWN_DIGITS]})"
    return text


def _describe_weights(origin: Mapping[str, str]) -> str:
    """Return the name, license and address of the weights that the training started from."""
    text = f"{origin['name']}, license: {origin['license']}"
    if "sha256" in origin:
        text += f", SHA-256 {origin['sha256'][:SHOWN_DIGITS]}"
    return f"{text}, {origin['address']}" if "address" in origin else text


def _format_weights(origin: Mapping[str, str] | None) -> list[str]:
    return [f"| weights | {_escape(_describe_weights(origin))} |"] if origin else []


def _describe_fp16(proof: Mapping[str, Any], total: int) -> str:
    if proof["fp16_arithmetic"] != "cuda":
        return "storage verified only: the CPU computes float16 in float32"
    result = proof["on_cuda"]
    return (
        f"verified on CUDA: accuracy {result['accuracy']:.3f}, macro-F1 {result['macro_f1']:.3f}, "
        f"same label as float32 {result['same_label_as_float32']} of {total}"
    )


def _describe_file(path: Path, proof: Mapping[str, Any]) -> str:
    return f"{path.stat().st_size / 1e6:.1f} MB, {proof['precision']}, opset {proof['opset']}"


def _describe_threshold(metadata: ModelMetadata) -> str:
    if not metadata.threshold:  # no score is below 0
        return "no threshold"
    point = metadata.provenance["operating_point"]
    text = (
        f"below {metadata.threshold:.2f}: coverage {point['coverage']:.1%}, selective accuracy "
        f"{point['accuracy']:.1%}"
    )
    if "photos" in point:  # files of earlier versions do not say which images were held out
        text += f" on {point['photos']:d} training images, each while held out"
    return text


def _describe_quantization(proof: Mapping[str, Any]) -> str:
    used = proof["quantization"]
    return (
        f"ranges by {used['method']}, for {used['target']} CPUs, {len(used['floats'])} layers in "
        f"float, features {used['distance']:.1%} off, {len(used['tried'])} settings tried"
    )


def _format_split(name: str, split: Mapping[str, Any]) -> str:
    cells = [name]
    for key in ("accuracy", "macro_f1"):
        low, high = split[f"{key}_interval"]
        cells += [f"{split[key]:.3f}", f"{low:.3f} to {high:.3f}"]
    return f"| {' | '.join(cells)} | {split['photos']} |"


def _escape(text: str) -> str:
    """Return a text without Markdown syntax."""
    return "".join(f"\\{char}" if char in r"\`*_[]<>|#" else char for char in text)
