"""A model file's digest of itself, so that one changed byte is noticed.

The digest is the SHA-256 of the file with the digest itself written as zeros: it needs no ONNX
library, and holds for every byte.
"""

import hashlib
import re

from boats_runtime.errors import ModelError

PLACEHOLDER = "0" * 64
"""Stands for the digest while it is not known."""


def write_digest(content: bytes) -> bytes:
    """Writes the digest into a file that holds `PLACEHOLDER` once.

    Raises:
        ValueError: It does not hold it once.
    """
    if content.count(PLACEHOLDER.encode()) != 1:
        raise ValueError("the content holds its blank digest not once")
    digest = hashlib.sha256(content).hexdigest()
    return content.replace(PLACEHOLDER.encode(), digest.encode())


def verify_digest(content: bytes, digest: str) -> None:
    """Checks a file against the digest that it records.

    Args:
        content: The whole file.
        digest: What its metadata says.

    Raises:
        ModelError: The file is not the one that was exported.
    """
    mark = digest.encode() if re.fullmatch("[0-9a-f]{64}", digest) else b"\0"
    place = content.find(mark) if len(mark) == len(PLACEHOLDER) else -1
    actual = hashlib.sha256()
    if place >= 0 and content.find(mark, place + 1) < 0:
        view = memoryview(content)  # of a large file no second copy is made
        for part in (view[:place], PLACEHOLDER.encode(), view[place + len(mark) :]):
            actual.update(part)
    if actual.hexdigest() != digest:
        raise ModelError(
            "its content does not match its own digest: it was changed or damaged since its "
            "export; export it again"
        )
