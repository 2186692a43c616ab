import os
import signal
import stat
import subprocess
from pathlib import Path

import pytest

from boats_data.fetch import fetch as fetch_module
from boats_data.fetch.fetch import fetch_data
from boats_runtime.errors import DataError, OutputError, UsageError
from support.archives import FILES, HOSTILE, INTACT, make_zip, write_manifest
from support.process import BIN
from support.servers import Answer, ScriptedServer

ALTERED = make_zip(FILES | {"valid/Water/2.jpg": b"other"})


class Place:
    """An empty folder for a dataset, the manifest of the dataset, and the lines logged."""

    def __init__(self, root: Path) -> None:
        self.root = root / "place"
        self.root.mkdir()
        self.folder = self.root / "data"
        self.manifest = write_manifest(root / "files.sha256")
        self.lines: list[str] = []

    def fetch(self, url: str | None = None, archive: Path | None = None) -> str:
        return fetch_data(self.folder, self.lines.append, url, archive, self.manifest)

    def is_complete(self) -> bool:
        paths = (path for path in self.folder.rglob("*") if path.is_file())
        found = {path.relative_to(self.folder).as_posix(): path.read_bytes() for path in paths}
        return found == FILES and list(self.root.iterdir()) == [self.folder]

    def is_empty(self) -> bool:
        return list(self.root.iterdir()) == []


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.mark.parametrize("kind", INTACT)
def test_fetch_data__intact_archive(place: Place, server: ScriptedServer, kind: str) -> None:
    line = place.fetch(server.add("/archive", INTACT[kind]))
    assert line == f"{place.folder}: 18 images, all verified"
    assert place.is_complete()
    assert stat.S_IMODE(place.folder.stat().st_mode) & 0o500 == 0o500
    assert ("skipped 1 other files of the archive" in place.lines) == ("nested" in kind)


@pytest.mark.parametrize("exists", [True, False])
def test_fetch_data__new_or_empty_folder(
    place: Place, server: ScriptedServer, exists: bool
) -> None:
    place.root /= "parent"
    place.folder = place.root / "data"
    if exists:
        place.folder.mkdir(parents=True)
    place.fetch(server.add("/archive", INTACT["zip"]))
    assert place.is_complete()


def test_fetch_data__complete_folder_is_not_downloaded(
    place: Place, server: ScriptedServer
) -> None:
    url = server.add("/archive", INTACT["zip"])
    place.fetch(url)
    (place.folder / ".DS_Store").write_bytes(b"desktop file")
    assert place.fetch(url).endswith("already contains the 18 images, all verified")
    assert server.requests == ["/archive"]


@pytest.mark.parametrize("content", ["other", "altered", "missing", "extra", "file", "link"])
def test_fetch_data__other_content_is_kept(
    place: Place, server: ScriptedServer, content: str
) -> None:
    url = server.add("/archive", INTACT["zip"])
    image = place.folder / "train/Gondola/0.jpg"
    if content in ("altered", "missing", "extra"):
        place.fetch(url)
    if content == "missing":
        image.unlink()
    elif content == "altered":
        image.write_bytes(b"user data")
    elif content == "extra":
        image.with_name("new.jpg").write_bytes(b"user data")
    elif content == "other":
        place.folder.mkdir()
        (place.folder / "thesis.txt").write_text("user data")
    elif content == "file":
        place.folder.write_text("user data")
    else:
        place.folder.symlink_to("nowhere")
    requests = len(server.requests)
    before = sorted(place.root.rglob("*"))
    with pytest.raises(UsageError, match=r"data: exists and is not"):
        place.fetch(url)
    assert sorted(place.root.rglob("*")) == before
    assert len(server.requests) == requests


