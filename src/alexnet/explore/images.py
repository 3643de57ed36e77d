"""The images that views are about: those of the store, and those that were sent, each with a name for addresses.

`val-17` is image 17 of the store's split `val`; `u-` and 16 hexadecimal digits, of the SHA-256 of its bytes, is an
image that was sent. Those are kept in memory, rescaled and cut as the runs need them, never on disk.
"""

import hashlib
import re
import threading
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from alexnet.data.classes import Class
from alexnet.data.image.bounds import LARGEST_IMAGE
from alexnet.data.image.pillow import claimed_size
from alexnet.data.image.square import square
from alexnet.data.store.reader import Store, StoreSplit
from alexnet.explore import bounds
from alexnet.explore.guard import MissingError
from alexnet.files.regular import read_regular

Pixels = dict[tuple[int, bool], np.ndarray]
"""An image as runs see it, by size and by whether EXIF turns it: uint8 [size, size, 3]."""


class Images:
    """All images that can be asked for. Many threads may use it."""

    def __init__(self, store: Store | None, forms: Iterable[tuple[int, bool]]) -> None:
        """`forms` are the sizes that the runs need, and whether EXIF turns their images."""
        self.store, self.forms = store, sorted(set(forms))
        self.splits: dict[str, StoreSplit] = (
            {name: store.split(name) for name, images in store.splits.items() if images} if store else {}
        )
        self._sent: OrderedDict[str, Pixels] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, data: bytes) -> str:
        """Keep an image that was sent. Returns its name. Raises ValueError, with the reason, where it is no image."""
        name = f"u-{hashlib.sha256(data).hexdigest()[:16]}"
        if self._found(name) is None:
            self.keep(name, {form: square(data, *form) for form in self.forms})
        return name

    def add_file(self, path: Path) -> str:
        """Keep the image in a file, as `add` does."""
        name = f"u-{hashlib.sha256(read_regular(path, LARGEST_IMAGE)).hexdigest()[:16]}"
        self.keep(name, {form: square(path, *form) for form in self.forms})
        return name

    def keep(self, name: str, pixels: Pixels) -> None:
        """Keep an image under a name; the one that was not asked for the longest goes."""
        with self._lock:
            self._sent[name] = pixels
            while len(self._sent) > bounds.UPLOADS_KEPT:
                self._sent.popitem(last=False)

    def pixels(self, name: str, size: int, honour_exif: bool) -> np.ndarray:
        """The image as a run sees it: uint8 [size, size, 3]. Raises MissingError, and ValueError for a damaged row."""
        if name.startswith("u-"):
            found = self._found(name)
            if found is None:
                raise MissingError("This image is not held any more; send it again.")
            return found[size, honour_exif]
        split, index = self.of_store(name)
        return split.image(index)

    def of_store(self, name: str) -> tuple[StoreSplit, int]:
        """The split and index of an image of the store. MissingError where there is none."""
        match = re.fullmatch(r"([a-z]+)-(\d{1,9})", name)
        if not self.splits:
            raise MissingError("There is no store; start alexnet explore with --data STORE.")
        if match is None or match[1] not in self.splits:
            raise MissingError(f"There is no image of that name; those of the store are {', '.join(self.splits)}-0 ...")
        split, index = self.splits[match[1]], int(match[2])
        if index >= len(split):
            raise MissingError(f"The store has {len(split):,} images in '{match[1]}'.")
        return split, index

    def about(self, name: str) -> dict[str, Any]:
        """`image`, `key` (its name in the source), `wnid` and `name` of its true class; None where not known."""
        if name.startswith("u-"):
            return {"image": name, "key": None, "wnid": None, "name": None}
        split, index = self.of_store(name)
        assert self.store is not None
        return {"image": name, "key": split.key(index)} | as_json(self.store.classes[int(split.labels[index])])

    def _found(self, name: str) -> Pixels | None:
        with self._lock:
            if name in self._sent:
                self._sent.move_to_end(name)
            return self._sent.get(name)


def as_json(entry: Class) -> dict[str, str]:
    """`wnid` and `name`."""
    return {"wnid": entry.wnid, "name": entry.name}


def is_large(data: bytes) -> bool:
    """Whether an encoded image claims so many pixels that it takes seconds to decode. Its header alone is read."""
    try:
        width, height = claimed_size(data)
    except ValueError:  # decoding it will say what is wrong
        return False
    return width * height > bounds.LARGE_PIXELS
