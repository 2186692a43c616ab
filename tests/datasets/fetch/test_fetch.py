import gzip
import hashlib
import io
import os
import signal
import stat
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from pathlib import Path
from types import SimpleNamespace

import pooch.core
import pytest

from boats_data.fetch import download
from boats_data.fetch import fetch as data_fetch
from boats_data.fetch.archive import Limits
from boats_data.fetch.fetch import SOURCES, fetch_data
from boats_data.fetch.manifest import boats_manifest, find_differences, read_manifest
from boats_runtime.errors import DataError, OutputError, UsageError

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it

PREFIX = "repo-0123abc/Thursday/practical-part2/data/"
FILES = {
    f"{split}/{label}/{number}.jpg": f"{split} {label} {number} ".encode() * 500
    for split in ("train", "valid", "test")
    for label in ("Gondola", "Water")
    for number in range(3)
}


class Site:
    """A server on loopback: each path answers in turn what it was given, the last one for ever."""

    def __init__(self) -> None:
        self.answers: dict[str, list[dict[str, object]]] = {}
        self.requests: list[str] = []
        self.hanging = threading.Event()
        self.done = threading.Event()
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.requests.append(self.path)
                site.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def add(
        self,
        path: str,
        body: bytes = b"",
        status: int = 200,
        length: int | None = None,
        location: str = "",
        hang: bool = False,
    ) -> str:
        answer = {
            "body": body, "status": status, "location": location, "hang": hang,
            "length": len(body) if length is None else length,
        }  # fmt: skip
        self.answers.setdefault(path, []).append(answer)
        return self.url(path)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server.server_port}{path}"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        answers = self.answers.get(handler.path)
        if not answers:
            handler.send_error(404)
            return
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        handler.send_response(answer["status"])
        if answer["location"]:
            handler.send_header("Location", answer["location"])
        handler.send_header("Content-Length", str(answer["length"]))
        handler.end_headers()
        handler.wfile.write(answer["body"])
        if answer["hang"]:
            handler.wfile.flush()
            self.hanging.set()
            self.done.wait(60)

    def close(self) -> None:
        self.done.set()
        self.server.shutdown()
        self.server.server_close()


class Place:
    """Where a data set is to be, its manifest, and what was said while it was fetched."""

    def __init__(self, root: Path) -> None:
        self.root = root / "place"
        self.root.mkdir()
        self.folder = self.root / "data"
        self.manifest = root / "files.sha256"
        self.manifest.write_text(
            "".join(f"{hashlib.sha256(body).hexdigest()}  {name}\n" for name, body in FILES.items())
        )
        self.lines: list[str] = []

    def fetch(self, url: str | None = None, **options: object) -> str:
        return fetch_data(
            self.folder, self.lines.append, url=url, manifest_file=self.manifest, **options
        )

    def holds_the_files(self) -> bool:
        found = {
            path.relative_to(self.folder).as_posix(): path.read_bytes()
            for path in self.folder.rglob("*")
            if path.is_file()
        }
        return found == FILES and list(self.root.iterdir()) == [self.folder]

    def is_untouched(self) -> bool:
        return list(self.root.iterdir()) == []


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.close()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(pooch.core, "time", SimpleNamespace(sleep=lambda _: None))
    return Place(tmp_path)


def zip_of(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in files.items():
            archive.writestr(zipfile.ZipInfo(name), body)
    return stream.getvalue()


def tar_of(files: dict[str, bytes], *others: tarfile.TarInfo, mode: str = "w:gz") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:
        for name, body in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))
        for other in others:
            archive.addfile(other)
    return stream.getvalue()


def nested(files: dict[str, bytes] = FILES) -> dict[str, bytes]:
    return {PREFIX + name: body for name, body in files.items()}


GOOD = {
    "zip": zip_of(FILES),
    "nested zip": zip_of(nested() | {"repo-0123abc/README.md": b"about"}),
    "tar": tar_of({f"./{name}": body for name, body in FILES.items()}, mode="w"),
    "nested tar.gz": tar_of(nested() | {PREFIX + "train/Gondola/extra.jpg": b"not of the set"}),
}


@pytest.mark.parametrize("kind", GOOD)
def test_fetch_data__good_archive_is_put_in_place(place: Place, site: Site, kind: str) -> None:
    line = place.fetch(site.add("/archive", GOOD[kind]))
    assert line == f"{place.folder}: 18 photos, each as it should be"
    assert place.holds_the_files()
    assert stat.S_IMODE(place.folder.stat().st_mode) & 0o500 == 0o500


