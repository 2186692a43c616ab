"""What an exported file says of itself: JSON values under `boats.` in its metadata.

The file is enough by itself: labels, preprocessing and provenance travel in it. `names`, `imgsz`
and `task` stand beside them for the tools that look for those keys.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from boats_runtime.errors import ModelError
from boats_runtime.preprocess import Preprocessing

SCHEMA_VERSION = 1

_PREFIX = "boats."


@dataclass(frozen=True)
class ModelMetadata:
    """The metadata of an exported model.

    Attributes:
        labels: Class names in the order of the probabilities, at least two, all different.
        preprocessing: How a photo becomes the input.
        provenance: Where the model comes from: configuration, metrics, proof of parity, versions.
            JSON values only.

    Raises:
        ModelError: The labels are not at least two different names.
    """

    labels: tuple[str, ...]
    preprocessing: Preprocessing
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        named = all(isinstance(label, str) and label for label in self.labels)
        if len(self.labels) < 2 or not named or len(set(self.labels)) != len(self.labels):
            raise ModelError("metadata: labels must be at least two different names")

    def to_properties(self) -> dict[str, str]:
        """Returns the metadata as the string properties of an ONNX model."""
        size = [self.preprocessing.height, self.preprocessing.width]
        values = {
            "schema_version": SCHEMA_VERSION,
            "labels": list(self.labels),
            "preprocessing": asdict(self.preprocessing),
            "provenance": dict(self.provenance),
        }
        return {
            _PREFIX + key: json.dumps(value, sort_keys=True) for key, value in values.items()
        } | {
            "names": repr(dict(enumerate(self.labels))),
            "imgsz": repr(size),
            "task": "classify",
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
        if not isinstance(labels, list) or not isinstance(provenance, dict):
            raise ModelError("metadata: labels or provenance are malformed")
        preprocessing = Preprocessing.from_json(_read(properties, "preprocessing"))
        return cls(tuple(labels), preprocessing, provenance)


def _read(properties: Mapping[str, str], key: str) -> object:
    name = _PREFIX + key
    if name not in properties:
        raise ModelError(f"no {name} in its metadata: export it with boats-export")
    try:
        value: object = json.loads(properties[name])
    except (ValueError, RecursionError) as error:
        raise ModelError(f"metadata: {name} is not JSON: {error}") from error
    return value
