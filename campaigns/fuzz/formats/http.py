"""Answers of a server that `alexnet download` asks: damaged, cut off, of another length, endless redirections."""

import contextlib
import socket
import threading
from functools import cache
from pathlib import Path

from alexnet.data.download import fetch
from campaigns.fuzz.format import Format

CONTENT = bytes(range(200))
HAVE = 50
"""Bytes that are there already."""


class Server(threading.Thread):
    """Answers every request with the same bytes, and hangs up."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        self.answer = b""

    def run(self) -> None:
        while True:
            connection, _ = self.listening.accept()
            with connection, contextlib.suppress(OSError):
                connection.recv(1 << 16)
                connection.sendall(self.answer.replace(b"PORT", b"%d" % self.port))


@cache
def server() -> Server:
    made = Server()
    made.start()
    return made


def examples() -> list[bytes]:
    def answer(status: str, *headers: str, content: bytes = b"") -> bytes:
        return "\r\n".join([f"HTTP/1.1 {status}", *headers, "", ""]).encode() + content

    rest = CONTENT[HAVE:]
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (CONTENT[:90], CONTENT[90:])) + b"0\r\n\r\n"
    return [
        answer("206 Partial", f"Content-Range: bytes {HAVE}-199/200", "Content-Length: 150", content=rest),
        answer("200 OK", "Content-Length: 200", content=CONTENT),
        answer("200 OK", "Transfer-Encoding: chunked", content=chunks),
        answer("302 Found", "Location: http://127.0.0.1:PORT/next", "Content-Length: 0"),
        answer("404 Not Found", "Content-Length: 4", content=b"none"),
        answer("100 Continue") + answer("200 OK", "Content-Length: 200", content=CONTENT),
    ]


def read(data: bytes, folder: Path) -> None:
    server().answer = data
    file = folder / "file"
    file.write_bytes(CONTENT[:HAVE])
    fetch.SILENCE = 0.5
    fetch.fetch(f"http://127.0.0.1:{server().port}/", file, len(CONTENT), lambda count: None, ())
    assert file.stat().st_size == len(CONTENT)


FORMAT = Format("http", 1, examples, read)
