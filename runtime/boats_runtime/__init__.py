"""Light runtime of boats: classify images with an exported model on ONNX Runtime.

Importing this package is cheap: NumPy, Pillow and ONNX Runtime are imported on first use.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from boats_runtime.classifier import Classifier
    from boats_runtime.errors import BoatsError, ImageError
    from boats_runtime.prediction import Failure, Prediction, Score

__all__ = [
    "BoatsError", "Classifier", "Failure", "ImageError", "Prediction", "Score", "__version__",
]  # fmt: skip

__version__ = "0.2.0"

# Otherwise ONNX Runtime writes a device id to the home directory and sends events to its maker. It
# reads the variable when it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

_MODULES = {
    "BoatsError": "errors",
    "Classifier": "classifier",
    "Failure": "prediction",
    "ImageError": "errors",
    "Prediction": "prediction",
    "Score": "prediction",
}


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return getattr(import_module(f"boats_runtime.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
