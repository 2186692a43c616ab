"""Download one file: several attempts, progress on the terminal, limited size."""

import logging
from collections.abc import Callable
from pathlib import Path

import pooch
import requests

from boats_runtime.errors import DataError
from boats_runtime.progress import track

ATTEMPTS = 3
MAX_BYTES = 2 * 2**30
TIMEOUT_SECONDS = 30
_CHUNK = 2**20
_TEMPORARY = (408, 429)  # request timeout, too many requests

Log = Callable[[str], None]


def download_file(url: str, target: Path, log: Log) -> None:
    """Download a file, completely or not at all.

    Each repeated attempt is logged.

    Raises:
        DataError: If the file is larger than `MAX_BYTES` or all attempts fail.
        OSError: If the file cannot be written.
    """
    failures: list[str] = []

    def download(url: str, output_file: str, _: object) -> None:
        if failures:
            log(f"{failures[-1]}; attempt {len(failures) + 1} of {ATTEMPTS}")
        try:
            _stream(url, Path(output_file))
        except ValueError as error:  # malformed address, possibly of a redirect
            raise DataError(str(error)) from error
        except requests.RequestException as error:
            failures.append(_describe(error))
            status = error.response.status_code if error.response is not None else 0
            if 400 <= status < 500 and status not in _TEMPORARY:
                raise DataError(failures[-1]) from error
            raise

    pooch.get_logger().setLevel(logging.ERROR)  # pooch recommends to store the archive's hash
    fetcher = pooch.create(
        target.parent,
        base_url="",
        registry={target.name: None},
        urls={target.name: url},
        retry_if_failed=ATTEMPTS - 1,
    )
    try:
        fetcher.fetch(target.name, downloader=download)
    except requests.RequestException as error:
        raise DataError(f"{failures[-1]} ({ATTEMPTS} attempts)") from error


def _stream(url: str, target: Path) -> None:
    with requests.get(url, stream=True, timeout=TIMEOUT_SECONDS) as response:
        response.raise_for_status()
        size = int(response.headers.get("content-length", 0))
        chunks = response.iter_content(_CHUNK)
        with target.open("wb") as file:
            for chunk in track(chunks, "MiB downloaded", total=-(-size // _CHUNK) or None):
                file.write(chunk)
                if file.tell() > MAX_BYTES:
                    raise DataError(f"download stopped: larger than {MAX_BYTES:,} bytes")


def _describe(error: requests.RequestException) -> str:
    if error.response is not None:
        return f"the server answered {error.response.status_code} {error.response.reason}".strip()
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection was interrupted"
    # The operating system's message is at the end of a chain of exceptions.
    cause: BaseException | None = error
    message = str(error)
    while cause is not None:
        if isinstance(cause, (requests.Timeout, TimeoutError)):
            return f"the server sent nothing for {TIMEOUT_SECONDS} s"
        if isinstance(cause, OSError) and cause.strerror:
            message = cause.strerror
        cause = cause.__cause__ or cause.__context__
    return f"no connection: {message}"
