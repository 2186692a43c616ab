from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pooch.core
import pytest

from boats_data.fetch import download as download_module
from boats_data.fetch.download import download_file
from boats_runtime.errors import DataError
from support.servers import Answer, ScriptedServer

CONTENT = b"archive " * 100
INTERRUPTED = Answer(CONTENT[:400], length=len(CONTENT))


@pytest.fixture(autouse=True)
def no_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pooch.core, "time", SimpleNamespace(sleep=lambda _: None))


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def download(tmp_path: Path, lines: list[str]) -> Callable[[str], bytes]:
    """Downloads a file and returns its content; a failure must leave no file."""

    def download(url: str) -> bytes:
        try:
            download_file(url, tmp_path / "archive", lines.append)
        except DataError:
            assert list(tmp_path.iterdir()) == []
            raise
        return (tmp_path / "archive").read_bytes()

    return download


Download = Callable[[str], bytes]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (INTERRUPTED, "the connection was interrupted"),
        (Answer(status=429), "the server answered 429 Too Many Requests"),
        (Answer(status=503), "the server answered 503 Service Unavailable"),
    ],
)
def test_download_file__second_attempt(
    download: Download, server: ScriptedServer, lines: list[str], answer: Answer, reason: str
) -> None:
    server.add("/archive", answer)
    assert download(server.add("/archive", CONTENT)) == CONTENT
    assert server.requests == ["/archive"] * 2
    assert lines == [f"{reason}; attempt 2 of 3"]


def test_download_file__all_attempts_fail(download: Download, server: ScriptedServer) -> None:
    with pytest.raises(DataError, match=r"connection was interrupted \(3 attempts\)"):
        download(server.add("/archive", INTERRUPTED))
    assert len(server.requests) == 3


def test_download_file__not_found_is_not_repeated(
    download: Download, server: ScriptedServer
) -> None:
    with pytest.raises(DataError, match="the server answered 404 Not Found"):
        download(server.url("/missing"))
    assert server.requests == ["/missing"]


def test_download_file__too_large(
    download: Download, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download_module, "MAX_BYTES", 500)
    with pytest.raises(DataError, match="larger than 500 bytes"):
        download(server.add("/archive", CONTENT))
    assert len(server.requests) == 1


def test_download_file__redirect(download: Download, server: ScriptedServer) -> None:
    server.add("/archive", CONTENT)
    assert download(server.add("/old", Answer(status=302, location="/archive"))) == CONTENT
    assert server.requests == ["/old", "/archive"]


@pytest.mark.parametrize("location", ["/old", "file:///etc/passwd", "http://[bad"])
def test_download_file__redirect_to_a_wrong_address(
    download: Download, server: ScriptedServer, location: str
) -> None:
    with pytest.raises(DataError):
        download(server.add("/old", Answer(status=302, location=location)))


def test_download_file__no_connection(download: Download, server: ScriptedServer) -> None:
    url = server.url("/archive")
    server.close()
    with pytest.raises(DataError, match=r"no connection: Connection refused \(3 attempts\)"):
        download(url)


def test_download_file__silent_server(
    download: Download, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download_module, "TIMEOUT_SECONDS", 0.2)
    url = server.add("/archive", Answer(CONTENT[:50], length=len(CONTENT), hang=True))
    with pytest.raises(DataError, match=r"sent nothing for 0\.2 s \(3 attempts\)"):
        download(url)
