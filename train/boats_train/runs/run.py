"""A run folder: everything a training made, and the one way to write and to read it back.

config.json           the resolved configuration, class names and preprocessing
metrics.json          each split's accuracy, macro-F1 and classes; photos that were skipped
versions.json         Python and library versions
backbone.safetensors  the backbone's weights
estimator.skops       the fitted estimator
digests.json          SHA-256 of each of these files
"""

import hashlib
import json
import os
import platform
import shutil
import tempfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import nn

from boats_runtime.errors import ModelError, OutputError, RunError, UsageError
from boats_runtime.preprocessing import Preprocessing
from boats_train.models.backbone import build_backbone, load_state
from boats_train.models.feature_network import FeatureNetwork
from boats_train.models.small_cnn import SmallCnn
from boats_train.runs.config import TrainConfig

with warnings.catch_warnings():
    # skops looks into every module that is loaded, and PyTorch warns of its own old attributes.
    warnings.simplefilter("ignore")
    import skops.io

SCHEMA_VERSION = 1
LATEST = "latest"

TRUSTED_TYPES = (
    "boats_train.models.calibrated_svc.CalibratedSVC",
    "boats_train.calibration.CalibratedSvm",
)
"""Types an estimator may hold beyond skops' own list: plain containers of arrays, reviewed."""

_FILES = (
    "config.json",
    "metrics.json",
    "versions.json",
    "backbone.safetensors",
    "estimator.skops",
)
_LIBRARIES = ("boats", "numpy", "pillow", "scikit-learn", "skops", "torch", "torchvision")


@dataclass(frozen=True)
class Run:
    """A trained model in memory.

    Attributes:
        config: What it was trained with.
        classes: Class names in the order of the probabilities.
        preprocessing: Makes the network's input.
        network: The feature network.
        estimator: Fitted scikit-learn estimator from features to probabilities.
        metrics: The recorded metrics, JSON values.
        versions: Python and library versions at training.
    """

    config: TrainConfig
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    network: FeatureNetwork
    estimator: Any
    metrics: Mapping[str, Any]
    versions: Mapping[str, str]


def library_versions() -> dict[str, str]:
    """Returns the versions of Python and of the libraries that shape a run."""
    return {"python": platform.python_version()} | {name: version(name) for name in _LIBRARIES}


def write_run(
    run: Run, parent: Path, name: str, illustrate: Callable[[Path], None] = lambda _: None
) -> Path:
    """Writes a run folder whole or not at all, and points `latest` at it.

    Args:
        run: What to write.
        parent: The folder of runs; made when missing.
        name: The new folder's name; a number is added when it is taken.
        illustrate: Puts pictures and curves into the folder before it appears.

    Returns:
        The new folder.

    Raises:
        OutputError: The place can't be written, or the disk is full.
    """
    check_place(parent)
    try:
        parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=".writing-", dir=parent))
        try:
            _write_files(run, scratch)
            illustrate(scratch)
            folder = _claim(scratch, parent, name)
        except BaseException:
            shutil.rmtree(scratch, ignore_errors=True)
            raise
        link = parent / f".{LATEST}-{os.getpid()}"
        link.symlink_to(folder.name)
        link.replace(parent / LATEST)
    except OSError as error:
        raise OutputError(f"{parent}: the run can't be written: {error.strerror}") from error
    return folder


def check_place(parent: Path) -> None:
    """Checks, before long work, that a run can be written into this folder of runs.

    Raises:
        OutputError: It can't.
    """
    latest = parent / LATEST
    if latest.exists() and not latest.is_symlink():
        raise OutputError(f"{latest}: is in the way of the link to the newest run; rename it")
    try:
        there = next(place for place in (parent, *parent.parents) if place.exists())
        Path(tempfile.mkdtemp(prefix=".writing-", dir=there)).rmdir()
    except OSError as error:
        raise OutputError(f"{parent}: the run can't be written: {error.strerror}") from error


def load_run(folder: Path) -> Run:
    """Reads a run folder; no code in it is run.

    Raises:
        RunError: It is missing, incomplete, altered, of a newer schema, or not a run.
    """
    if not (folder / "config.json").is_file():
        raise RunError(f"{folder}: no run here; train one with boats-train or name its folder")
    try:
        return _read(folder)
    except (RunError, ModelError, UsageError) as error:
        raise RunError(f"{folder}: {error}") from error
    except OSError as error:
        raise RunError(f"{error.filename or folder}: {error.strerror or error}") from error


