"""The confusion matrix as a figure."""

import numpy as np
import pytest

from alexnet.study import matrix_figure


def shown(matrix: np.ndarray, names: list[str]):
    figure = matrix_figure.confusions(matrix, names)
    return figure.axes[0]


def test_few_classes_show_every_count_and_name() -> None:
    matrix = np.array([[7, 2, 0], [0, 5, 1], [3, 0, 9]])
    axes = shown(matrix, ["cat", "dog", "a name that is much longer than there is room"])
    assert sorted(text.get_text() for text in axes.texts) == sorted(str(n) for n in matrix.flat if n)
    places = {(text.get_position()[1], text.get_position()[0]): text.get_text() for text in axes.texts}
    assert places[2, 0] == "3"  # row: true class
    assert [label.get_text() for label in axes.get_yticklabels()][:2] == ["cat", "dog"]


@pytest.mark.parametrize("classes", [10, 100, 1000])
def test_one_confusion_among_many_classes_stays_visible_in_its_place(classes: int) -> None:
    matrix = np.eye(classes, dtype=np.int64) * 50
    matrix[classes // 2, 1] = 50
    axes = shown(matrix, [f"class {n}" for n in range(classes)])
    (image,) = axes.images
    pixels = np.asarray(image.get_array())
    left, right, bottom, top = image.get_extent()
    assert (left, right, bottom, top) == (-0.5, classes - 0.5, classes - 0.5, -0.5)
    row, column = (int((at + 0.5) / classes * len(pixels)) for at in (classes // 2, 1))
    assert pixels[row, column] == 50
    assert 0 < len(axes.get_yticks()) <= 130
