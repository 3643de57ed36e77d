"""`alexnet explore`: opens the runs, listens, says where, and answers until Ctrl-C."""

import importlib.util
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alexnet.config import load_run_config
from alexnet.data.store.info import read_info
from alexnet.files.words import counted
from alexnet.progress import Life
from alexnet.ranges import UsageError
from alexnet.study.image_files import find_images
from alexnet.study.outputs import check_output

if TYPE_CHECKING:
    from alexnet.explore.explorer import Explorer

EXAMPLES = 3
"""Images of the store in a page that is saved, where none are given."""
NEEDS = ("starlette", "uvicorn")
"""Packages of the extra `explore`."""


def explore(
    runs: Sequence[Path],
    data: Path | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 8012,
    device: str = "auto",
    save: Path | None = None,
    image: Sequence[Path] = (),
    force: bool = False,
) -> dict[str, Any]:
    """Show the runs, and the store `data`, in a browser, until Ctrl-C.

    Listens at `host`, at `port` (0: any that is free), and serves the page while the runs are being opened. Returns
    `url`. With `save` it writes a page to that file
    instead, over another one if `force`, with the views of the images `image` (default: `EXAMPLES` of the store), and
    returns what `saved.save_page` does.

    Raises ValueError where a run or the store cannot be opened, where they do not fit each other, where the port is
    taken, where the page would be too large, and without the packages of the extra.
    """
    check_packages()
    if save is not None:
        return save_page(runs, data, save, image, device, force)
    if image:
        raise UsageError("--image chooses the images of a page that is saved; add --save PAGE.html.")
    from alexnet.explore import server
    from alexnet.explore.app import make_app
    from alexnet.explore.guard import LOOPBACK, Names
    from alexnet.explore.opening import Opening
    from alexnet.explore.worker import Lanes

    check_there(runs, data)
    listening = server.listen(host, port)
    try:
        address = server.url(host, listening.getsockname()[1])
        names = Names(host, () if host in LOOPBACK else (socket.gethostname(), socket.getfqdn()))
        lanes = Lanes()
        opening = Opening(lambda: open_runs(runs, data, device), lanes.want_network)
        app = make_app(opening, names, lanes, [*runs, *([data] if data else [])])
        running = server.Server(app, lambda: announce(address, names.open))
        opening.start(running.stop)
        with suppress(KeyboardInterrupt):  # the way to end it
            running.run([listening])
        opening.end()
    finally:
        listening.close()
    return {"url": address}


def open_runs(runs: Sequence[Path], data: Path | None, device: str) -> "Explorer":
    """What answers. Takes seconds: it imports PyTorch, and reads the weights."""
    from alexnet.explore.explorer import Explorer

    return Explorer(runs, data, device)


def check_there(runs: Sequence[Path], data: Path | None) -> None:
    """ValueError where a folder is no run or no store: the mistakes that are seen at once."""
    for run in runs:
        load_run_config(run)
    if data is not None:
        read_info(data)


def save_page(
    runs: Sequence[Path], data: Path | None, page: Path, image: Sequence[Path], device: str, force: bool
) -> dict[str, Any]:
    """Write a page of the images to a file; the store is indexed before."""
    from alexnet.explore import saved
    from alexnet.progress import Progress

    check_output(page, force)
    if page.suffix not in (".html", ".htm"):
        raise UsageError(f"{page} is no name for a page; give one that ends in .html.")
    paths = find_images(image)
    explorer = open_runs(runs, data, device)
    names = [explorer.images.add_file(path) for path in paths] or explorer.examples(EXAMPLES)
    if not names:
        raise UsageError("A page needs images; give some with --image, or a store with --data.")
    indexer = explorer.indexers[0]
    if indexer is not None:
        with Progress("indexing", total=len(indexer.images), unit="images") as bar:
            indexer.advance = bar.advance
            explorer.background(lambda: False, first=True).run()
        if indexer.state == "failed":
            raise ValueError(indexer.problem)
    return saved.save_page(explorer, names, page)


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
    if "page" in result:
        images = counted(len(result["images"]), "image")
        return f"{result['page']}: {result['bytes'] / 1e6:.1f} MB, {images}; it opens from disk."
    return f"{result['url']} is closed."
