"""Images of 12 megapixels that are drawn like those from a camera."""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

IMAGES = 8
WIDTH, HEIGHT = 4000, 3000

GRAIN = 2.0
"""Standard deviation of the noise of the sensor, of pixel values from 0 to 255."""


def draw_large_image(seed: int) -> Image.Image:
    """Draw an image: smooth noise at several scales, shapes with edges, and grain.

    Args:
        seed: Seed of the random generator; each gives another image.
    """
    rng = np.random.default_rng(seed)
    pixels = np.full((HEIGHT, WIDTH, 3), 20, np.float32)
    for cell, strength in ((1000, 110), (100, 50), (20, 25)):
        noise = rng.integers(0, 256, (HEIGHT // cell, WIDTH // cell, 3), dtype=np.uint8)
        smooth = Image.fromarray(noise).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
        pixels += np.asarray(smooth) * np.float32(strength / 255)
    image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    pen = ImageDraw.Draw(image)
    for _ in range(60):
        x, y = int(rng.integers(WIDTH)), int(rng.integers(HEIGHT))
        width, height = rng.integers(20, 700, 2).tolist()
        color = tuple(rng.integers(0, 256, 3).tolist())
        shape = (pen.rectangle, pen.ellipse)[int(rng.integers(2))]
        shape((x, y, x + width, y + height), fill=color)
    # A lens has no sharper edges.
    blurred = np.asarray(image.filter(ImageFilter.GaussianBlur(1)), np.float32)
    grain = rng.standard_normal((HEIGHT, WIDTH, 1), np.float32) * np.float32(GRAIN)
    return Image.fromarray((blurred + grain).clip(0, 255).astype(np.uint8))
