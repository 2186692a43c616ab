"""The digest that a model file holds of itself, so that every changed byte is detected.

The digest is the SHA-256 of the file with `PLACEHOLDER` in place of the digest. It covers every
byte, and computing it needs no ONNX library.
"""

import hashlib
import re

from boats_runtime.errors import ModelError

PLACEHOLDER = "0" * 64
"""Text in place of the digest until the digest is known."""


def write_digest(content: bytes) -> bytes:
    """Return a file with its digest in place of the placeholder.

    Raises:
        ValueError: If the content does not have exactly one `PLACEHOLDER`.
    """
    if content.count(PLACEHOLDER.encode()) != 1:
        raise ValueError("expected exactly one digest placeholder")
    digest = hashlib.sha256(content).hexdigest()
    return content.replace(PLACEHOLDER.encode(), digest.encode())


def verify_digest(content: bytes, digest: str) -> None:
    """Check a file against the digest in its metadata.

    Args:
        content: Whole file.
        digest: Digest in the metadata, 64 hexadecimal digits.

    Raises:
        ModelError: If the file is not the one that was exported.
    """
    valid = re.fullmatch("[0-9a-f]{64}", digest)
    if not valid or _hash_with_placeholder(content, digest.encode()) != digest:
        raise ModelError(
            "the content does not match its digest: the file was changed or damaged after the "
            "export; export it again"
        )


def _hash_with_placeholder(content: bytes, digest: bytes) -> str:
    """Return the digest that the content should have; empty if it does not have exactly one."""
    start = content.find(digest)
    if start < 0 or content.find(digest, start + 1) >= 0:
        return ""
    view = memoryview(content)  # slices without a copy: files can be large
    result = hashlib.sha256(view[:start])
    result.update(PLACEHOLDER.encode())
    result.update(view[start + len(digest) :])
    return result.hexdigest()
