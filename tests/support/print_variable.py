"""Print an environment variable at the moment when ONNX Runtime is imported, or after the imports.

Usage: python print_variable.py VARIABLE MODULE
"""

import importlib
import os
import sys

variable, name = sys.argv[1:]
values = []


def record(event: str, arguments: tuple[object, ...]) -> None:
    """Remember the value when ONNX Runtime is imported."""
    if event == "import" and arguments[0] == "onnxruntime":
        values.append(os.environ.get(variable))


sys.addaudithook(record)
importlib.import_module(name)
print(values[0] if values else os.environ.get(variable))
