"""Classify an image with PyTorch in float32, as a reference for the start time.

python predict_torch.py WEIGHTS IMAGE THREADS BACKBONE
"""

import sys

import numpy as np
import torch
import torchvision
from PIL import Image

weights, path, threads, backbone = sys.argv[1:]
torch.set_num_threads(int(threads))
network = getattr(torchvision.models, backbone)(num_classes=16)
network.load_state_dict(torch.load(weights, weights_only=True), strict=False)
network.eval()
with Image.open(path) as image:
    pixels = np.array(image.convert("RGB").resize((800, 240), Image.Resampling.BILINEAR))
with torch.inference_mode():
    batch = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
    mean, std = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])
    print(network((batch - mean[:, None, None]) / std[:, None, None]).argmax(1))
