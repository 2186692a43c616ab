"""Metadata of an exported file: JSON values whose keys begin with `boats.`.

The file is self-contained: it has the labels, preprocessing, threshold and provenance, and a digest
of the whole file. `names`, `imgsz`, `task` (Ultralytics) and `Image.BitmapPixelFormat` (Windows ML)
are written for other tools that read these keys.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from boats_runtime.errors import ModelError
from boats_runtime.model.digest import PLACEHOLDER
from boats_runtime.preprocessing import Preprocessing
from boats_runtime.text import is_printable

SCHEMA_VERSION = 2
"""Newest schema. Files with version 1 of the preprocessing have schema 1, which older versions of
boats can read; they refuse schema 2 with the advice to install a newer boats."""

_PREFIX = "boats."


@dataclass(frozen=True)
class ModelMetadata:
    """Metadata of an exported model.

    Attributes:
        labels: Class names in the order of the probabilities, at least two, all different.
        preprocessing: Conversion of an image to the input.
        threshold: Score below which a prediction counts as unknown, 0 to 1; None if none was
            chosen.
        provenance: Configuration, dataset, metrics, proof and versions, as JSON values.
        digest: Digest of the file, see `boats_runtime.model.digest`; `PLACEHOLDER` before it is
            written.

    Raises:
        ModelError: If the labels are not at least two different printable names, or the threshold
            is out of its range.
    """

    labels: tuple[str, ...]
    preprocessing: Preprocessing
    threshold: float | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    digest: str = PLACEHOLDER

    def __post_init__(self) -> None:
        valid_names = all(isinstance(label, str) and label for label in self.labels)
        if len(self.labels) < 2 or not valid_names or len(set(self.labels)) != len(self.labels):
            raise ModelError("metadata: labels must be at least two different names")
        for label in self.labels:
            if not is_printable(label):
                raise ModelError(
                    f"metadata: the label {label} has a control character, a bidirectional "
                    "override or a byte that is not UTF-8: rename the class and train again"
                )
        if self.threshold is not None and not (
            type(self.threshold) in (int, float) and 0 <= self.threshold <= 1
        ):
            raise ModelError(f"metadata: threshold is {self.threshold!r}, expected 0 to 1")

    def to_properties(self) -> dict[str, str]:
        """Return the metadata as string properties of an ONNX model."""
        size = [self.preprocessing.height, self.preprocessing.width]
        values = {
            "schema_version": 1 if self.preprocessing.version == 1 else SCHEMA_VERSION,
            "labels": list(self.labels),
            "preprocessing": self.preprocessing.to_json(),
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
        """Restore the metadata from the properties of `to_properties`.

        Raises:
            ModelError: If the model is not from boats, has a newer schema, or a malformed value.
        """
        version = _read_value(properties, "schema_version")
        if type(version) is not int or version < 1:
            raise ModelError(f"metadata: schema_version is {version!r}")
        if version > SCHEMA_VERSION:
            raise ModelError(
                f"metadata has schema {version}, but this boats reads up to {SCHEMA_VERSION}: "
                "install a newer boats"
            )
        labels = _read_value(properties, "labels")
        provenance = _read_value(properties, "provenance")
        digest = _read_value(properties, "digest")
        if not (
            isinstance(labels, list) and isinstance(provenance, dict) and isinstance(digest, str)
        ):
            raise ModelError("metadata: labels, provenance or digest is malformed")
        threshold: Any = _read_value(properties, "threshold")
        preprocessing = Preprocessing.from_json(_read_value(properties, "preprocessing"))
        return cls(tuple(labels), preprocessing, threshold, provenance, digest)


def _read_value(properties: Mapping[str, str], key: str) -> object:
    name = _PREFIX + key
    if name not in properties:
        raise ModelError(f"no {name} in its metadata: export it with boats-export")
    try:
        value: object = json.loads(properties[name])
    except (ValueError, RecursionError) as error:
        raise ModelError(f"metadata: {name} is not JSON: {error}") from error
    return value
