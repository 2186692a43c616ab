"""What an exported file says of itself: JSON values under `boats.` in its metadata.

The file is enough by itself: labels, preprocessing, threshold and provenance travel in it, and a
digest of the whole file. `names`, `imgsz`, `task` (Ultralytics) and `Image.BitmapPixelFormat`
(Windows ML) stand beside them for the tools that look for those keys.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from boats_runtime.errors import ModelError
from boats_runtime.model.digest import PLACEHOLDER
from boats_runtime.preprocessing import Preprocessing

SCHEMA_VERSION = 1

_PREFIX = "boats."


@dataclass(frozen=True)
class ModelMetadata:
    """The metadata of an exported model.

    Attributes:
        labels: Class names in the order of the probabilities, at least two, all different.
        preprocessing: How a photo becomes the input.
        threshold: Scores below it are better called unknown, 0 to 1; None where none was chosen.
        provenance: Where the model comes from: configuration, data, metrics, proof, versions.
            JSON values only.
        digest: Of the file, see `boats_runtime.model.digest`; `PLACEHOLDER` before the file is written.

    Raises:
        ModelError: The labels are not at least two different names, or the threshold is no share.
    """  # noqa: E501

    labels: tuple[str, ...]
    preprocessing: Preprocessing
    threshold: float | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    digest: str = PLACEHOLDER

    def __post_init__(self) -> None:
        named = all(isinstance(label, str) and label for label in self.labels)
        if len(self.labels) < 2 or not named or len(set(self.labels)) != len(self.labels):
            raise ModelError("metadata: labels must be at least two different names")
        if self.threshold is not None and not (
            type(self.threshold) in (int, float) and 0 <= self.threshold <= 1
        ):
            raise ModelError(f"metadata: threshold is {self.threshold!r}, not 0 to 1")

    def to_properties(self) -> dict[str, str]:
        """Returns the metadata as the string properties of an ONNX model."""
        size = [self.preprocessing.height, self.preprocessing.width]
        values = {
            "schema_version": SCHEMA_VERSION,
            "labels": list(self.labels),
            "preprocessing": asdict(self.preprocessing),
            "threshold": self.threshold,
            "provenance": dict(self.provenance),
            "digest": self.digest,
        }
        return {
            _PREFIX + key: json.dumps(value, sort_keys=True) for key, value in values.items()
        } | {
            "names": repr(dict(enumerate(self.labels))),
            "imgsz": repr(size),
            "task": "classify",
            "Image.BitmapPixelFormat": "Rgb8",
        }

    @classmethod
    def from_properties(cls, properties: Mapping[str, str]) -> "ModelMetadata":
        """Reads the metadata back; the reverse of `to_properties`.

        Raises:
            ModelError: Not a model of boats, of a newer schema, or a value is malformed.
        """
        version = _read(properties, "schema_version")
        if type(version) is not int or version < 1:
            raise ModelError(f"metadata: schema_version is {version!r}")
        if version > SCHEMA_VERSION:
            raise ModelError(
                f"metadata of schema {version}, this boats reads up to {SCHEMA_VERSION}: "
                "pip install --upgrade boats"
            )
        labels = _read(properties, "labels")
        provenance = _read(properties, "provenance")
        digest = _read(properties, "digest")
        if not (
            isinstance(labels, list) and isinstance(provenance, dict) and isinstance(digest, str)
        ):
            raise ModelError("metadata: labels, provenance or digest are malformed")
        threshold: Any = _read(properties, "threshold")
        preprocessing = Preprocessing.from_json(_read(properties, "preprocessing"))
        return cls(tuple(labels), preprocessing, threshold, provenance, digest)


def _read(properties: Mapping[str, str], key: str) -> object:
    name = _PREFIX + key
    if name not in properties:
        raise ModelError(f"no {name} in its metadata: export it with boats-export")
    try:
        value: object = json.loads(properties[name])
    except (ValueError, RecursionError) as error:
        raise ModelError(f"metadata: {name} is not JSON: {error}") from error
    return value
