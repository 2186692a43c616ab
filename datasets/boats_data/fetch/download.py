"""Downloads one file from the web: tried again when the connection fails, with a progress bar."""

import logging
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO

import pooch
from requests import exceptions  # what pooch downloads with
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from boats_runtime.errors import DataError

ATTEMPTS = 3
MAX_BYTES = 2 * 2**30
"""A download that grows larger than this is given up."""

TIMEOUT_S = 30
"""A server that sends nothing for so long is given up."""

# Request timeout and too many requests: unlike the others of the 400s they may pass.
_PASSING = (408, 429)

Log = Callable[[str], None]


def download_file(url: str, target: Path, log: Log) -> None:
    """Downloads a file, whole or not at all.

    Args:
        url: Where it is, `http` or `https`.
        target: Where it is to be.
        log: Takes a line about each new attempt.

    Raises:
        DataError: It can't be had after `ATTEMPTS` attempts, or is larger than `MAX_BYTES`.
        OSError: It can't be written.
    """
    # Not its own talk: a hash to check the archive by, which has none.
    pooch.get_logger().setLevel(logging.ERROR)
    fetcher = pooch.create(
        target.parent,
        base_url="",
        registry={target.name: None},
        urls={target.name: url},
        retry_if_failed=ATTEMPTS - 1,
    )
    try:
        fetcher.fetch(target.name, downloader=_Downloader(log))
    except exceptions.RequestException as error:
        raise DataError(f"{_reason(error)} ({ATTEMPTS} attempts)") from error


class _Downloader:
    """What pooch calls for each attempt."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._attempt = 0
        self._failure = ""

    def __call__(self, url: str, output_file: str, _: object) -> None:
        self._attempt += 1
        if self._failure:
            self._log(f"{self._failure}; attempt {self._attempt} of {ATTEMPTS}")
        try:
            with Path(output_file).open("wb") as file, _Sink(file) as sink:
                download = pooch.HTTPDownloader(sink, chunk_size=2**20, timeout=TIMEOUT_S)
                download(url, sink, None)
        except ValueError as error:  # an address that is none, here or in a redirect
            raise DataError(str(error)) from error
        except exceptions.RequestException as error:
            self._failure = _reason(error)
            status = error.response.status_code if error.response is not None else 0
            if 400 <= status < 500 and status not in _PASSING:
                raise DataError(self._failure) from error
            raise


class _Sink:
    """The file that a download is written to, and its progress bar: pooch tells it the total."""

    def __init__(self, file: IO[bytes]) -> None:
        console = Console(stderr=True)
        self._file = file
        self._size = 0
        self._bar = Progress(
            TextColumn("download"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("download", total=None)

    def __enter__(self) -> "_Sink":
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def write(self, chunk: bytes) -> None:
        self._size += len(chunk)
        if self._size > MAX_BYTES:
            raise DataError(f"given up: it is larger than {MAX_BYTES:,} bytes")
        self._file.write(chunk)
        self._bar.update(self._task, completed=self._size)

    def flush(self) -> None:
        """Nothing: the file is closed soon enough."""

    @property
    def total(self) -> float | None:
        return self._bar.tasks[self._task].total

    @total.setter
    def total(self, size: int) -> None:
        self._bar.update(self._task, total=size or None)

    def update(self, size: int) -> None:
        """Nothing: pooch counts blocks, `write` counts bytes."""

    def reset(self) -> None:
        """Nothing: see `update`."""

    def close(self) -> None:
        """Nothing: `with` stops the bar."""


def _reason(error: exceptions.RequestException) -> str:
    """Says in a few words why a request failed."""
    if error.response is not None:
        return f"the server answered {error.response.status_code} {error.response.reason}".strip()
    if isinstance(error, exceptions.ChunkedEncodingError):
        return "the connection broke off"
    # requests tells the system's own word only at the end of a long chain.
    cause: BaseException | None = error
    reason = ""
    while cause is not None:
        if isinstance(cause, (exceptions.Timeout, TimeoutError)):
            return f"the server sent nothing for {TIMEOUT_S} s"
        if isinstance(cause, OSError) and cause.strerror:
            reason = cause.strerror
        cause = cause.__cause__ or cause.__context__
    return f"no connection: {reason or error}"
