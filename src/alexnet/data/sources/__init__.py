"""Sources of labelled images. `KINDS` lists the kinds that are known; a file of this folder holds each of them."""

from pathlib import Path

from alexnet.data.image.bounds import LARGEST_IMAGE
from alexnet.data.sources import annotated, cifar, folders, ilsvrc, kaggle, listed, parquet, webdataset
from alexnet.data.sources.source import Choices, LabelledImage, Location, Source, SourceKind, Split
from alexnet.data.sources.walk import holds_images
from alexnet.ranges import FractionOfSome, UsageError, checked

__all__ = [
    "KINDS",
    "LabelledImage",
    "Location",
    "Source",
    "SourceKind",
    "Split",
    "open_source",
    "read_bytes",
]

KINDS: tuple[SourceKind, ...] = (
    *(ilsvrc.KIND, kaggle.KIND, parquet.KIND, cifar.KIND, webdataset.KIND, annotated.KIND, listed.KIND, folders.KIND),
)
"""The first kind that detects something at a path opens it: those with names of their own come first."""


@checked
def open_source(
    path: Path,
    val_fraction: FractionOfSome | None = None,
    seed: int = 0,
    image_column: str | None = None,
    label_column: str | None = None,
    labels: Path | str | None = None,
) -> Source:
    """The images at `path`, of whatever kind they are.

    Where the source has no validation split, `val_fraction` of every class, drawn with `seed`, becomes one (0 for no
    such split; None for the kind's default, 0.1 for folders). `image_column` and `label_column` choose the columns of a
    table, which are found otherwise; `labels` is the file of a table for the folder `path`. Raises ValueError with what
    is wrong with `path` and what to do.
    """
    path = Path(path)
    choices = Choices(val_fraction, seed, image_column, label_column, None if labels is None else str(labels))
    shards = None if path.exists() else webdataset.expanded(path)
    if shards is None and not path.exists():
        raise ValueError(f"{path} does not exist")
    if labels is not None:
        source = listed.open_with_table(path, Path(labels), choices)
    else:
        source = webdataset.open_shards(path, shards, choices) if shards else _open(path, choices)
    for name, split in source.splits.items():
        if next(iter(split), None) is None:
            raise ValueError(f"the {name} split of {path} holds no images")
    return source


def _open(path: Path, choices: Choices) -> Source:
    if (path / "store.json").is_file():
        raise ValueError(f"{path} is a store already, made by alexnet prepare: train on it, alexnet train {path} RUN")
    for kind in KINDS:
        if (found := kind.detect(path)) is not None:
            if not kind.has_columns and (choices.image_column or choices.label_column):
                raise UsageError(f"{path} has no columns ({kind.looks}): leave out --image-column and --label-column")
            return kind.open(path, found, choices)
    if path.is_file():
        raise ValueError(f"{path} is a file, and images are read from a folder: unpack it, or give the folder it is in")
    if holds_images(path):
        raise ValueError(
            f"{path} holds images but no class folders: put the images of each class into a folder of its own"
        )
    raise ValueError(f"{path} holds no images in a known layout: expected one of: {known_layouts()}")


def known_layouts() -> str:
    """What each kind of source looks like, in one line."""
    return "; ".join(kind.looks for kind in KINDS)


def read_bytes(location: Location) -> bytes:
    """The encoded image at a location. Raises ValueError with the reason where it cannot be read."""
    try:
        data = location.read(LARGEST_IMAGE + 1)
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from error
    if len(data) > LARGEST_IMAGE:
        raise ValueError(f"larger than {LARGEST_IMAGE >> 20} MiB: no image")
    return data
