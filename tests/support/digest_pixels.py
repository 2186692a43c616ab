"""Print digests of the network's inputs of many images: digest_pixels FOLDER_OF_JPEG_FILES.

The images are the same in every version of Pillow: PNG files of random sizes, and JPEG files from
the folder.
"""

import hashlib
import io
import json
import sys
from pathlib import Path

import numpy as np
import PIL
from PIL import Image

from boats_runtime.preprocessing import Preprocessing

IMAGES = 500


def digest(version: int, folder: Path) -> list[str]:
    """Return a digest for each image."""
    rng = np.random.default_rng(0)
    digests = []
    for height, width, needed_height, needed_width in rng.integers(1, 200, (IMAGES, 4)).tolist():
        stream = io.BytesIO()
        pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(stream, "PNG", compress_level=0)
        preprocessing = Preprocessing(needed_height, needed_width, version=version)
        digests.append(_hash(preprocessing.read(stream.getvalue()).tobytes()))
    for number, path in enumerate(sorted(folder.iterdir())):
        preprocessing = Preprocessing(20 + 5 * number, 100 - 5 * number, version=version)
        digests.append(_hash(preprocessing.read(path).tobytes()))
    return digests


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


if __name__ == "__main__":
    results = {version: digest(version, Path(sys.argv[1])) for version in (1, 2)}
    print(json.dumps({"pillow": PIL.__version__, "digests": results}))
