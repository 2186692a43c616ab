from typing import Any

import numpy as np
import pytest

import large_images
from suite.large_image_runtimes import INT8, INT8_VERSION_1, OPENCV, TORCH
from suite.large_images import HEIGHT, WIDTH, draw_large_image


def make_row(images_per_second: float, speedup: float) -> dict[str, Any]:
    return {
        "images_per_second": images_per_second,
        "boats_times_faster": [speedup, speedup - 0.1, speedup + 0.1],
    }


@pytest.mark.parametrize(
    ("speedups", "missed"),
    [
        ({INT8_VERSION_1: 2.6, OPENCV: 1.1, TORCH: 4.0}, []),
        ({INT8_VERSION_1: 2.4}, [f"{INT8}: 2.40 times as fast as {INT8_VERSION_1}, not 2.5"]),
        ({OPENCV: 0.9}, [f"{INT8}: 0.90 times as fast as {OPENCV}, not 1.0"]),
    ],
)
def test_find_missed_targets__ratios(speedups: dict[str, float], missed: list[str]) -> None:
    rows = {name: make_row(10.0, speedup) for name, speedup in speedups.items()}
    assert large_images.find_missed_targets(rows | {INT8: make_row(40.0, 1.0)}) == missed


def test_to_markdown__fastest_first() -> None:
    rows = {OPENCV: make_row(16.0, 2.5), INT8: make_row(40.0, 1.0)}
    lines = large_images.to_markdown(rows, "network", ["X is not installed"]).splitlines()
    assert lines[2] == f"| {INT8} | 40.0 | 1.00 (0.90 to 1.10) |"
    assert lines[3] == f"| {OPENCV} | 16.0 | 2.50 (2.40 to 2.60) |"
    assert lines[-1] == "X is not installed."


def test_draw_large_image__twelve_megapixels() -> None:
    image = draw_large_image(0)
    assert image.size == (WIDTH, HEIGHT)
    assert image.mode == "RGB"
    assert 30 < float(np.asarray(image, np.float32).std()) < 90
