"""Write and read run folders.

config.json           resolved configuration, class names and preprocessing
metrics.json          metrics of each split, cross-validation, skipped images
versions.json         Python and library versions
backbone.safetensors  weights of the backbone
estimator.skops       fitted estimator
digests.json          SHA-256 of each of these files
"""

import hashlib
import json
import platform
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import nn

from boats_runtime import __version__
from boats_runtime.errors import ModelError, OutputError, RunError, UsageError, first_line
from boats_runtime.files import scratch_folder
from boats_runtime.preprocessing import Preprocessing
from boats_train.models.backbone import build_backbone
from boats_train.models.feature_network import FeatureNetwork
from boats_train.models.small_cnn import NAME as SMALL_CNN
from boats_train.models.small_cnn import SmallCNN
from boats_train.models.sources import TIMM, BackboneUnavailableError, require_named
from boats_train.models.weights import load_state
from boats_train.runs.config import TrainConfig

with warnings.catch_warnings():
    # skops inspects all imported modules, and PyTorch warns about deprecated attributes.
    warnings.simplefilter("ignore")
    import skops.io

SCHEMA_VERSION = 1
LATEST = "latest"
DIGESTS = "digests.json"

TRUSTED_TYPES = (
    "boats_train.models.calibrated_svc.CalibratedSVC",
    "boats_train.calibration.CalibratedSvm",
)
"""Reviewed types that an estimator can contain in addition to those that skops trusts. The second
is the name in runs written before version 0.2.0."""

_FILES = ("config.json", "metrics.json", "versions.json", "backbone.safetensors", "estimator.skops")
_LIBRARIES = ("numpy", "pillow", "scikit-learn", "skops", "torch", "torchvision")


@dataclass(frozen=True)
class Run:
    """A trained model.

    The estimator maps features to probabilities, whose order is that of the classes. The recorded
    metrics are JSON values.
    """

    config: TrainConfig
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    network: FeatureNetwork
    estimator: Any
    metrics: Mapping[str, Any]
    versions: Mapping[str, str]


def library_versions(backbone: str = "") -> dict[str, str]:
    """Return the versions of Python, boats and the libraries that affect a run on a backbone."""
    versions = {"python": platform.python_version(), "boats": __version__}
    libraries = (*_LIBRARIES, "timm") if backbone.startswith(TIMM) else _LIBRARIES
    return versions | {name: version(name) for name in libraries}


def write_run(
    run: Run, parent: Path, name: str, add_files: Callable[[Path], None] = lambda _: None
) -> Path:
    """Write a run folder atomically, set the link `latest` to it, and return its path.

    Where symbolic links are refused, `latest` is a text file with the name of the folder.

    Args:
        run: The run.
        parent: Folder of runs; created if missing.
        name: Name of the new folder; a number is appended if it exists.
        add_files: Function that writes further files, such as plots, into the folder.

    Raises:
        OutputError: If the folder cannot be written.
    """
    check_output(parent)
    try:
        parent.mkdir(parents=True, exist_ok=True)
        with scratch_folder(parent / "run") as scratch:
            temporary = scratch / "run"
            temporary.mkdir()
            _write_files(run, temporary)
            add_files(temporary)
            folder = _rename_to_free_name(temporary, parent, name)
            _point_to(folder, scratch / LATEST)
    except OSError as error:
        raise OutputError(f"{parent}: the run cannot be written: {error.strerror}") from error
    return folder


def check_output(parent: Path) -> None:
    """Check before a training that a run can be written into a folder of runs.

    Raises:
        OutputError: If it cannot be written.
    """
    latest = parent / LATEST
    if latest.exists() and not (latest.is_symlink() or _read_pointer(latest)):
        raise OutputError(f"{latest}: not a link to the latest run; rename it")
    try:
        existing = next(folder for folder in (parent, *parent.parents) if folder.exists())
        with scratch_folder(existing / "run"):
            pass
    except OSError as error:
        raise OutputError(f"{parent}: the run cannot be written: {error.strerror}") from error


def find_run(folder: Path) -> Path:
    """Return a run folder: the given one, or the latest run in a folder of runs."""
    if (folder / "config.json").exists():
        return folder
    latest = folder if folder.name == LATEST and folder.is_file() else folder / LATEST
    return latest if latest.is_dir() else _read_pointer(latest) or folder


def load_run(folder: Path, backbone: str = "") -> Run:
    """Read a run folder, or the latest run in a folder of runs; code in the files is not executed.

    Args:
        folder: Run folder or folder of runs.
        backbone: `package.module:factory` of the user's own backbone. The name in the run alone
            does not import code.

    Raises:
        RunError: If the folder is not a run, or the run is incomplete, altered or has a newer
            schema.
        UsageError: If the code of its backbone is not installed, or not named by `backbone`.
    """
    folder = find_run(folder)
    try:
        return _read(folder, backbone)
    except BackboneUnavailableError as error:
        raise UsageError(f"{folder}: {error}") from error
    except (RunError, ModelError, UsageError) as error:
        raise RunError(f"{folder}: {error}") from error
    except OSError as error:
        raise RunError(f"{error.filename or folder}: {error.strerror or error}") from error


def read_metrics(folder: Path) -> dict[str, Any]:
    """Read the recorded metrics of a run, or of the latest run in a folder of runs.

    Raises:
        RunError: If the folder is not a run or the metrics are invalid.
    """
    folder = find_run(folder)
    try:
        return _parse_json("metrics.json", _read_file(folder, "metrics.json"))
    except RunError as error:
        raise RunError(f"{folder}: {error}") from error


