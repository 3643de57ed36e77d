"""Indexes a store in the background: what excites each unit (`units.py`), and the last hidden layer of each image.

One pass for both, in a thread of its own with a network of its own that shares the run's weights. It makes way for
requests. It saves what it has every half minute, and resumes from there. The activations of the last hidden layer are
the index of `alexnet similar`, which finds them where it would have put them itself.
"""

import math
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from alexnet.data.loader import in_order
from alexnet.data.store.reader import Store
from alexnet.explore.runs import Run
from alexnet.explore.units import Units, Watch
from alexnet.files import durable, lock
from alexnet.files.rows import RowFile, make_rows
from alexnet.native import cache
from alexnet.study import index
from alexnet.study.activations import activations, centre_views
from alexnet.study.outputs import UNWRITABLE
from alexnet.study.trained import TrainedAlexNet
from alexnet.training.run_folder import fingerprint

SECONDS_BETWEEN_SAVES = 30.0
LONGEST_PAUSE = 2.0
"""Seconds that a batch waits for requests, at most."""
SPLIT = "train"


class Indexer:
    """The index of one run."""

    def __init__(self, run: Run, store: Store, split: str = SPLIT) -> None:
        self.run, self.store, self.split = run, store, split
        self.images = store.split(split)
        self.lock = threading.Lock()
        self.units: Units | None = None
        """What is known so far; None before the pass begins. Read it while holding `lock`."""
        self.rows: RowFile | None = None
        """The last hidden layer of all images, once it is whole."""
        self.state, self.problem = "waiting", ""
        self.advance: Callable[[int], object] = lambda count: None
        """Is told how many more images are done."""

    def about(self) -> dict[str, Any]:
        """`state` (waiting, running, done, failed), `done` and `of` images, `error`."""
        done = self.units.done if self.units else 0
        return {"state": self.state, "done": done, "of": len(self.images), "split": self.split, "error": self.problem}

    def work(self, make_way: Callable[[], bool], stop: threading.Event) -> None:
        """Do it all; `make_way` says whether requests wait. Ends early after `stop`."""
        try:
            folder = self._folder()
            digest = index.weights_digest(self.run.net)
            made_from = {"weights": digest, "store": fingerprint(self.store), "split": self.split, "version": 2}
            with _held(folder / "units", stop, self._elsewhere):
                if not stop.is_set():
                    self._pass(folder, made_from, make_way, stop)
        except Exception as error:
            self.state, self.problem = "failed", str(error) or type(error).__name__
            if not isinstance(error, ValueError | OSError):
                raise

    def _elsewhere(self) -> None:
        self.problem = "Another alexnet explore indexes this run; this one waits for it."

    def _folder(self) -> Path:
        """`RUN/index`, or a folder of the cache where the run cannot be written."""
        folder = self.run.path / "index"
        try:
            (folder / "units").mkdir(parents=True, exist_ok=True)
            if os.access(folder / "units", os.W_OK) and os.access(folder, os.W_OK):
                return folder
        except OSError as error:
            if error.errno not in UNWRITABLE:
                raise
        folder = cache.folder() / "index" / index.weights_digest(self.run.net)[:16]
        (folder / "units").mkdir(parents=True, exist_ok=True)
        return folder

    def _pass(
        self, folder: Path, made_from: dict[str, Any], make_way: Callable[[], bool], stop: threading.Event
    ) -> None:
        """Resume the pass over the images and finish it."""
        units = Units(self.run.net.layers, len(self.store.classes), made_from)
        file, rows = folder / "units" / f"{self.split}.safetensors", Rows(self, folder, made_from["weights"])
        resumed = units.load(file, len(self.images)) and rows.resume(units.done)
        if not resumed:
            units = Units(self.run.net.layers, len(self.store.classes), made_from)
            rows.begin()
        with self.lock:
            self.units = units
        self.advance(units.done)
        self.state, self.problem = "running", ""
        net = twin(self.run.net)
        watch = Watch(net, net.layers)
        saved = time.monotonic()
        batches = in_order(self.images, index.BATCH_SIZE, 1, slice(units.done, None))
        for images, labels, first in batches if units.done < len(self.images) else ():
            began = time.monotonic()
            while make_way() and time.monotonic() - began < LONGEST_PAUSE and not stop.is_set():
                time.sleep(0.05)
            if stop.is_set():
                break
            # The last layer too: what comes after the wanted layers is not computed.
            found = activations(net, centre_views(net, images), [net.last_hidden, net.layers[-1].name])
            rows.write(first, found[net.last_hidden].reshape(len(images), -1))
            with self.lock:
                units.add(watch.found, labels.numpy())
            self.advance(len(labels))
            if time.monotonic() - saved > SECONDS_BETWEEN_SAVES:
                rows.sync()
                units.save(file)
                saved = time.monotonic()
        rows.sync()
        units.save(file)
        if units.done == len(self.images):
            rows.finish()
            self.state = "done"