def test_fetch_data__from_a_file(place: Place, tmp_path: Path) -> None:
    archive = tmp_path / "archive.zip"
    archive.write_bytes(INTACT["nested zip"])
    place.fetch(archive=archive)
    assert place.is_complete()
    assert archive.read_bytes() == INTACT["nested zip"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (ALTERED, r"of the 18 files 1 altered \(for example valid/Water/2.jpg\)"),
        (
            make_zip({name: FILES[name] for name in FILES if "test" not in name}),
            r"6 missing \(for example test/Gondola/0.jpg\)",
        ),
        (make_zip({"cats/1.jpg": b"cat"}), "contains none of the 18 files"),
        (HOSTILE["zip link"], "refused: the archive has a link"),
    ],
    ids=["altered", "missing", "other", "hostile"],
)
def test_fetch_data__archive_with_other_files_changes_nothing(
    place: Place, tmp_path: Path, content: bytes, message: str
) -> None:
    archive = tmp_path / "archive.zip"
    archive.write_bytes(content)
    with pytest.raises(DataError, match=rf"archive\.zip: .*{message}.*nothing was written"):
        place.fetch(archive=archive)
    assert place.is_empty()


@pytest.mark.parametrize("kind", INTACT)
def test_fetch_data__changed_byte_is_refused_or_harmless(
    place: Place, tmp_path: Path, kind: str
) -> None:
    archive = tmp_path / "archive"
    refused = 0
    for position in range(0, len(INTACT[kind]), len(INTACT[kind]) // 50):
        content = bytearray(INTACT[kind])
        content[position] ^= 0x11
        archive.write_bytes(content)
        try:
            place.fetch(archive=archive)
        except DataError:
            assert place.is_empty()
            refused += 1
        else:
            assert place.is_complete()
            place.folder.rename(tmp_path / f"intact{position}")
    assert refused > 10


def test_fetch_data__tries_the_sources_in_order(
    place: Place, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.add("/hostile", HOSTILE["zip ../evil"])
    server.add("/altered", ALTERED)
    server.add("/intact", INTACT["zip"])
    paths = ("/missing", "/hostile", "/altered", "/intact", "/unused")
    monkeypatch.setattr(fetch_module, "SOURCES", tuple(server.url(path) for path in paths))
    place.fetch()
    assert place.is_complete()
    assert server.requests == ["/missing", "/hostile", "/altered", "/intact"]
    assert "the server answered 404 Not Found; trying the next source" in place.lines


def test_fetch_data__all_sources_fail(
    place: Place, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    urls = (server.url("/missing"), server.add("/page", b"<html>"))
    monkeypatch.setattr(fetch_module, "SOURCES", urls)
    with pytest.raises(DataError, match=r"--url.*--archive FILE") as caught:
        place.fetch()
    assert f"{urls[0]}: the server answered 404" in str(caught.value)
    assert f"{urls[1]}: not a zip" in str(caught.value)
    assert place.is_empty()


@pytest.mark.parametrize(
    ("url", "archive", "message"),
    [
        ("ftp://host/a.zip", None, "--url ftp://host/a.zip: must start with"),
        ("file:///a.zip", None, "--url file:///a.zip: must start with"),
        ("", None, "--url : must start with"),
        ("http://host/", Path("a.zip"), "--url and --archive: pass only one"),
        (None, Path("missing"), "--archive missing: file does not exist"),
    ],
)
def test_fetch_data__wrong_source(
    place: Place, url: str | None, archive: Path | None, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        place.fetch(url, archive)
    assert place.is_empty()


def test_fetch_data__place_cannot_be_written(place: Place, server: ScriptedServer) -> None:
    (place.root / "file").write_text("")
    place.folder = place.root / "file" / "data"
    with pytest.raises(OutputError, match=r"file.*nothing was fetched"):
        place.fetch(server.add("/archive", INTACT["zip"]))
    assert server.requests == []


def test_fetch_data__interrupt_leaves_nothing(place: Place, server: ScriptedServer) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # inherited by the child process
    url = server.add("/archive", Answer(INTACT["zip"][:1000], length=10_000, hang=True))
    command = [BIN / "boats-data", "fetch", place.folder, "--url", url]
    with subprocess.Popen(
        [*command, "--manifest", place.manifest],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env=os.environ | {"NO_PROXY": "127.0.0.1"},
    ) as process:
        assert server.hanging.wait(60)
        assert len(list(place.root.glob(".data-*"))) == 1
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (130, "")
    assert errors.splitlines()[-1] == "boats-data: interrupted"
    assert "Traceback" not in errors
    assert place.is_empty()