def read_config(folder: Path) -> TrainConfig:
    """Read the configuration of a run, or of the latest run in a folder of runs.

    Raises:
        RunError: If the folder is not a run or the configuration is invalid.
    """
    folder = find_run(folder)
    try:
        content = _parse_json("config.json", _read_file(folder, "config.json"))
        return TrainConfig.from_json(content.get("config"))
    except RunError as error:
        raise RunError(f"{folder}: {error}") from error


def _write_files(run: Run, folder: Path) -> None:
    config = {
        "schema_version": SCHEMA_VERSION,
        "config": run.config.to_json(),
        "classes": list(run.classes),
        "preprocessing": run.preprocessing.to_json(),
    }
    state = {key: value.contiguous() for key, value in run.network.backbone.state_dict().items()}
    contents = {
        "config.json": _to_json(config),
        "metrics.json": _to_json(run.metrics),
        "versions.json": _to_json(run.versions),
        "backbone.safetensors": safetensors.torch.save(state),
        "estimator.skops": skops.io.dumps(run.estimator),
    }
    contents[DIGESTS] = _to_json(
        {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    )
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    folder.chmod(0o755)  # temporary folders are private


def _point_to(folder: Path, temporary: Path) -> None:
    """Let `latest` point to a run in the same folder."""
    try:
        temporary.symlink_to(folder.name)
    except OSError:  # refused by some systems, disks and archives
        temporary.write_text(f"{folder.name}\n", encoding="utf-8")
    temporary.replace(folder.with_name(LATEST))


def _read_pointer(latest: Path) -> Path | None:
    """Return the run named by a text file `latest`, or None."""
    try:
        name = latest.read_text(encoding="utf-8").rstrip("\n")
    except (OSError, UnicodeDecodeError):
        return None
    folder = latest.with_name(name) if name and Path(name).name == name else None
    return folder if folder and (folder / "config.json").is_file() else None


def _rename_to_free_name(temporary: Path, parent: Path, name: str) -> Path:
    number = 1
    while True:
        folder = parent / (name if number == 1 else f"{name}-{number}")
        try:
            return temporary.rename(folder)
        except OSError:  # the folder exists, possibly from a concurrent training
            if not folder.exists():
                raise
        number += 1


def _to_json(value: object) -> bytes:
    return (json.dumps(value, indent=2, sort_keys=True) + "\n").encode()


def _read(folder: Path, named: str) -> Run:
    contents = {name: _read_file(folder, name) for name in (*_FILES, DIGESTS)}
    digests = _parse_json(DIGESTS, contents[DIGESTS])
    for name in _FILES:
        if digests.get(name) != hashlib.sha256(contents[name]).hexdigest():
            raise RunError(f"{name} was changed after the training; train again")
    content = _parse_json("config.json", contents["config.json"])
    if content.get("schema_version") != SCHEMA_VERSION:
        raise RunError(
            f"schema version {content.get('schema_version')!r} instead of {SCHEMA_VERSION}: "
            "train again, or install a newer boats"
        )
    config = TrainConfig.from_json(content.get("config"))
    preprocessing = Preprocessing.from_json(content.get("preprocessing"))
    require_named(config.backbone, named)
    backbone = _load_backbone(config, contents["backbone.safetensors"])
    classes = content.get("classes")
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise RunError("config.json: classes is not a list of strings")
    return Run(
        config,
        tuple(classes),
        preprocessing,
        FeatureNetwork(backbone, preprocessing),
        _load_estimator(contents["estimator.skops"]),
        _parse_json("metrics.json", contents["metrics.json"]),
        _parse_json("versions.json", contents["versions.json"]),
    )


def _read_file(folder: Path, name: str) -> bytes:
    if not (folder / "config.json").is_file():
        raise RunError("not a run folder; train a run with boats-train")
    if not (folder / name).is_file():
        raise RunError(f"{name} does not exist; the run is incomplete, train again")
    return (folder / name).read_bytes()


def _parse_json(name: str, content: bytes) -> dict[str, Any]:
    try:
        value = json.loads(content)
    except ValueError as error:
        raise RunError(f"{name} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise RunError(f"{name} is not a JSON object")
    return value


def _load_backbone(config: TrainConfig, content: bytes) -> nn.Module:
    if config.backbone == SMALL_CNN:  # also with another classifier, after --from
        backbone: nn.Module = SmallCNN(config.height, config.width)
    else:
        backbone = build_backbone(config.backbone, (config.height, config.width))
    try:
        load_state(backbone, safetensors.torch.load(content))
    except Exception as error:
        message = f"backbone.safetensors: not weights of {config.backbone}: {first_line(error)}"
        raise RunError(message) from error
    return backbone


def _load_estimator(content: bytes) -> Any:
    try:
        unknown = set(skops.io.get_untrusted_types(data=content)) - set(TRUSTED_TYPES)
        estimator = None if unknown else skops.io.loads(content, trusted=list(TRUSTED_TYPES))
    except Exception as error:
        raise RunError(f"estimator.skops: cannot be read: {error}") from error
    if unknown:
        raise RunError(f"estimator.skops: untrusted types: {', '.join(sorted(unknown))}")
    return estimator
