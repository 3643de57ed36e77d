"""Which images of a class become the validation split."""

from pathlib import Path

import miniature
from miniature import keys

from alexnet.data.sources import open_source
from alexnet.data.sources.held_out import hold_out


def test_what_is_held_out_of_a_class_does_not_depend_on_other_classes(tmp_path: Path) -> None:
    before = keys(open_source(miniature.folder(tmp_path, {"b": 12, "c": 12}), 0.3), "val")
    after = keys(open_source(miniature.folder(tmp_path, {"a": 12}), 0.3), "val")
    assert {key for key in after if key[0] != "a"} == before
    names = [f"{n}.jpg" for n in range(100)]
    assert hold_out(names, "a", 0.2, 3) == hold_out(reversed(names), "a", 0.2, 3)
    assert hold_out(names, "a", 0.2, 3) != hold_out(names, "b", 0.2, 3)
    assert len(hold_out(names, "a", 0.2, 3) ^ hold_out([*names, "new.jpg"], "a", 0.2, 3)) <= 2