def read_config(folder: Path) -> TrainConfig:
    """Reads the configuration of a run, without its network.

    Raises:
        RunError: It is missing or malformed.
    """
    if not (folder / "config.json").is_file():
        raise RunError(f"{folder}: no run here; train one with boats-train or name its folder")
    try:
        content = _from_json("config.json", _read_file(folder, "config.json"))
        return TrainConfig.from_json(content.get("config"))
    except RunError as error:
        raise RunError(f"{folder}: {error}") from error


def _write_files(run: Run, folder: Path) -> None:
    config = {
        "schema_version": SCHEMA_VERSION,
        "config": run.config.to_json(),
        "classes": list(run.classes),
        "preprocessing": asdict(run.preprocessing),
    }
    state = {key: value.contiguous() for key, value in run.network.backbone.state_dict().items()}
    contents = {
        "config.json": _to_json(config),
        "metrics.json": _to_json(run.metrics),
        "versions.json": _to_json(run.versions),
        "backbone.safetensors": safetensors.torch.save(state),
        "estimator.skops": skops.io.dumps(run.estimator),
    }
    contents["digests.json"] = _to_json(
        {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    )
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    folder.chmod(0o755)  # a temporary folder is its maker's alone


def _claim(scratch: Path, parent: Path, name: str) -> Path:
    """Renames the finished folder to the first free name."""
    number = 1
    while True:
        folder = parent / (name if number == 1 else f"{name}-{number}")
        try:
            return scratch.rename(folder)
        except OSError:  # taken, perhaps by another training a moment ago
            if not folder.exists():
                raise
        number += 1


def _to_json(value: object) -> bytes:
    return (json.dumps(value, indent=2, sort_keys=True) + "\n").encode()


def _read(folder: Path) -> Run:
    contents = {name: _read_file(folder, name) for name in (*_FILES, "digests.json")}
    digests = _from_json("digests.json", contents["digests.json"])
    for name in _FILES:
        if digests.get(name) != hashlib.sha256(contents[name]).hexdigest():
            raise RunError(f"{name} is not the file that training wrote; train again")
    config = _from_json("config.json", contents["config.json"])
    if config.get("schema_version") != SCHEMA_VERSION:
        raise RunError(
            f"schema {config.get('schema_version')!r}, this boats reads {SCHEMA_VERSION}: "
            "train again, or pip install --upgrade boats"
        )
    train_config = TrainConfig.from_json(config.get("config"))
    preprocessing = Preprocessing.from_json(config.get("preprocessing"))
    return Run(
        train_config,
        _classes(config.get("classes")),
        preprocessing,
        FeatureNetwork(
            _load_backbone(train_config, contents["backbone.safetensors"]), preprocessing
        ),
        _load_estimator(contents["estimator.skops"]),
        _from_json("metrics.json", contents["metrics.json"]),
        _from_json("versions.json", contents["versions.json"]),
    )


def _read_file(folder: Path, name: str) -> bytes:
    if not (folder / name).is_file():
        raise RunError(f"{name} is missing; the run is not whole, train again")
    return (folder / name).read_bytes()


def _from_json(name: str, content: bytes) -> dict[str, Any]:
    try:
        value = json.loads(content)
    except ValueError as error:
        raise RunError(f"{name} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise RunError(f"{name} is not a JSON object")
    return value


def _classes(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise RunError("config.json: classes is not a list of names")
    return tuple(value)


def _load_backbone(config: TrainConfig, content: bytes) -> nn.Module:
    if config.model == "cnn":
        backbone: nn.Module = SmallCnn(config.height, config.width)
    else:
        backbone = build_backbone(config.backbone)
    try:
        missing, unexpected = load_state(backbone, safetensors.torch.load(content))
    except Exception as error:
        reason = (str(error).splitlines() or [""])[-1].strip()
        raise RunError(f"backbone.safetensors is not of {config.backbone}: {reason}") from error
    if missing or unexpected:
        key = (missing or unexpected)[0]
        verb = "lacks" if missing else "has an unknown"
        raise RunError(f"backbone.safetensors is not of {config.backbone}: it {verb} {key}")
    return backbone


def _load_estimator(content: bytes) -> Any:
    try:
        unknown = set(skops.io.get_untrusted_types(data=content)) - set(TRUSTED_TYPES)
        if unknown:
            raise RunError(f"estimator.skops holds types not trusted: {', '.join(sorted(unknown))}")
        return skops.io.loads(content, trusted=list(TRUSTED_TYPES))
    except RunError:
        raise
    except Exception as error:
        raise RunError(f"estimator.skops can't be read: {error}") from error
