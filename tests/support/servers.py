"""HTTP server on loopback with scripted answers."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Answer:
    """One answer of the server.

    Attributes:
        body: Content that is sent.
        status: HTTP status.
        length: Value of the header Content-Length; the length of the body if None.
        location: Value of the header Location.
        hang: Whether the connection stays open after the body.
        headers: Further headers.
    """

    body: bytes = b""
    status: int = 200
    length: int | None = None
    location: str = ""
    hang: bool = False
    headers: tuple[tuple[str, str], ...] = ()


class ScriptedServer:
    """Answers each request for a path with its next answer; the last answer repeats.

    Attributes:
        requests: Paths requested so far.
        hanging: Set when an answer with `hang` was sent.
    """

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.hanging = threading.Event()
        self._answers: dict[str, list[Answer]] = {}
        self._closed = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.requests.append(self.path)
                server.send_answer(self)

            def do_HEAD(self) -> None:
                server.send_answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def add(self, path: str, answer: Answer | bytes) -> str:
        """Add an answer, or a body to answer with, and return the address of the path."""
        if isinstance(answer, bytes):
            answer = Answer(answer)
        self._answers.setdefault(path, []).append(answer)
        return self.url(path)

    def url(self, path: str) -> str:
        """Return the address of a path."""
        return f"http://127.0.0.1:{self._server.server_port}{path}"

    def send_answer(self, handler: BaseHTTPRequestHandler) -> None:
        """Send the next answer, without its body to HEAD; 404 for an unknown path."""
        answers = self._answers.get(handler.path)
        if not answers:
            handler.send_error(404)
            return
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        handler.send_response(answer.status)
        if answer.location:
            handler.send_header("Location", answer.location)
        length = len(answer.body) if answer.length is None else answer.length
        for header in answer.headers:
            handler.send_header(*header)
        handler.send_header("Content-Length", str(length))
        handler.end_headers()
        if handler.command == "HEAD":
            return
        handler.wfile.write(answer.body)
        if answer.hang:
            handler.wfile.flush()
            self.hanging.set()
            self._closed.wait(60)

    def close(self) -> None:
        """End hanging answers and stop."""
        self._closed.set()
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def run_server() -> Iterator[ScriptedServer]:
    """Run a server until the end of the block."""
    server = ScriptedServer()
    try:
        yield server
    finally:
        server.close()
