"""Everything that the page shows, as JSON values and PNG: the runs, the store, the images."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import alexnet
from alexnet.data.store.reader import Store
from alexnet.explore import bounds, png, switches, through, unit_view
from alexnet.explore.arithmetic import arithmetic
from alexnet.explore.guard import MissingError
from alexnet.explore.images import Images, as_json
from alexnet.explore.indexer import SPLIT, Background, Indexer
from alexnet.explore.kernels import kernels
from alexnet.explore.map_of_store import StoreMap
from alexnet.explore.runs import Run
from alexnet.explore.training_view import TrainingView
from alexnet.study.matching import check_size
from alexnet.study.random_weights import warn_if_random

Query = Mapping[str, str]
MOST_LISTED = 200
"""Images of the store in one answer."""


class Explorer:
    """What answers. Every method that has a route takes the query of the address, and raises MissingError for what is
    not there, ValueError for what makes no sense."""

    def __init__(self, runs: Sequence[Path], data: Path | None = None, device: str = "auto") -> None:
        """Raises ValueError for a folder that is no run, and where runs and store do not fit each other."""
        store = None if data is None else Store(data)
        self.data = store
        self.runs = [Run(number, path, device) for number, path in enumerate(runs)]
        for run in self.runs if store else ():
            assert store is not None
            check_size(run.net, store, run.path)
        self.images = Images(store, [run.form for run in self.runs])
        self.random = [warn_if_random(run.net, run.name) for run in self.runs]
        with_index = store is not None and bool(store.splits.get(SPLIT))
        self.indexers = [Indexer(run, store) if with_index and store else None for run in self.runs]
        self.maps_of_store = [
            StoreMap(run, self.images, indexer) for run, indexer in zip(self.runs, self.indexers, strict=True)
        ]
        self.trainings = [TrainingView(run.path) for run in self.runs]

    def warm_up(self) -> None:
        """Make the first answer as fast as the others."""
        for run in self.runs:
            run.warm_up()

    def background(self, make_way: Callable[[], bool], first: bool = False) -> Background:
        """What indexes the store, for all runs or the `first`; `make_way` says whether requests wait."""
        chosen = self.indexers[:1] if first else self.indexers
        return Background([each for each in chosen if each is not None], make_way)

    def examples(self, count: int) -> list[str]:
        """Names of some images of the store, evenly spread, validation before training; none without a store."""
        name = next((each for each in ("val", *self.images.splits) if each in self.images.splits), None)
        if name is None:
            return []
        images = len(self.images.splits[name])
        return [f"{name}-{i}" for i in np.linspace(0, images - 1, min(count, images)).round().astype(int)]

    def about(self, query: Query) -> dict[str, Any]:
        """The runs, the store, the limits."""
        splits = {name: len(split) for name, split in self.images.splits.items()}
        classes = [as_json(entry) for entry in self.data.classes] if self.data else []
        return {
            "version": alexnet.__version__,
            "runs": [run.about() | {"random": why} for run, why in zip(self.runs, self.random, strict=True)],
            "store": {"splits": splits, "classes": classes} if self.data else None,
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
        assert_store(self.data)
        name = query.get("split", next(iter(self.images.splits)))
        split, _ = self.images.of_store(f"{name}-0")
        count = min(max(1, whole(query, "count", 24)), MOST_LISTED)
        numbers = np.arange(len(split))
        if wnid := query.get("wnid"):
            assert self.data is not None
            known = [entry.wnid for entry in self.data.classes]
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

    def progress(self, query: Query) -> dict[str, Any]:
        """How far the index of a run is."""
        indexer = self.indexers[self.run(query).number]
        return {"index": indexer.about() if indexer else None}

    def unit(self, query: Query) -> dict[str, Any]:
        """What excites a unit, and what feeds it."""
        run = self.run(query)
        indexer = self.indexers[run.number]
        return unit_view.about_unit(run, self.images, indexer, named(query, "layer"), whole(query, "unit", 0))

    def units(self, query: Query) -> dict[str, Any]:
        """All units of a layer."""
        run = self.run(query)
        return unit_view.overview(run, self.indexers[run.number], named(query, "layer"))

    def patch(self, query: Query) -> bytes:
        """PNG of a part of an image."""
        top, left, height, width = (whole(query, each, 0) for each in ("top", "left", "height", "width"))
        return unit_view.patch_png(self.run(query), self.images, named(query, "image"), (top, left, height, width))

    def kernels(self, query: Query) -> dict[str, Any]:
        """The kernels of conv1."""
        return kernels(self.run(query))

    def store(self, query: Query) -> dict[str, Any]:
        """The map of the store."""
        return self.maps_of_store[self.run(query).number].about(query.get("image"))

    def similar(self, query: Query) -> dict[str, Any]:
        """The nearest images of the store."""
        count = min(max(1, whole(query, "count", 12)), MOST_LISTED)
        return self.maps_of_store[self.run(query).number].similar(named(query, "image"), count)

    def tricks(self, query: Query) -> dict[str, Any]:
        """The image with tricks switched on and off."""
        return switches.tricks(self.run(query), self.images, named(query, "image"), switches.parse(query))

    def trick_input(self, query: Query) -> bytes:
        """PNG of the network's input then."""
        return png.encode(self._tried(query).shown)

    def trick_maps(self, query: Query) -> bytes:
        """PNG of the maps before conv2 then."""
        return switches.maps_png(self._tried(query))

    def _tried(self, query: Query) -> switches.Tried:
        return switches.attempt(self.run(query), self.images, named(query, "image"), switches.parse(query))

    def mean(self, query: Query) -> bytes:
        """PNG of the mean image."""
        mean = self.run(query).net.preprocess.mean.numpy()
        return png.encode(np.rint(mean.clip(0, 255)).astype(np.uint8))

    def training(self, query: Query) -> dict[str, Any]:
        """The curves of the training, and the checkpoints."""
        return self.trainings[self.run(query).number].about()

    def film(self, query: Query) -> bytes:
        """PNG of the kernels in a checkpoint."""
        run = self.run(query)
        return self.trainings[run.number].film(whole(query, "step", 0), run.net.network.towers)


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
