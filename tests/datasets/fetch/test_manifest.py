from collections import Counter
from pathlib import Path

import pytest

from boats_data.fetch.manifest import describe_differences, read_manifest
from boats_runtime.errors import DataError

DIGEST = "0" * 64


def test_read_manifest__boats() -> None:
    names = [name.split("/") for name in read_manifest(None)]
    assert Counter(split for split, _, _ in names) == {"train": 3474, "valid": 395, "test": 1324}
    assert len({label for _, label, _ in names}) == 16


@pytest.mark.parametrize(
    "text",
    [
        "",
        "train/a/1.jpg\n",
        f"{DIGEST[:-1]}  train/a/1.jpg\n",
        f"{DIGEST}  train/a\n",
        f"{DIGEST}  other/a/1.jpg\n",
        f"{DIGEST}  train/../1.jpg\n",
        f"{DIGEST}  train//1.jpg\n",
        f"{DIGEST}  train/..\\a/1.jpg\n",
        f"{DIGEST}  train/a\\b/1.jpg\n",
        f"{DIGEST}  /train/a/1.jpg\n",
        f"{DIGEST}  train/a/b/1.jpg\n",
        f"{DIGEST}  train/a/1.jpg\n{DIGEST}  train/a/1.jpg\n",
    ],
)
def test_read_manifest__malformed(tmp_path: Path, text: str) -> None:
    path = tmp_path / "files.sha256"
    path.write_text(text)
    with pytest.raises(DataError, match=r"files\.sha256(, line \d)?: the manifest"):
        read_manifest(path)


def test_read_manifest__missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the manifest cannot be read"):
        read_manifest(tmp_path / "missing")


def test_describe_differences__names_each_kind(tmp_path: Path) -> None:
    (tmp_path / "train/a").mkdir(parents=True)
    for name in ("train/a/1.jpg", "more.txt", ".hidden"):
        (tmp_path / name).write_bytes(b"content")
    manifest = {"train/a/1.jpg": DIGEST, "train/a/2.jpg": DIGEST}
    assert describe_differences(manifest, tmp_path) == (
        "1 altered (for example train/a/1.jpg), 1 missing (for example train/a/2.jpg), "
        "1 unknown (for example more.txt)"
    )