def test_fetch_data__what_else_the_archive_holds_is_left_out(place: Place, site: Site) -> None:
    place.fetch(site.add("/archive", GOOD["nested tar.gz"]))
    assert "left out what else the archive holds, 1 files" in place.lines


def test_fetch_data__new_folders_are_made(place: Place, site: Site) -> None:
    place.folder = place.root / "deep" / "er" / "data"
    place.fetch(site.add("/archive", GOOD["zip"]))
    assert (place.folder / "train/Gondola/0.jpg").read_bytes() == FILES["train/Gondola/0.jpg"]


def test_fetch_data__empty_folder_is_filled(place: Place, site: Site) -> None:
    place.folder.mkdir()
    place.fetch(site.add("/archive", GOOD["zip"]))
    assert place.holds_the_files()


def test_fetch_data__twice_downloads_once(place: Place, site: Site) -> None:
    url = site.add("/archive", GOOD["zip"])
    place.fetch(url)
    (place.folder / ".DS_Store").write_bytes(b"a desktop's own")
    assert place.fetch(url).endswith("already there and as they should be")
    assert site.requests == ["/archive"]


@pytest.mark.parametrize("what", ["other", "altered", "missing", "extra", "file", "link"])
def test_fetch_data__anything_else_in_the_place_is_left_alone(
    place: Place, site: Site, what: str
) -> None:
    url = site.add("/archive", GOOD["zip"])
    if what in ("altered", "missing", "extra"):
        place.fetch(url)
        photo = place.folder / "train/Gondola/0.jpg"
        if what == "missing":
            photo.unlink()
        else:
            (photo if what == "altered" else photo.with_name("new.jpg")).write_bytes(b"mine")
    elif what == "other":
        place.folder.mkdir()
        (place.folder / "thesis.txt").write_text("mine")
    elif what == "file":
        place.folder.write_text("mine")
    else:
        place.folder.symlink_to("nowhere")
    requests = len(site.requests)
    before = sorted(path.relative_to(place.root) for path in place.root.rglob("*"))
    with pytest.raises(UsageError, match=r"data: is there, and is no"):
        place.fetch(url)
    assert sorted(path.relative_to(place.root) for path in place.root.rglob("*")) == before
    assert len(site.requests) == requests


def test_fetch_data__from_a_file_at_hand(place: Place, tmp_path: Path) -> None:
    archive = tmp_path / "by-hand.zip"
    archive.write_bytes(GOOD["nested zip"])
    place.fetch(archive=archive)
    assert place.holds_the_files()
    assert archive.read_bytes() == GOOD["nested zip"]


def test_fetch_data__tampered_file_at_hand_is_refused(place: Place, tmp_path: Path) -> None:
    archive = tmp_path / "by-hand.zip"
    archive.write_bytes(zip_of(FILES | {"valid/Water/2.jpg": b"other"}))
    with pytest.raises(DataError, match=r"by-hand\.zip: of the 18 files 1 altered"):
        place.fetch(archive=archive)
    assert place.is_untouched()


