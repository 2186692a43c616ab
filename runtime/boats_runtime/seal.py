"""A model file's digest of itself, so that one changed byte is noticed.

The digest is the SHA-256 of the file with the digest itself written as zeros: it needs no ONNX
library, and holds for every byte.
"""

import hashlib
import re

from boats_runtime.errors import ModelError

BLANK = "0" * 64
"""Stands for the digest while it is not known."""


def seal(content: bytes) -> bytes:
    """Writes the digest into a file that holds `BLANK` once.

    Raises:
        ValueError: It does not hold it once.
    """
    if content.count(BLANK.encode()) != 1:
        raise ValueError("the content holds its blank digest not once")
    digest = hashlib.sha256(content).hexdigest()
    return content.replace(BLANK.encode(), digest.encode())


def check_seal(content: bytes, digest: str) -> None:
    """Checks a file against the digest that it records.

    Args:
        content: The whole file.
        digest: What its metadata says.

    Raises:
        ModelError: The file is not the one that was exported.
    """
    known = re.fullmatch("[0-9a-f]{64}", digest) and content.count(digest.encode()) == 1
    blank = content.replace(digest.encode(), BLANK.encode()) if known else b""
    if not known or hashlib.sha256(blank).hexdigest() != digest:
        raise ModelError(
            "its content does not match its own digest: it was changed or damaged since its "
            "export; export it again"
        )
