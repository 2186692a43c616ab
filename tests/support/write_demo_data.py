"""Write a few demo images.

Usage: python write_demo_data.py FOLDER

Exits with 7 and prints the message if the folder cannot be written.
"""

import sys
from pathlib import Path

from boats_data.synthetic import write_demo_data
from boats_runtime.errors import OutputError

try:
    write_demo_data(Path(sys.argv[1]), 0, {"water": (2, 1, 1)})
except OutputError as error:
    print(error)
    sys.exit(7)
