"""Small archives of a dataset, intact and hostile."""

import hashlib
import io
import stat
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

PREFIX = "repo-0123abc/Thursday/practical-part2/data/"
FILES = {
    f"{split}/{label}/{number}.jpg": f"{split} {label} {number} ".encode() * 500
    for split in ("train", "valid", "test")
    for label in ("Gondola", "Water")
    for number in range(3)
}
NESTED = {PREFIX + name: content for name, content in FILES.items()}


def write_manifest(path: Path) -> Path:
    """Write the manifest of the dataset and return its path."""
    lines = (f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in FILES.items())
    path.write_text("".join(lines))
    return path


def make_zip(files: dict[str, bytes], link: str = "") -> bytes:
    """Return a zip of files and optionally of a symbolic link with this name."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)
        if link:
            info = zipfile.ZipInfo(link)
            info.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(info, "/etc/passwd")
    return stream.getvalue()


def make_tar(
    files: dict[str, bytes], specials: Iterable[tarfile.TarInfo] = (), mode: str = "w:gz"
) -> bytes:
    """Return a tar of special members followed by files."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:
        for special in specials:
            archive.addfile(special)
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def make_special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    """Return a tar member that is a link or a device."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


INTACT = {
    "zip": make_zip(FILES),
    "nested zip": make_zip(NESTED | {"repo-0123abc/README.md": b"about"}),
    "tar": make_tar({f"./{name}": content for name, content in FILES.items()}, mode="w"),
    "nested tar.gz": make_tar(NESTED | {PREFIX + "train/Gondola/extra.jpg": b"extra"}),
}

_OUTSIDE = ("../evil", "a/../../evil", "/evil", "C:\\evil", "..\\evil")
HOSTILE = {
    **{f"zip {name}": make_zip(FILES | {name: b"x"}) for name in _OUTSIDE},
    **{f"tar {name}": make_tar(FILES | {name: b"x"}) for name in _OUTSIDE},
    "zip link": make_zip(FILES, link="train/link"),
    "tar link": make_tar(FILES, [make_special("train/link", tarfile.SYMTYPE, "/etc")]),
    "tar hard link": make_tar(
        FILES, [make_special("train/link", tarfile.LNKTYPE, "train/Water/0.jpg")]
    ),
    "tar device": make_tar(FILES, [make_special("train/null", tarfile.CHRTYPE)]),
    "tar pipe": make_tar(FILES, [make_special("train/pipe", tarfile.FIFOTYPE)]),
}
