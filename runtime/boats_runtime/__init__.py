"""Light runtime of boats: photo in, label and score out, on ONNX Runtime.

Importing this package costs nothing: NumPy, Pillow and ONNX Runtime are imported by the modules
that use them, when they are first used.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from boats_runtime.classifier import Classifier, Prediction, Score

__all__ = ["Classifier", "Prediction", "Score", "__version__"]

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    if name in ("Classifier", "Prediction", "Score"):
        from boats_runtime import classifier  # noqa: PLC0415

        return getattr(classifier, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
