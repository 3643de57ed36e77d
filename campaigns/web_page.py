"""50 clients for a minute at the page of `alexnet explore`, good and bad requests mixed, on loopback.

Good clients send images and ask for their labels. Bad ones send bombs, truncated files, what is no image, more than
20 MB, drip bytes, walk paths and use other names. Everything held when no request crashes the server, each bad one is
refused with a status of its own, all good ones are answered, and the memory of the server stays below `--memory`.
"""

import argparse
import contextlib
import http.client
import io
import json
import random
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

from campaigns.machine import describe_machine
from campaigns.small_training import NETWORK, SCHEDULE, make_store

BAD = {
    "bomb": {400},
    "truncated": {400},
    "text": {400},
    "21 MB": {413},
    "slow": {0, 408},
    "path": {404},
    "host": {421},
    "origin": {403},
    "query": {400, 404, 414},
    "method": {404},
}
"""What bad clients do, and the statuses that refuse it; 0: the connection was closed."""
BUSY = 503
TOLD = "told to come back"
"""What a client counts that is told so, and comes back."""
PATIENCE = 300
"""Seconds after the end in which clients may still wait for an answer."""


def photo(seed: int) -> bytes:
    """An image that no other seed has."""
    random_ = np.random.default_rng(seed)
    small = random_.integers(0, 256, (12, 16, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(small).resize((640, 480), Image.Resampling.BICUBIC).save(file, "JPEG", quality=85)
    return file.getvalue()


def bomb() -> bytes:
    """A PNG of a few bytes that claims 3.6 gigapixels."""
    file = io.BytesIO()
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(file, "PNG")
    data = file.getvalue()
    return data[:16] + (60_000).to_bytes(4, "big") * 2 + data[24:]


class Client:
    """One client: one request after the other, until the end, and `least` of them at least."""

    def __init__(self, port: int, seed: int, end: float, least: int) -> None:
        self.port, self.end, self.least, self.random, self.seed = port, end, least, random.Random(seed), seed
        self.times: list[float] = []
        self.wrong: list[str] = []
        self.done: Counter[str] = Counter()
        self.number = 0

    def is_over(self) -> bool:
        return time.monotonic() > self.end and self.done.total() - self.done[TOLD] >= self.least

    def run(self) -> None:
        while not self.is_over():
            kind = self.random.choice(sorted(BAD)) if self.random.random() < 0.3 else "good"
            began = time.monotonic()
            try:
                self.good() if kind == "good" else self.bad(kind)
            except (OSError, http.client.HTTPException) as error:
                self.wrong.append(f"{kind}: {error!r}")
            self.done[kind] += 1
            if kind == "good":
                self.times.append(time.monotonic() - began)

    def ask(self, path: str, method: str = "GET", body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
            with contextlib.closing(connection):
                connection.request(method, path, body, {name.title(): text for name, text in headers.items()})
                answer = connection.getresponse()
                status, content = answer.status, answer.read()
            if status != BUSY or self.is_over():
                return status, content
            self.done[TOLD] += 1
            time.sleep(0.5)

    def good(self) -> None:
        self.number += 1
        status, content = self.ask("/api/images", "POST", photo(1000 * self.seed + self.number))
        if status == 200:
            status, content = self.ask(f"/api/predict?views=10&image={json.loads(content)['image']}")
        if status != 200 and not self.is_over():
            self.wrong.append(f"good: {status} {content[:100]!r}")

    def bad(self, kind: str) -> None:
        status, content = self.attack(kind)
        if status not in BAD[kind] | {BUSY}:
            self.wrong.append(f"{kind}: {status} {content[:100]!r}")

    def attack(self, kind: str) -> tuple[int, bytes]:
        if kind == "slow":
            return self.drip()
        bodies = {"bomb": bomb(), "truncated": photo(1)[:3000], "text": b"no image" * 99, "21 MB": bytes(21_000_000)}
        if kind in bodies:
            return self.ask("/api/images", "POST", bodies[kind])
        requests = {
            "path": ("/static/../../../etc/passwd", "GET", {}),
            "host": ("/api/about", "GET", {"host": "evil.example"}),
            "origin": ("/api/about", "GET", {"origin": "http://evil.example"}),
            "query": (f"/api/map?image=u-{self.random.getrandbits(64):016x}&stage={'x' * 3000}", "GET", {}),
            "method": ("/api/about", "DELETE", {}),
        }
        path, method, headers = requests[kind]
        return self.ask(path, method, None, **headers)

    def drip(self) -> tuple[int, bytes]:
        """Send a byte now and then, until the server has enough."""
        head = b"POST /api/images HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n"
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as connection:
            connection.sendall(head)
            connection.settimeout(1)
            for _ in range(60):
                with contextlib.suppress(OSError):
                    connection.sendall(b"x")
                try:
                    found = connection.recv(100)
                    return (int(found.split()[1]) if found else 0), found
                except TimeoutError:
                    continue
                except OSError:
                    return 0, b""
        return -1, b"still open"


def memory(process: int) -> int:
    """Resident bytes of a process."""
    return 1024 * int(re.findall(r"VmRSS:\s+(\d+)", Path(f"/proc/{process}/status").read_text())[0])


def campaign(clients: int, seconds: float, least: int, seed: int, run: Path, most: int) -> dict[str, object]:
    """Start the server, let all clients at it, and look at its memory meanwhile."""
    command = [sys.executable, "-m", "alexnet", "explore", str(run), "--port", "0", "--device", "cpu"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        said: list[str] = []
        while not (port := said_address(said[-1]) if said else 0):
            said.append(server.stderr.readline())
            if not said[-1]:
                raise SystemExit("The server did not start: " + "".join(said))
        drain = threading.Thread(target=lambda: said.extend(server.stderr or ()), daemon=True)
        drain.start()
        before, peak = memory(server.pid), 0
        end = time.monotonic() + seconds
        made = [Client(port, 1000 * seed + number, end, least) for number in range(clients)]
        threads = [threading.Thread(target=client.run, daemon=True) for client in made]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads) and time.monotonic() < end + PATIENCE:
            peak = max(peak, memory(server.pid))
            time.sleep(0.1)
        alive = server.poll() is None
        last = made[0].ask("/api/about")[0] if alive else 0
        server.terminate()
    times = sorted(time_ for client in made for time_ in client.times)
    done = sum((client.done for client in made), Counter[str]())
    wrong = [sentence for client in made for sentence in client.wrong]
    return {
        "clients": clients,
        "seconds": seconds,
        "requests": dict(sorted(done.items())),
        "wrong": wrong[:20],
        "median_seconds": round(statistics.median(times), 3) if times else None,
        "p95_seconds": round(times[int(0.95 * len(times))], 3) if times else None,
        "memory_before": before,
        "memory_peak": peak,
        "memory_limit": most,
        "alive": alive and last == 200,
        "tracebacks": sum("Traceback" in line for line in said),
        "held": alive and last == 200 and not wrong and peak < most and not any("Traceback" in line for line in said),
        "seed": seed,
        "machine": describe_machine(),
    }


def said_address(line: str) -> int:
    """The port in the line that says where the page is; 0 in any other."""
    found = re.search(r"Look at http://127\.0\.0\.1:(\d+)/", line)
    return int(found[1]) if found else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--requests", type=int, default=0, help="that each client makes, however long they take")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--memory", type=int, default=2 << 30, help="bytes that the server may take")
    parser.add_argument("--run", type=Path, help="a run; without it, a small one is trained")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        run = args.run or Path(name) / "run"
        if args.run is None:
            line = ["train", str(make_store(Path(name))), str(run), *f"{NETWORK} {SCHEDULE} --epochs 1".split()]
            subprocess.run([sys.executable, "-m", "alexnet", *line], check=True, capture_output=True)
        found = campaign(args.clients, args.seconds, args.requests, args.seed, run, args.memory)
    print(json.dumps(found) if args.json else found)
    return 0 if found["held"] else 1


if __name__ == "__main__":
    sys.exit(main())
