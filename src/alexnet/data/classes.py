"""Classes, and the names of the 1000 classes of ILSVRC-2012.

A class of ImageNet is a WordNet synset. Its wnid is the letter n with WordNet 3.0's eight-digit offset of the noun; its
name is the synset's words. `ilsvrc2012.tsv` lists the 1000 classes of ILSVRC-2012, sorted by wnid, one per line: wnid,
tab, words. Wnids and words are from WordNet 3.0 (Princeton University, https://wordnet.princeton.edu), taken from the
lists in the package timm; the challenge chose the 1000.
"""

from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from alexnet.files import durable
from alexnet.files.json_file import read_json


class Class(NamedTuple):
    """A class. Where a folder's name is not a wnid, both are that name."""

    wnid: str
    name: str


@cache
def ilsvrc2012() -> dict[str, str]:
    """The 1000 classes of ILSVRC-2012, sorted by wnid: wnid to words ("tench, Tinca tinca")."""
    table = files("alexnet.data").joinpath("ilsvrc2012.tsv").read_text(encoding="utf-8")
    return dict(line.split("\t") for line in table.splitlines())  # pyright: ignore[reportReturnType]


def known_name(wnid: str) -> str:
    """The words of a wnid of ILSVRC-2012; any other name is returned as it is."""
    return ilsvrc2012().get(wnid, wnid)


def as_classes(pairs: list[list[str]]) -> tuple[Class, ...]:
    """Classes from pairs of wnid and name, as JSON files hold them. Raises ValueError with the reason."""
    if any(len(pair) != 2 for pair in pairs):
        raise ValueError("its classes are not pairs of wnid and name")
    if not pairs or len({wnid for wnid, _ in pairs}) < len(pairs):
        raise ValueError("it has a class twice" if pairs else "it has no class")
    return tuple(Class(*pair) for pair in pairs)


def read_classes(path: Path) -> tuple[Class, ...]:
    """The classes that `write_classes` wrote. Raises ValueError, naming the file, for anything else."""
    try:
        return as_classes(read_json(path, list[list[str]]))
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise ValueError(f"{path} is not a list of classes: {error}") from None


def write_classes(path: Path, classes: Iterable[Class]) -> None:
    """Write classes as JSON, a list of pairs of wnid and name."""
    durable.write_json(path, [list(each) for each in classes])
