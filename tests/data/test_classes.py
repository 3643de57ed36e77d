"""The table of ILSVRC-2012's classes."""

import re

from torchvision.models import _meta

from alexnet.data.classes import ilsvrc2012, known_name


def test_there_are_a_thousand_wnids_in_order() -> None:
    wnids = list(ilsvrc2012())
    assert len(wnids) == 1000
    assert wnids == sorted(wnids)
    assert all(re.fullmatch(r"n\d{8}", wnid) for wnid in wnids)
    assert all(name.strip() == name != "" for name in ilsvrc2012().values())


def test_the_names_are_torchvisions() -> None:
    # torchvision changed a few to tell homonyms apart ("crane bird") and shortened others.
    pairs = zip(ilsvrc2012().values(), _meta._IMAGENET_CATEGORIES, strict=True)
    differing = [(ours, theirs) for ours, theirs in pairs if theirs not in ours.split(", ")]
    assert len(differing) < 30


def test_an_unknown_wnid_is_its_own_name() -> None:
    assert known_name("n01440764") == "tench, Tinca tinca"
    assert known_name("n99999999") == "n99999999"
    assert known_name("my cat") == "my cat"