@pytest.mark.parametrize("kind", GOOD)
def test_fetch_data__truncated_download_is_tried_again(place: Place, site: Site, kind: str) -> None:
    half = GOOD[kind][: len(GOOD[kind]) // 2]
    site.add("/archive", half, length=len(GOOD[kind]))
    place.fetch(site.add("/archive", GOOD[kind]))
    assert place.holds_the_files()
    assert site.requests == ["/archive"] * 2
    assert "the connection broke off; attempt 2 of 3" in place.lines


def test_fetch_data__always_truncated_is_given_up(place: Place, site: Site) -> None:
    url = site.add("/archive", GOOD["zip"][:100], length=len(GOOD["zip"]))
    with pytest.raises(DataError, match=r"broke off \(3 attempts\).*--archive FILE"):
        place.fetch(url)
    assert place.is_untouched()
    assert len(site.requests) == 3


@pytest.mark.parametrize("kind", GOOD)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_fetch_data__truncated_archive_is_refused(
    place: Place, site: Site, kind: str, share: float
) -> None:
    url = site.add("/archive", GOOD[kind][: int(len(GOOD[kind]) * share)])
    with pytest.raises(DataError, match=r"damaged|of the 18 files|holds none"):
        place.fetch(url)
    assert place.is_untouched()


@pytest.mark.parametrize("kind", GOOD)
def test_fetch_data__one_changed_byte_anywhere_is_refused_or_harmless(
    place: Place, tmp_path: Path, kind: str
) -> None:
    archive = tmp_path / "archive"
    step = len(GOOD[kind]) // 50
    refused = 0
    for position in range(0, len(GOOD[kind]), step):
        content = bytearray(GOOD[kind])
        content[position] ^= 0x11
        archive.write_bytes(content)
        try:
            place.fetch(archive=archive)
        except DataError:
            assert place.is_untouched()
            refused += 1
        else:
            assert place.holds_the_files()
            place.folder.rename(tmp_path / f"good{position}")
    assert refused > 10


@pytest.mark.parametrize("pack", [zip_of, tar_of])
def test_fetch_data__one_tampered_file_refuses_all(place: Place, site: Site, pack: object) -> None:
    name = "valid/Water/1.jpg"
    body = bytearray(FILES[name])
    body[7] ^= 1
    url = site.add("/archive", pack(nested(FILES | {name: bytes(body)})))
    with pytest.raises(DataError, match=r"18 files 1 altered \(such as valid/Water/1.jpg\)"):
        place.fetch(url)
    assert place.is_untouched()


def test_fetch_data__a_missing_file_refuses_all(place: Place, site: Site) -> None:
    files = {name: body for name, body in FILES.items() if "test" not in name}
    with pytest.raises(DataError, match=r"6 missing \(such as test/Gondola/0.jpg\)"):
        place.fetch(site.add("/archive", zip_of(files)))
    assert place.is_untouched()


def test_fetch_data__other_data_is_refused(place: Place, site: Site) -> None:
    with pytest.raises(DataError, match="holds none of the 18 files"):
        place.fetch(site.add("/archive", zip_of({"cats/1.jpg": b"cat"})))
    assert place.is_untouched()


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def zip_with_link() -> bytes:
    stream = io.BytesIO(GOOD["zip"])
    with zipfile.ZipFile(stream, "a") as archive:
        info = zipfile.ZipInfo("train/link")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    return stream.getvalue()


HOSTILE = {
    "zip up": (zip_of(FILES | {"../evil": b"x"}), "path out of its folder, '../evil'"),
    "zip up inside": (zip_of(FILES | {"a/../../evil": b"x"}), "out of its folder"),
    "zip absolute": (zip_of(FILES | {"/evil": b"x"}), "out of its folder, '/evil'"),
    "zip drive": (zip_of(FILES | {"C:\\evil": b"x"}), "out of its folder"),
    "zip backslash": (zip_of(FILES | {"..\\evil": b"x"}), "out of its folder"),
    "zip link": (zip_with_link(), "has a link, 'train/link'"),
    "tar up": (tar_of(FILES | {"../evil": b"x"}), "out of its folder, '../evil'"),
    "tar absolute": (tar_of(FILES | {"/evil": b"x"}), "out of its folder, '/evil'"),
    "tar link": (tar_of(FILES, special("train/link", tarfile.SYMTYPE, "/etc")), "has a link"),
    "tar hard link": (
        tar_of(FILES, special("train/link", tarfile.LNKTYPE, "train/Water/0.jpg")),
        "has a link, 'train/link'",
    ),
    "tar device": (tar_of(FILES, special("train/null", tarfile.CHRTYPE)), "has a device"),
    "tar pipe": (tar_of(FILES, special("train/pipe", tarfile.FIFOTYPE)), "has a device"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_fetch_data__hostile_archive_is_refused_whole(
    place: Place, site: Site, tmp_path: Path, kind: str
) -> None:
    content, reason = HOSTILE[kind]
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DataError, match="refused: the archive") as caught:
        place.fetch(site.add("/archive", content))
    assert reason in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before
    assert not Path("/evil").exists()


def test_fetch_data__link_before_a_file_through_it_writes_nothing_outside(
    place: Place, site: Site, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        archive.addfile(special("train/Gondola", tarfile.SYMTYPE, str(outside)))
        for name, body in FILES.items():
            info = tarfile.TarInfo(name)
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))
    with pytest.raises(DataError, match="has a link"):
        place.fetch(site.add("/archive", stream.getvalue()))
    assert list(outside.iterdir()) == []
    assert place.is_untouched()


@pytest.mark.parametrize("pack", [zip_of, tar_of])
def test_fetch_data__bomb_is_refused_before_it_bursts(
    place: Place, site: Site, pack: object
) -> None:
    url = site.add("/archive", pack(FILES | {"zeros": b"\0" * 3_000_000}))
    with pytest.raises(DataError, match="unpacks to more than 1,000,000 bytes"):
        place.fetch(url, limits=Limits(unpacked=1_000_000))
    assert place.is_untouched()


def test_fetch_data__tar_that_claims_terabytes_is_refused_by_its_header(
    place: Place, site: Site
) -> None:
    huge = tarfile.TarInfo("train/Gondola/0.jpg")
    huge.size = 2**42
    url = site.add("/archive", gzip.compress(huge.tobuf() + b"\0" * 10_000))
    with pytest.raises(DataError, match="unpacks to more than 4,294,967,296 bytes"):
        place.fetch(url)
    assert place.is_untouched()


def test_fetch_data__tar_header_that_fills_the_memory_is_refused(place: Place, site: Site) -> None:
    header = tarfile.TarInfo("header")
    header.type, header.size = tarfile.XHDTYPE, 2**25
    url = site.add("/archive", gzip.compress(header.tobuf() + b"\0" * 2**25))
    with pytest.raises(DataError, match="header of absurd size"):
        place.fetch(url)
    assert place.is_untouched()


@pytest.mark.parametrize("pack", [zip_of, tar_of])
def test_fetch_data__too_many_members_are_refused(place: Place, site: Site, pack: object) -> None:
    url = site.add("/archive", pack(FILES))
    with pytest.raises(DataError, match="more than 17 members"):
        place.fetch(url, limits=Limits(members=17))
    assert place.is_untouched()
    place.fetch(url, limits=Limits(members=18))
    assert place.holds_the_files()


def test_fetch_data__endless_download_is_given_up(
    place: Place, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "MAX_BYTES", 1000)
    with pytest.raises(DataError, match="larger than 1,000 bytes"):
        place.fetch(site.add("/archive", GOOD["zip"]))
    assert place.is_untouched()
    assert len(site.requests) == 1


def test_fetch_data__web_page_instead_of_an_archive(place: Place, site: Site) -> None:
    with pytest.raises(DataError, match="but a web page"):
        place.fetch(site.add("/archive", b"\n<!doctype html><html>Sign in</html>"))
    assert place.is_untouched()


def test_fetch_data__not_found_is_not_asked_again(place: Place, site: Site) -> None:
    with pytest.raises(DataError, match=r"/gone: the server answered 404 Not Found\. Try again"):
        place.fetch(site.url("/gone"))
    assert site.requests == ["/gone"]
    assert place.is_untouched()


@pytest.mark.parametrize("status", [429, 503])
def test_fetch_data__busy_server_is_asked_again(place: Place, site: Site, status: int) -> None:
    site.add("/archive", status=status)
    place.fetch(site.add("/archive", GOOD["zip"]))
    phrase = {429: "Too Many Requests", 503: "Service Unavailable"}[status]
    assert f"the server answered {status} {phrase}; attempt 2 of 3" in place.lines
    assert place.holds_the_files()


def test_fetch_data__redirect_is_followed(place: Place, site: Site) -> None:
    site.add("/archive", GOOD["zip"])
    place.fetch(site.add("/old", status=302, location="/archive"))
    assert place.holds_the_files()
    assert site.requests == ["/old", "/archive"]


@pytest.mark.parametrize("location", ["/old", "file:///etc/passwd", "http://[bad"])
def test_fetch_data__redirect_to_nowhere_is_refused(
    place: Place, site: Site, location: str
) -> None:
    with pytest.raises(DataError, match="nothing was fetched"):
        place.fetch(site.add("/old", status=302, location=location))
    assert place.is_untouched()


def test_fetch_data__no_connection_is_told_in_the_systems_words(place: Place, site: Site) -> None:
    url = site.url("/archive")
    site.close()
    with pytest.raises(DataError, match=r"no connection: Connection refused \(3 attempts\)"):
        place.fetch(url)
    assert place.is_untouched()


def test_fetch_data__silent_server_is_given_up(
    place: Place, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "TIMEOUT_S", 0.2)
    url = site.add("/archive", GOOD["zip"][:50], length=1000, hang=True)
    with pytest.raises(DataError, match=r"sent nothing for 0\.2 s \(3 attempts\)"):
        place.fetch(url)
    assert place.is_untouched()


def test_fetch_data__sources_are_tried_in_order(
    place: Place, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.add("/hostile", HOSTILE["zip up"][0])
    site.add("/tampered", zip_of(FILES | {"valid/Water/2.jpg": b"other"}))
    site.add("/good", GOOD["zip"])
    paths = ("/gone", "/hostile", "/tampered", "/good", "/never-asked")
    monkeypatch.setattr(data_fetch, "SOURCES", tuple(site.url(path) for path in paths))
    place.fetch()
    assert place.holds_the_files()
    assert site.requests == ["/gone", "/hostile", "/tampered", "/good"]
    assert "the server answered 404 Not Found; trying the next source" in place.lines


def test_fetch_data__all_sources_failed_names_each(
    place: Place, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    urls = (site.url("/gone"), site.add("/page", b"<html>"))
    monkeypatch.setattr(data_fetch, "SOURCES", urls)
    with pytest.raises(DataError) as caught:
        place.fetch()
    message = str(caught.value)
    assert f"{urls[0]}: the server answered 404" in message
    assert f"{urls[1]}: not a zip" in message
    assert "--url" in message
    assert "--archive FILE" in message
    assert place.is_untouched()


@pytest.mark.parametrize("url", ["ftp://host/a.zip", "file:///a.zip", "a.zip", ""])
def test_fetch_data__only_addresses_of_the_web(place: Place, url: str) -> None:
    with pytest.raises(UsageError, match="--url"):
        place.fetch(url)
    assert place.is_untouched()


def test_fetch_data__address_and_file_exclude_each_other(place: Place, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--url and --archive: give one"):
        place.fetch("http://127.0.0.1/", archive=tmp_path)
    with pytest.raises(UsageError, match="none: no such file"):
        place.fetch(archive=tmp_path / "none")


def test_fetch_data__place_that_cant_be_written(place: Place, site: Site) -> None:
    (place.root / "file").write_text("")
    place.folder = place.root / "file" / "data"
    with pytest.raises(OutputError, match=r"file.*nothing was fetched"):
        place.fetch(site.add("/archive", GOOD["zip"]))
    assert site.requests == []


def test_fetch_data__interrupted_leaves_nothing(place: Place, site: Site) -> None:
    url = site.add("/archive", GOOD["zip"][:1000], length=len(GOOD["zip"]), hang=True)
    process = subprocess.Popen(
        [
            Path(sys.executable).parent / "boats-data", "fetch", place.folder,
            "--url", url, "--manifest", place.manifest,
        ],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8",
        env=os.environ | {"NO_PROXY": "127.0.0.1"},
    )  # fmt: skip
    try:
        assert site.hanging.wait(60)
        while not list(place.root.glob(".data-*")):
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert output == ""
    assert errors.splitlines()[-1] == "boats-data: interrupted"
    assert "Traceback" not in errors
    assert place.is_untouched()


def test_boats_manifest__is_the_published_one() -> None:
    manifest = boats_manifest()
    splits = [name.split("/")[0] for name in manifest]
    assert {split: splits.count(split) for split in set(splits)} == {
        "train": 3474, "valid": 395, "test": 1324,
    }  # fmt: skip
    assert len({name.split("/")[1] for name in manifest}) == 16
    assert (resources.files("boats_train") / "manifests/boats.sha256").is_file()


def test_fetch_data__sources_are_encrypted_and_fixed() -> None:
    assert len(SOURCES) == 2
    assert all(source.startswith("https://") for source in SOURCES)


DIGEST = "0" * 64


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
        f"{DIGEST}  /train/a/1.jpg\n",
        f"{DIGEST}  train/a/1.jpg\n{DIGEST}  train/a/1.jpg\n",
    ],
)
def test_read_manifest__what_is_none_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "manifest"
    path.write_text(text)
    with pytest.raises(DataError, match="manifest"):
        read_manifest(path)


def test_read_manifest__missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a manifest that can be read"):
        read_manifest(tmp_path / "none")


def test_find_differences__names_each_kind(place: Place, site: Site) -> None:
    place.fetch(site.add("/archive", GOOD["zip"]))
    manifest = read_manifest(place.manifest)
    assert not find_differences(manifest, place.folder, "check")
    (place.folder / "train/Water/0.jpg").write_bytes(b"other")
    (place.folder / "valid/Water/0.jpg").unlink()
    (place.folder / "more.txt").write_bytes(b"more")
    differences = find_differences(manifest, place.folder, "check")
    assert str(differences) == (
        "1 altered (such as train/Water/0.jpg), 1 missing (such as valid/Water/0.jpg), "
        "1 not of it (such as more.txt)"
    )
