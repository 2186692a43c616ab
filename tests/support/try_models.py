"""Classify a black image with each model of a folder, and print the outcome of each.

Usage: python try_models.py FOLDER
"""

import sys
from pathlib import Path

import numpy as np

from boats_runtime.classifier import Classifier
from boats_runtime.errors import BoatsError

for path in sorted(Path(sys.argv[1]).iterdir()):
    try:
        with Classifier(path, "cpu") as classifier:
            pixels = np.zeros((64, 160, 3), np.uint8)
            outcome = f"label {classifier.predict(pixels).label}"
    except BoatsError as error:
        outcome = f"{type(error).__name__} {error}"
    print(path.name, outcome.replace("\n", "<newline>"), flush=True)
