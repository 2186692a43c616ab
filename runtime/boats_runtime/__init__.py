"""Light runtime of boats: classify images with an exported model on ONNX Runtime.

Importing this package is cheap: NumPy, Pillow and ONNX Runtime are imported on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from boats_runtime.classifier import Classifier
    from boats_runtime.prediction import Failure, Prediction, Score

__all__ = ["Classifier", "Failure", "Prediction", "Score", "__version__"]

__version__ = "0.2.0"


def __getattr__(name: str) -> object:
    if name == "Classifier":
        return import_module("boats_runtime.classifier").Classifier
    if name in ("Failure", "Prediction", "Score"):
        return getattr(import_module("boats_runtime.prediction"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
