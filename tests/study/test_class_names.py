"""Classes that files say they are of."""

from pathlib import Path

from alexnet.data.classes import Class
from alexnet.study.class_names import short_name, true_class


def test_the_true_class_comes_from_the_folder_or_the_file_name() -> None:
    classes = [
        Class("n01440764", "tench, Tinca tinca"),
        Class("n03888257", "parachute, chute"),
        Class("red", "red"),
    ]
    assert true_class(Path("val/n03888257/x.jpg"), classes) == 1
    assert true_class(Path("images/Parachute/x.jpg"), classes) == 1
    assert true_class(Path("red/n01440764_1.JPEG"), classes) == 2
    assert true_class(Path("anywhere/n01440764_10026.JPEG"), classes) == 0
    assert true_class(Path("anywhere/n00000001_1.JPEG"), classes) is None
    assert true_class(Path("anywhere/red.jpg"), classes) is None
    assert short_name("tench, Tinca tinca") == "tench"
