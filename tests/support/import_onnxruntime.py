"""Print the name of the imported ONNX Runtime, or the error of its import."""

from boats_runtime.errors import ProviderError
from boats_runtime.providers.wheels import import_onnxruntime

try:
    print(import_onnxruntime().__name__)
except ProviderError as error:
    print("ProviderError:", error)
