"""The same pixels in every version of Pillow, which resizes and decodes."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.encoded_images import encode_image, make_noise
from support.process import BIN, TESTS, run_module

VERSIONS = ("11.3.0", "12.3.0", "13.0.0")
UV = shutil.which("uv", path=f"{BIN}{os.pathsep}{os.environ['PATH']}")


@dataclass(frozen=True)
class Digests:
    """Digests of the pixels of the same images, by version of the preprocessing."""

    version_1: list[str]
    version_2: list[str]


def install_pillow(version: str, folder: Path) -> None:
    if UV is None:
        pytest.skip("uv is not installed: pip install uv")
    command = [UV, "pip", "install", "--quiet", "--python", sys.executable, "--no-deps"]
    command += ["--target", str(folder), f"pillow=={version}"]
    result = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    if result.returncode:
        pytest.skip(f"Pillow {version} cannot be installed: {result.stderr}")


@pytest.fixture(scope="module")
def digests(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Digests]:
    """The digests with each version of Pillow."""
    scratch = tmp_path_factory.mktemp("pillow")
    images = scratch / "images"
    images.mkdir()
    for number in range(10):
        image = make_noise(40, 30).resize((300 + 100 * number, 1000 - 80 * number))
        options = {"quality": 90, "progressive": number % 2 == 0, "subsampling": number % 3}
        (images / f"{number}.jpg").write_bytes(encode_image(image, "JPEG", **options))
    results = {}
    for version in VERSIONS:
        folder = scratch / version
        install_pillow(version, folder)
        path = f"{folder}{os.pathsep}{TESTS}"
        result = run_module("support.digest_pixels", images, env={"PYTHONPATH": path}, check=True)
        output = json.loads(result.stdout)
        assert output["pillow"] == version
        results[version] = Digests(output["digests"]["1"], output["digests"]["2"])
    return results


def test_read__same_pixels_in_every_version_of_pillow(digests: dict[str, Digests]) -> None:
    oldest = digests[VERSIONS[0]].version_2
    assert len(set(oldest)) > 500
    for version in VERSIONS[1:]:
        assert digests[version].version_2 == oldest


def test_read__version_1_depends_on_pillow(digests: dict[str, Digests]) -> None:
    # Otherwise the images do not show the difference between the versions of Pillow.
    before, after = (digests[version].version_1 for version in VERSIONS[1:])
    assert 0.1 < sum(map(str.__ne__, before, after)) / len(before) < 0.9
