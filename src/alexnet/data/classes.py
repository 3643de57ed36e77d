"""Classes, and the names of the 1000 classes of ILSVRC-2012.

A class of ImageNet is a WordNet synset: its wnid is the letter n and WordNet 3.0's eight-digit offset of
the noun, its name is the synset's words. `ilsvrc2012.tsv` holds the 1000 of ILSVRC-2012, one a line (wnid,
tab, words), in the order of their wnids. Wnids and words come from WordNet 3.0 (Princeton University,
https://wordnet.princeton.edu), by way of the lists in the package timm; which 1000 is the challenge's choice.
"""

from functools import cache
from importlib.resources import files
from typing import NamedTuple


class Class(NamedTuple):
    """One class: for folders that are no wnids, both are the folder's name."""

    wnid: str
    name: str


@cache
def ilsvrc2012() -> dict[str, str]:
    """The 1000 classes of ILSVRC-2012: wnid to words ("tench, Tinca tinca"), in the order of the wnids."""
    table = files("alexnet.data").joinpath("ilsvrc2012.tsv").read_text(encoding="utf-8")
    return dict(line.split("\t") for line in table.splitlines())  # pyright: ignore[reportReturnType]


def known_name(wnid: str) -> str:
    """The words of a wnid of ILSVRC-2012; of anything else, the thing itself."""
    return ilsvrc2012().get(wnid, wnid)
