"""The images of a reproduction: stores that the user names, or synthetic ones for scale `tiny`."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from alexnet.config import suggestion
from alexnet.data.prepare.prepare import prepare
from alexnet.demo.synthetic import CLASSES, draw_set
from alexnet.files import lock
from alexnet.files.words import counted
from alexnet.ranges import UsageError
from alexnet.reproduce.arms import Data
from alexnet.reproduce.plan import DataSet
from alexnet.reproduce.scales import Scale

SYNTHETIC = "synthetic"
TRAIN, VAL = 48, 24
"""Synthetic images."""
SIZES: dict[Data, int] = {"cifar10": 32, "images": 48, "wider": 48}
FEWER = tuple(name for name in CLASSES if name.startswith("red"))
"""The classes that `images` has; `wider` has all."""
KNOWN: dict[str, tuple[int, int]] = {
    "cifar10": (50_000, 10),
    "imagenette": (9_469, 10),
    "imagenet": (1_281_167, 1000),
    "tiny-imagenet": (100_000, 200),
    "imagenet22k": (15_000_000, 22_000),
}
"""Training images and classes of data sets that are not there, for a plan."""


def sets_of(scale: Scale, named: Sequence[str], out: Path) -> dict[Data, DataSet]:
    """The images of each role: those of the stores in `named` ("NAME=STORE"), or of a plan where none is.

    NAME is that of the scale's data set, or `wider` for any store of more classes, to pre-train with. ValueError for an
    unknown name, and for a store that cannot be used.
    """
    if set(scale.sets.values()) == {SYNTHETIC}:
        if named:
            raise UsageError(f"Scale {scale.name} draws its own images; leave --data out.")
        return synthetic(out / "data")
    roles: dict[str, Data] = {name: role for role, name in scale.sets.items()} | {"wider": "wider"}
    stores: dict[Data, Path] = {}
    for text in named:
        name, equals, store = text.partition("=")
        if not equals or not store:
            raise UsageError(f"--data {text} is not NAME=STORE; the names are {', '.join(roles)}.")
        if name not in roles:
            raise UsageError(f"Scale {scale.name} has no data set '{name}'; {suggestion(name, roles)}")
        stores[roles[name]] = Path(store)
    if not stores:
        return {role: DataSet(*KNOWN[name]) for role, name in scale.sets.items()}
    sets = {role: DataSet.open(stores[role]) for role in scale.sets if role in stores}
    for role, images in sets.items():
        assert images.store is not None
        if images.store.size < scale.bases[role].network.input_size:
            raise ValueError(
                f"{images.store.path} holds images of {images.store.size} pixels, and scale {scale.name} needs at "
                f"least {scale.bases[role].network.input_size}: prepare it again with a larger --size."
            )
        if images.images < scale.bases[role].batch_size:
            raise ValueError(
                f"{images.store.path} has {counted(images.images, 'training image')}, and scale {scale.name} needs at "
                f"least {scale.bases[role].batch_size}: prepare more."
            )
    return sets


def synthetic(folder: Path) -> dict[Data, DataSet]:
    """Synthetic images, drawn and prepared once."""
    with lock.wait(folder):  # other shares wait
        drawn = {"wider": folder / "drawn", "images": folder / "fewer", "cifar10": folder / "drawn"}
        draw_set(drawn["wider"], train=TRAIN, val=VAL, workers=1)
        for split in ("train", "val"):
            for name in FEWER:
                shutil.copytree(drawn["wider"] / split / name, drawn["images"] / split / name, dirs_exist_ok=True)
        stores: dict[Data, Path] = {role: folder / role for role in SIZES}
        for role, store in stores.items():
            if not store.exists():
                prepare(drawn[role], store, size=SIZES[role], workers=1)
    return {role: DataSet.open(store) for role, store in stores.items()}
