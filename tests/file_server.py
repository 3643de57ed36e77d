"""A web server on this machine that has one file, and can be told to misbehave."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FileServer(ThreadingHTTPServer):
    """Serves `content` under every path but /elsewhere, which leads to `location`, and /nothing, which is not there."""

    daemon_threads = True

    def __init__(self, content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = content
        self.location = "/file"
        self.cuts: list[int] = []
        """For the next answers: after how many bytes the connection is cut."""
        self.codes: list[int | None] = []
        """For the next answers: the code instead of content; None for content."""
        self.knows_ranges = True
        self.stalls_after: int | None = None
        """Send no more after so many bytes, and keep the connection."""
        self.asked: list[str | None] = []
        """The range that each request asked for."""
        self.released = threading.Event()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/file"


class Handler(BaseHTTPRequestHandler):
    server: FileServer

    def do_GET(self) -> None:
        server = self.server
        if self.path == "/elsewhere":
            self.send_response(302)
            self.send_header("Location", server.location)
            self.end_headers()
            return
        server.asked.append(self.headers["Range"])
        code = server.codes.pop(0) if server.codes else None
        if self.path == "/nothing" or code:
            self.send_error(code or 404)
            return
        start = int(re.sub(r"\D", "", self.headers["Range"])) if self.headers["Range"] and server.knows_ranges else 0
        if start:
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(server.content) - 1}/{len(server.content)}")
        else:
            self.send_response(200)
        body = server.content[start:]
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: server.cuts.pop(0)] if server.cuts else body[: server.stalls_after])
        if server.stalls_after is not None:
            server.released.wait(120)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serve(content: bytes) -> Iterator[FileServer]:
    """A server, for as long as the context lasts."""
    with FileServer(content) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.released.set()
            server.shutdown()
            thread.join()
