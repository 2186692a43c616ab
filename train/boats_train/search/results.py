"""Result of a candidate, stored in the folder of the search as soon as a step is finished."""

import hashlib
import json
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from boats_runtime.files import write_atomic
from boats_train.search.candidates import Architecture
from boats_train.search.exported import Latency
from boats_train.search.frontier import Accuracy
from boats_train.svm.grid_search import Candidate

SCHEMA_VERSION = 1

Value = TypeVar("Value")


@dataclass(frozen=True)
class CandidateResult:
    """What is known of a candidate. Values are None until their step is finished.

    Attributes:
        architecture: Backbone, weights and size.
        precision: `fp32` or `int8`.
        screening: Accuracy on a subset of the images; fp32 only.
        finalists: Hyperparameters that were best on the subset.
        cross_validation: Accuracy on all images.
        hyperparameters: Those of the cross-validation.
        megabytes: Size of the exported file in 10^6 bytes.
        latency: Latency of the exported file.
        stopped: Why the candidate was stopped; empty if it was not. Not stored.
    """

    architecture: Architecture
    precision: str
    screening: Accuracy | None = None
    finalists: tuple[Candidate, ...] = ()
    cross_validation: Accuracy | None = None
    hyperparameters: Candidate | None = None
    file_megabytes: float | None = None
    latency: Latency | None = None
    stopped: str = field(default="", compare=False)

    @property
    def name(self) -> str:
        """Name in messages."""
        return f"{self.architecture.name} {self.precision}"

    @property
    def is_finished(self) -> bool:
        """Whether accuracy, latency and file size are known."""
        values = (self.cross_validation, self.latency, self.file_megabytes)
        return not self.stopped and all(value is not None for value in values)

    @property
    def accuracy(self) -> Accuracy:
        """Accuracy on all images, of a candidate that has it."""
        return _require(self.cross_validation)

    @property
    def latency_ms(self) -> float:
        """Latency in milliseconds, of a finished candidate."""
        return _require(self.latency).total_ms

    @property
    def megabytes(self) -> float:
        """Size of the file in 10^6 bytes, of a finished candidate."""
        return _require(self.file_megabytes)

    def to_json(self) -> dict[str, Any]:
        """Return the attributes as JSON values."""
        architecture = self.architecture
        height, width = architecture.size
        return {
            "backbone": architecture.backbone,
            "weights": Path(architecture.weights).name,
            "height": height,
            "width": width,
            "precision": self.precision,
            "multiply_adds": architecture.multiply_adds,
            "screening": self.screening and self.screening.to_json(),
            "finalists": [candidate.to_json() for candidate in self.finalists],
            "cross_validation": self.cross_validation and self.cross_validation.to_json(),
            "hyperparameters": self.hyperparameters and self.hyperparameters.to_json(),
            "mb": self.file_megabytes,
            "latency": self.latency and self.latency.to_json(),
            "stopped": self.stopped or None,
        }


class ResultStore:
    """Results of candidates in a folder, one JSON file each, beside their exported files.

    Args:
        folder: Folder of the candidates; it exists.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get_file(self, result: CandidateResult) -> Path:
        """Return the path of the exported file of a candidate."""
        return self._folder / f"{self._make_name(result)}.onnx"

    def load(self, architecture: Architecture, precision: str) -> CandidateResult:
        """Return the stored result of a candidate, or a new one."""
        result = CandidateResult(architecture, precision)
        path = self._get_path(result)
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            if values.pop("schema_version") != SCHEMA_VERSION:
                return result
            stored = _from_json(result, values)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return result
        if stored.file_megabytes is not None and not self.get_file(result).is_file():
            return replace(stored, file_megabytes=None, latency=None)
        return stored

    def save(self, result: CandidateResult) -> None:
        """Store a result.

        Raises:
            OutputError: If it cannot be written.
        """
        content = {"schema_version": SCHEMA_VERSION} | replace(result, stopped="").to_json()
        write_atomic(self._get_path(result), (json.dumps(content, indent=2) + "\n").encode())

    def _get_path(self, result: CandidateResult) -> Path:
        return self._folder / f"{self._make_name(result)}.json"

    def _make_name(self, result: CandidateResult) -> str:
        """Return a file name with a digest of the backbone and the content of its weights."""
        architecture = result.architecture
        identity = [architecture.backbone, architecture.weights]
        path = Path(architecture.weights)
        if path.is_file():
            with path.open("rb") as stream:
                identity[1] = hashlib.file_digest(stream, "sha256").hexdigest()
        digest = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:8]
        readable = re.sub(r"[^\w.]+", "-", architecture.backbone)
        height, width = architecture.size
        return f"{readable}-{height}x{width}-{result.precision}-{digest}"


def _from_json(result: CandidateResult, values: dict[str, Any]) -> CandidateResult:
    def read(key: str, kind: Any) -> Any:
        return None if values[key] is None else kind.from_json(values[key])

    return replace(
        result,
        screening=read("screening", Accuracy),
        finalists=tuple(Candidate.from_json(item) for item in values["finalists"]),
        cross_validation=read("cross_validation", Accuracy),
        hyperparameters=read("hyperparameters", Candidate),
        file_megabytes=values["mb"],
        latency=read("latency", Latency),
    )


def _require(value: Value | None) -> Value:
    if value is None:
        raise AssertionError("this step of the candidate is not finished")
    return value
