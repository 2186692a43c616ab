"""Classify an image with NumPy, Pillow and ONNX Runtime alone, as a reference for the start time.

python predict_bare.py MODEL IMAGE THREADS
"""

import sys

import numpy as np
import onnxruntime
from PIL import Image

model, path, threads = sys.argv[1:]
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = int(threads)
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
with Image.open(path) as image:
    pixels = np.asarray(image.convert("RGB").resize((800, 240), Image.Resampling.BILINEAR))
print(session.run(["label"], {"image": pixels[None]})[0])
