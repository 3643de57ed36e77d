"""What the tests of the page share: a server in a thread, and a client that sends what it is told."""

import contextlib
import http.client
import json
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from alexnet.explore import server
from alexnet.explore.app import make_app
from alexnet.explore.explorer import Explorer
from alexnet.explore.guard import Names
from alexnet.explore.opening import Opening
from alexnet.explore.worker import Lanes

SECONDS = 120
"""For anything to happen, on a machine that has much else to do."""


class Site:
    """A running server."""

    def __init__(self, explorer: Explorer, port: int) -> None:
        self.explorer, self.port = explorer, port
        self.url = f"http://127.0.0.1:{port}"

    def ask(
        self, path: str, method: str = "GET", body: bytes | None = None, /, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
        with contextlib.closing(connection):
            connection.request(method, path, body, {name.replace("_", "-"): text for name, text in headers.items()})
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()

    def get(self, path: str, status: int = 200) -> Any:
        """JSON of `/api/PATH`, whose status must be `status`."""
        found, _, body = self.ask(f"/api/{path}")
        assert found == status, body
        return json.loads(body)

    def send(self, data: bytes) -> str:
        """The name of an image that was sent."""
        status, _, body = self.ask("/api/images", "POST", data)
        assert status == 200, body
        return json.loads(body)["image"]


@contextlib.contextmanager
def serving(runs: Sequence[Path], data: Path | None, host: str = "127.0.0.1", *, index: bool = False) -> Iterator[Site]:
    """A server for runs and a store, on a port that is free; with `index` it indexes the store."""
    explorer = Explorer(runs, data, "cpu")
    listening = server.listen("127.0.0.1", 0)
    ready = threading.Event()
    lanes = Lanes()
    opening = Opening(lambda: explorer, lanes.want_network if index else None)
    roots = [*runs, *([data] if data else [])]
    running = server.Server(make_app(opening, Names(host, ["lab"]), lanes, roots), ready.set)
    thread = threading.Thread(target=running.run, args=([listening],), daemon=True)
    thread.start()
    assert ready.wait(SECONDS)
    opening.start()
    try:
        yield Site(explorer, listening.getsockname()[1])
    finally:
        running.stop()
        thread.join(SECONDS)
        opening.end()
        listening.close()
        assert not thread.is_alive()


def check_alike(found: Any, said: Any) -> None:
    """Two answers are the same, but for the last bits of their numbers: those are of the order in which the processor
    adds, which threads and addresses in memory decide. Probabilities and distances are shown with three digits."""
    if isinstance(said, dict):
        assert found.keys() == said.keys()
        found, said = list(found.values()), [said[key] for key in found]
    if isinstance(said, list):
        assert len(found) == len(said)
        for one, other in zip(found, said, strict=True):
            check_alike(one, other)
    else:
        assert found == (pytest.approx(said, rel=1e-5) if isinstance(said, float) else said)


def wait_for(done: Any, seconds: float = SECONDS) -> Any:
    """The first true value of `done()`."""
    end = time.monotonic() + seconds
    while not (found := done()):
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.02)
    return found
