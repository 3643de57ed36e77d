"""Sources that are a stream of records (lines of a table, samples in tars, rows of an archive): each record has a name,
a label in words and perhaps a split.

One pass finds the classes and checks the names. It keeps 13 bytes per record, so that a source of many millions fits in
memory; the records themselves are read again whenever a split is listed.
"""

import hashlib
from array import array
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from alexnet.data.classes import Class, known_name
from alexnet.data.sources.held_out import held_out_count
from alexnet.data.sources.source import Choices, Contents, LabelledImage, Location, Source, Split
from alexnet.files.printable import printable

if TYPE_CHECKING:
    import numpy as np

MOST_CLASSES, LONGEST_NAME, MOST_RECORDS = 1 << 17, 1000, 1 << 24
"""Of a source: classes, characters of a class's name, and records."""
SPLITS = ("train", "val", "test")
ROLES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""Names of splits, without capitals."""


class Record(NamedTuple):
    """A record of a source."""

    name: str
    """Its name in the source, by which it is told from all others; printable."""
    label: str
    """The name of its class, or its number; printable."""
    location: Location
    split: str | None = None
    """One of `SPLITS`; None where the source does not say."""


class Found(NamedTuple):
    """What the first pass has found."""

    classes: tuple[Class, ...]
    label_of: dict[str, int]
    labels: "np.ndarray"
    """int32 [N]: the class of each record."""
    splits: "np.ndarray"
    """uint8 [N]: the index of its split among `SPLITS`."""
    draws: "np.ndarray"
    """uint64 [N]: a hash of seed, class and name, which decides what is held out."""
    sha256: str
    """Of all names, labels and splits."""


def open_records(
    kind: str,
    path: Path,
    records: Callable[[], Iterable[Record]],
    choices: Choices,
    *,
    classes: Collection[str] = (),
    remarks: tuple[str, ...] = (),
    find_contents: Callable[[int], Contents] | None = None,
) -> Source:
    """The source of the `records` of a path; every call of it goes through them again, in the same order.

    `classes` are those that the source names, in the order of their labels; without them, the labels that occur. A test
    split is the validation split where there is none, unless `val_fraction` says how much of the training images to
    hold out. `find_contents` tells from the number of records what the source holds. Raises ValueError for fewer than
    two classes, a name that occurs twice, and no training image.
    """
    found = _look(path, records, classes, choices.seed)
    split_of, remark = _assign(path, found, choices.val_fraction)

    def images(index: int) -> Iterator[LabelledImage]:
        changed = f"{path} has changed while it was read: run the same command again"
        seen = 0
        for number, record in enumerate(records()):
            if number >= len(split_of):
                raise ValueError(changed)
            seen += 1
            if split_of[number] == index:
                if record.label not in found.label_of:
                    raise ValueError(changed)
                yield LabelledImage(record.name, found.label_of[record.label], record.location)
        if seen < len(split_of):
            raise ValueError(changed)

    splits = {
        name: Split(lambda index=index: images(index), lambda index=index: int((split_of == index).sum()))
        for index, name in enumerate(SPLITS)
        if (split_of == index).any()
    }
    count = len(split_of)
    contents = find_contents or (lambda count: Contents(count, found.sha256, {}))
    return Source(kind, path, found.classes, splits, remarks=remarks + remark, find_contents=lambda: contents(count))


def _look(path: Path, records: Callable[[], Iterable[Record]], classes: Collection[str], seed: int) -> Found:
    """The first pass."""
    import numpy as np  # here, so that `alexnet --help` can list the kinds of sources without it

    first_seen: dict[str, int] = {name: index for index, name in enumerate(classes)}
    labels, draws, names, splits = array("i"), array("Q"), array("Q"), bytearray()
    digest = hashlib.sha256()
    for record in records():
        if len(splits) == MOST_RECORDS:
            raise ValueError(f"{path} has more than {MOST_RECORDS:,} records: split it into several sources")
        if record.label not in first_seen:
            if classes:
                raise ValueError(
                    f"{path}: {record.name} has the label {record.label!r:.80}, which is none of its classes"
                )
            _check_class(path, record, len(first_seen))
            first_seen[record.label] = len(first_seen)
        labels.append(first_seen[record.label])
        splits.append(255 if record.split is None else SPLITS.index(record.split))
        line = f"{record.name}\0{record.label}\0{record.split}\n".encode()
        digest.update(line)
        names.append(_hash(record.name))
        draws.append(_hash(f"{seed}\0{record.label}\0{record.name}"))
    if (again := _first_again(np.array(names, np.uint64))) is not None:
        name = next(islice(records(), again, None)).name
        raise ValueError(f"{path} names {name} twice: record {again + 1} is one that came before; delete one of them")
    ordered = list(classes) or sorted(first_seen, key=_by_number)
    if len(ordered) < 2:
        found = f"only one class, {ordered[0]}" if ordered else "no labelled images"
        raise ValueError(f"{path} has {found}: at least two classes are needed")
    position = {name: index for index, name in enumerate(ordered)}
    moved = np.array([position[name] for name in first_seen], np.int32)
    return Found(
        tuple(Class(name, known_name(name)) for name in ordered),
        position,
        moved[np.array(labels, np.int32)],
        np.array(splits, np.uint8),
        np.array(draws, np.uint64),
        digest.hexdigest(),
    )


def _assign(path: Path, found: Found, val_fraction: float | None) -> "tuple[np.ndarray, tuple[str, ...]]":
    """The split of each record, uint8 [N], and a sentence about what was decided."""
    import numpy as np

    splits, remark = found.splits, ()
    splits[splits == 255] = 0
    if not (splits == 0).any():
        raise ValueError(f"{path} holds no training images: only {' and '.join(_there(splits))}")
    if (splits == 1).any():
        return splits, remark
    if (splits == 2).any() and val_fraction is None:
        splits[splits == 2] = 1
        return splits, (f"{path} has a test split and no validation split, so test is the validation split",)
    fraction = 0.1 if val_fraction is None else val_fraction
    for label in range(len(found.classes)) if fraction else ():
        rows = np.flatnonzero((found.labels == label) & (splits == 0))
        if len(rows):
            ranked = rows[np.argsort(found.draws[rows], kind="stable")]
            splits[ranked[: held_out_count(len(rows), fraction)]] = 1
    return splits, remark


def _there(splits: "np.ndarray") -> list[str]:
    return [name for index, name in enumerate(SPLITS) if (splits == index).any()]


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def _by_number(name: str) -> tuple[int, int, str]:
    """Numbers come by their value, before words."""
    return (0, int(name), name) if name.isascii() and name.isdecimal() and len(name) < 19 else (1, 0, name)


def _check_class(path: Path, record: Record, known: int) -> None:
    label, other = record.label[:40], "choose another column with --label-column"
    if len(record.label) > LONGEST_NAME:
        raise ValueError(
            f"{path}: the label of {record.name} is longer than {LONGEST_NAME:,} letters ({label}): {other}"
        )
    if known == MOST_CLASSES:
        raise ValueError(f"{path} has more than {MOST_CLASSES:,} different labels, such as {label}: {other}")


def _first_again(hashes: "np.ndarray") -> int | None:
    """The index of the first of the hashes, uint64 [N], that came before; None where all differ."""
    import numpy as np

    order = np.argsort(hashes, kind="stable")
    again = order[1:][hashes[order[1:]] == hashes[order[:-1]]]
    return int(again.min()) if len(again) else None


def one_line(text: str) -> str:
    """A name or label of a stranger as it is stored: without spaces around it."""
    return printable(text.strip())
