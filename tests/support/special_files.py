"""Files that are no regular files and have names of images."""

import contextlib
import os
import socket
import sys
from pathlib import Path

import pytest

KINDS = ("device", "fifo", "socket")


def make_special_file(path: Path, kind: str) -> Path:
    """Create a FIFO, a socket or a link to `/dev/zero` and return its path."""
    if sys.platform == "win32":
        pytest.skip("Windows has no such files")
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        # The path of a socket must be short.
        with socket.socket(socket.AF_UNIX) as server, contextlib.chdir(path.parent):
            server.bind(path.name)
    else:
        path.symlink_to("/dev/zero")
    return path


def make_special_files(folder: Path) -> list[str]:
    """Create one file of each kind and return their names, sorted."""
    return [make_special_file(folder / f"{kind}.jpg", kind).name for kind in KINDS]
