"""Classes, and the names of the 1000 classes of ILSVRC-2012.

A class of ImageNet is a WordNet synset. Its wnid is the letter n with WordNet 3.0's eight-digit offset of the noun; its
name is the synset's words. `ilsvrc2012.tsv` lists the 1000 classes of ILSVRC-2012, sorted by wnid, one per line: wnid,
tab, words. Wnids and words are from WordNet 3.0 (Princeton University, https://wordnet.princeton.edu), taken from the
lists in the package timm; the challenge chose the 1000.
"""

from functools import cache
from importlib.resources import files
from typing import NamedTuple


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
