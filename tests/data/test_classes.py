"""The table of ILSVRC-2012's classes."""

import re
from pathlib import Path

import pytest
from torchvision.models import _meta

from alexnet.data.classes import Class, ilsvrc2012, known_name, read_classes, write_classes


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


def test_classes_come_back_as_they_were_written(tmp_path: Path) -> None:
    classes = (Class("n1", "Löffel 匙"), Class("n2", ""))
    write_classes(tmp_path / "classes.json", classes)
    assert read_classes(tmp_path / "classes.json") == classes


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("[" * 200_000, "nested more than"),
        ("{}", "it is not a list"),
        ("[]", "it has no class"),
        ('["n1", "n2"]', "it is not a list"),
        ('[["n1", "one"], ["n2"]]', "not pairs of wnid and name"),
        ('[["n1", 1]]', "it is 1, not a text"),
        ('[["n1", "one"], ["n1", "two"]]', "it has a class twice"),
        (r'[["n1", "\ud800"]]', "not a text"),
    ],
)
def test_what_is_no_list_of_classes_is_refused_in_a_sentence(tmp_path: Path, content: str, reason: str) -> None:
    (tmp_path / "classes.json").write_text(content)
    with pytest.raises(ValueError, match=rf"classes.json is not a list of classes: .*{reason}") as caught:
        read_classes(tmp_path / "classes.json")
    assert type(caught.value) is ValueError
