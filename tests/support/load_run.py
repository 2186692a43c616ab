"""Load a run.

Usage: python list_modules.py support.load_run:main RUN
"""

import sys
from pathlib import Path

from boats_train.runs.run import load_run


def main() -> None:
    """Load the run."""
    load_run(Path(sys.argv[1]))
