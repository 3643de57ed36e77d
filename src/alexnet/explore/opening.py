"""Opens the runs while the page is served already: importing PyTorch and reading the weights takes seconds."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from alexnet.explore.explorer import Explorer
    from alexnet.explore.indexer import Background


class Opening:
    """An explorer that is made in a thread of its own; then its networks warm up and its store is indexed."""

    def __init__(self, make: "Callable[[], Explorer]", make_way: Callable[[], bool] | None) -> None:
        """`make_way` says whether requests wait, for which indexing pauses; None: nothing is indexed."""
        self._make, self._make_way = make, make_way
        self._made: Future[Explorer] = Future()
        self._made.set_running_or_notify_cancel()  # a request that is given up does not cancel it
        self._background: Background | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._open, daemon=True)

    def start(self, failed: Callable[[], object] = lambda: None) -> None:
        """Begin. `failed` is called, in that thread, where it cannot be made."""
        self._failed = failed
        self._thread.start()

    def _open(self) -> None:
        try:
            explorer = self._make()
        except BaseException as error:
            self._made.set_exception(error)
            self._failed()
            return
        self._made.set_result(explorer)
        explorer.warm_up()
        if self._make_way is not None and not self._ended.is_set():
            self._background = explorer.background(self._make_way)
            self._background.start()

    async def explorer(self) -> "Explorer":
        """The explorer, once it is there. Raises what making it raised."""
        return await asyncio.wrap_future(self._made)

    def end(self) -> None:
        """Stop, and save what is indexed. Raises what making it raised."""
        self._ended.set()
        self._thread.join(30)
        if self._background is not None:
            self._background.end()
        if self._made.done():
            self._made.result()
