"""`alexnet explore`: opens the runs, listens, says where, and answers until Ctrl-C."""

import importlib.util
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from alexnet.progress import Life

NEEDS = ("starlette", "uvicorn")
"""Packages of the extra `explore`."""


def explore(
    runs: Sequence[Path], data: Path | None = None, *, host: str = "127.0.0.1", port: int = 8012, device: str = "auto"
) -> dict[str, Any]:
    """Show the runs, and the store `data`, in a browser, until Ctrl-C.

    Listens at `host`, at `port` (0: any that is free). Returns `url`. Raises ValueError where a run or the store cannot
    be opened, where they do not fit each other, where the port is taken, and without the packages of the extra.
    """
    check_packages()
    from alexnet.explore import bounds, server
    from alexnet.explore.app import make_app
    from alexnet.explore.explorer import Explorer
    from alexnet.explore.guard import LOOPBACK, Names
    from alexnet.explore.worker import Lane

    listening = server.listen(host, port)
    try:
        explorer = Explorer(runs, data, device)
        address = server.url(host, listening.getsockname()[1])
        names = Names(host, () if host in LOOPBACK else (socket.gethostname(), socket.getfqdn()))
        network = Lane(1, bounds.WAITING)
        background = explorer.background(lambda: network.now > 0)
        running = server.Server(make_app(explorer, names, network), lambda: announce(address, names.open))
        background.start()
        with suppress(KeyboardInterrupt):  # the way to end it
            running.run([listening])
        background.end()
    finally:
        listening.close()
    return {"url": address}


def check_packages() -> None:
    """ValueError, with what to install, where a package of the extra is missing."""
    missing = [name for name in NEEDS if importlib.util.find_spec(name) is None]
    if missing:
        raise ValueError(f"The page needs {' and '.join(missing)}: pip install 'alexnet[explore]'")


def announce(address: str, is_open: bool) -> None:
    """Say on standard error where the page is, and who can see it."""
    Life.pause()
    print(f"Look at {address} (Ctrl-C ends)", file=sys.stderr, flush=True)
    if is_open:
        print(
            "warning: everybody who reaches this machine can see these runs and the images of the store, and send "
            "images; there is no password.",
            file=sys.stderr,
            flush=True,
        )


def render(result: dict[str, Any]) -> str:
    """The last line."""
    return f"{result['url']} is closed."