class Rows:
    """The last hidden layer of all images, as `alexnet similar` keeps it; none where the disk has no room for it."""

    def __init__(self, indexer: Indexer, folder: Path, weights: str) -> None:
        net, self.indexer, self.folder = indexer.run.net, indexer, folder
        self.file, self.label = folder / f"{indexer.split}.npy", folder / f"{indexer.split}.json"
        self.partial = folder / "units" / f"{indexer.split}-rows.npy"
        self.made_from = index.made_from_of(indexer.store, indexer.split, net.last_hidden, weights)
        layer = indexer.run.layers[net.last_hidden]
        self.shape = len(indexer.images), math.prod(layer.outputs)
        self.rows: RowFile | None = None

    def found(self) -> RowFile | None:
        """The index that `alexnet similar` keeps, where it is there, whole and up to date."""
        return index.find_rows(self.file, self.label, self.made_from, self.shape)

    def begin(self) -> None:
        """Make room, unless the index is there."""
        if self.found() is None:
            with suppress(ValueError):  # no room: there will be no neighbours
                make_rows(self.partial, self.shape)
                self.rows = RowFile(self.partial)

    def resume(self, done: int) -> bool:
        """Continue; False where the rows of the first `done` images are not there."""
        if self.found() is not None:
            return True
        try:
            self.rows = RowFile(self.partial)
        except (OSError, ValueError):
            return False
        return self.rows.shape == self.shape

    def write(self, first: int, vectors: Any) -> None:
        if self.rows is not None:
            self.rows.write(first, vectors)

    def sync(self) -> None:
        if self.rows is not None:
            durable.sync(self.partial)

    def finish(self) -> None:
        """Put the rows where `alexnet similar` looks for them, and give them to the indexer."""
        with lock.wait(self.folder):
            if self.rows is not None:
                self.label.unlink(missing_ok=True)
                durable.put(self.partial, self.file)
                durable.write_json(self.label, self.made_from)
            self.indexer.rows = self.found()


class _held:  # noqa: N801
    """The lock of a folder, waited for until `stop`."""

    def __init__(self, folder: Path, stop: threading.Event, waiting: Callable[[], None]) -> None:
        self.folder, self.stop, self.waiting = folder, stop, waiting

    def __enter__(self) -> None:
        while True:
            self.held = lock.hold(self.folder, "alexnet explore")
            try:
                self.held.__enter__()
                return
            except ValueError:
                self.waiting()
                if self.stop.wait(1):
                    self.held = None
                    return

    def __exit__(self, *error: Any) -> None:
        if self.held is not None:
            self.held.__exit__(None, None, None)


def twin(net: TrainedAlexNet) -> TrainedAlexNet:
    """A network of its own, with hooks of its own, that shares the weights."""
    with torch.device("meta"):
        made = TrainedAlexNet(net.network)
    made.load_state_dict(net.state_dict(), assign=True)
    made.config, made.classes, made.preprocess, made.checkpoint = (
        net.config,
        net.classes,
        net.preprocess,
        net.checkpoint,
    )
    return made.eval()


class Background:
    """Indexes all runs, one after the other, in one thread."""

    def __init__(self, indexers: list[Indexer], make_way: Callable[[], bool]) -> None:
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._work, args=(indexers, make_way), daemon=True)

    def _work(self, indexers: list[Indexer], make_way: Callable[[], bool]) -> None:
        if sys.platform == "linux":  # there, this is of one thread
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)
        for indexer in indexers:
            if not self.stop.is_set():
                indexer.work(make_way, self.stop)

    def start(self) -> None:
        self.thread.start()

    def run(self) -> None:
        """Start, and wait for the end; Ctrl-C saves what there is."""
        self.start()
        try:
            while self.thread.is_alive():
                self.thread.join(0.2)
        finally:
            self.end()

    def end(self) -> None:
        """Save what there is, and end."""
        self.stop.set()
        if self.thread.is_alive():
            self.thread.join(30)
