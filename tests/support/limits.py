"""Limits of this process."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def limit_file_size(size: int) -> Iterator[None]:
    """Make writing a file of more than `size` bytes fail, as on a full disk."""
    resource = pytest.importorskip("resource", reason="needs the limits of POSIX")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
