"""Everything that the page shows, as JSON values and PNG: the runs, the store, the images."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import alexnet
from alexnet.data.store.reader import Store
from alexnet.explore import bounds, png, through
from alexnet.explore.arithmetic import arithmetic
from alexnet.explore.guard import MissingError
from alexnet.explore.images import Images, as_json
from alexnet.explore.runs import Run
from alexnet.study.matching import check_size

Query = Mapping[str, str]
MOST_LISTED = 200
"""Images of the store in one answer."""


class Explorer:
    """What answers. Every method that has a route takes the query of the address, and raises MissingError for what is
    not there, ValueError for what makes no sense."""

    def __init__(self, runs: Sequence[Path], data: Path | None = None, device: str = "auto") -> None:
        """Raises ValueError for a folder that is no run, and where runs and store do not fit each other."""
        store = None if data is None else Store(data)
        self.store = store
        self.runs = [Run(number, path, device) for number, path in enumerate(runs)]
        for run in self.runs if store else ():
            assert store is not None
            check_size(run.net, store, run.path)
        self.images = Images(store, [run.form for run in self.runs])

    def about(self, query: Query) -> dict[str, Any]:
        """The runs, the store, the limits."""
        splits = {name: len(split) for name, split in self.images.splits.items()}
        classes = [as_json(entry) for entry in self.store.classes] if self.store else []
        return {
            "version": alexnet.__version__,
            "runs": [run.about() for run in self.runs],
            "store": {"splits": splits, "classes": classes} if self.store else None,
            "limits": {"bytes": bounds.LARGEST_UPLOAD},
        }

    def run(self, query: Query) -> Run:
        """The run that an address names by its number; without it, the first."""
        number = whole(query, "run", 0)
        if not 0 <= number < len(self.runs):
            raise MissingError(f"There is no run {number}; there are {len(self.runs)}, counted from 0.")
        return self.runs[number]

    def add(self, data: bytes) -> dict[str, Any]:
        """Keep an image that was sent. Returns `image`, its name in addresses."""
        return {"image": self.images.add(data)}

    def list(self, query: Query) -> dict[str, Any]:
        """Images of the store: from number `from` on in `split`, or of the class `wnid`, evenly spread over it."""
        assert_store(self.store)
        name = query.get("split", next(iter(self.images.splits)))
        split, _ = self.images.of_store(f"{name}-0")
        count = min(max(1, whole(query, "count", 24)), MOST_LISTED)
        numbers = np.arange(len(split))
        if wnid := query.get("wnid"):
            assert self.store is not None
            known = [entry.wnid for entry in self.store.classes]
            if wnid not in known:
                raise MissingError("The store has no class of that wnid.")
            numbers = np.flatnonzero(split.labels == known.index(wnid))
        if "from" in query:
            chosen = numbers[whole(query, "from", 0) :][:count]
        else:
            chosen = numbers[np.linspace(0, len(numbers) - 1, min(count, len(numbers))).round().astype(int)]
        return {"split": name, "of": len(numbers), "images": [self.images.about(f"{name}-{i}") for i in chosen]}

    def image(self, query: Query) -> bytes:
        """PNG of an image as a run sees it, whole."""
        return png.encode(self.run(query).pixels(self.images, named(query, "image")))

    def predict(self, query: Query) -> dict[str, Any]:
        """The labels that each run gives an image, and its true one."""
        views = whole(query, "views", 10)
        image = named(query, "image")
        runs = self.runs if "run" not in query else [self.run(query)]
        return self.images.about(image) | {"runs": [run.predict(self.images, image, views) for run in runs]}

    def stages(self, query: Query) -> dict[str, Any]:
        """What each stage makes of an image."""
        run, image = self.run(query), named(query, "image")
        return self.images.about(image) | {"stages": through.stages(run, self.images, image)}

    def maps(self, query: Query) -> bytes:
        """PNG of the maps of a stage."""
        return through.maps_png(self.run(query), self.images, named(query, "image"), named(query, "stage"))

    def map(self, query: Query) -> dict[str, Any]:
        """The values of one map."""
        run, image, name = self.run(query), named(query, "image"), named(query, "stage")
        return through.map_values(run, self.images, image, name, whole(query, "unit", 0))

    def arithmetic(self, query: Query) -> dict[str, Any]:
        """The arithmetic of one output."""
        run, image, name = self.run(query), named(query, "image"), named(query, "stage")
        numbers = (whole(query, each, 0) for each in ("unit", "y", "x"))
        return arithmetic(run, self.images, image, name, *numbers)


def named(query: Query, name: str) -> str:
    """A part of the query that must be there."""
    if name not in query:
        raise ValueError(f"The address lacks {name}=...")
    return query[name]


def whole(query: Query, name: str, default: int) -> int:
    """A whole number from the query."""
    text = query.get(name, str(default))
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise ValueError(f"{name} must be a whole number, 0 or more.")
    return int(text)


def assert_store(store: Store | None) -> None:
    """MissingError where no store was given."""
    if store is None:
        raise MissingError("There is no store; start alexnet explore with --data STORE.")
