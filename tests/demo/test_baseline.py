"""The linear baseline: it finds a linear rule where there is one, and reaches the minimum of its objective."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression

from alexnet.data.prepare.prepare import prepare
from alexnet.demo.baseline import fit, linear_classifier


def test_the_fit_is_scikit_learns() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 4, 90)
    x = (random.normal(size=(90, 6)) + 0.8 * np.eye(4, 6)[labels]).astype(np.float32)
    penalty = 0.05
    weights, bias = fit(torch.from_numpy(x), torch.from_numpy(labels), 4, penalty)
    reference = LogisticRegression(C=1 / (penalty * len(x)), tol=1e-8, max_iter=1000).fit(x, labels)
    np.testing.assert_allclose(weights.numpy().T, reference.coef_, atol=2e-3)
    np.testing.assert_allclose((bias - bias.mean()).numpy(), reference.intercept_, atol=2e-3)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Two classes that differ in the brightness of one corner, under noise."""
    random = np.random.default_rng(0)
    for split, count in (("train", 24), ("val", 12)):
        for label, name in enumerate(("dark", "light")):
            folder = tmp_path / "images" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = random.normal(128, 30, (40, 40, 3))
                pixels[:20, :20] += (2 * label - 1) * 40
                Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{number}.png")
    return tmp_path / "images"


def test_a_linear_rule_is_found(source: Path, tmp_path: Path) -> None:
    prepare(source, tmp_path / "store", size=40, workers=1)
    result = linear_classifier(tmp_path / "store", side=10)
    assert result["top1_error"] == 0
    assert result["images"] == 24
    assert result["side"] == 10


def test_labels_without_a_rule_leave_it_at_chance(source: Path, tmp_path: Path) -> None:
    for split in ("train", "val"):
        dark, light = source / split / "dark", source / split / "light"
        for number in range(0, len(list(dark.iterdir())), 2):  # half of each class changes sides
            (dark / f"{number}.png").rename(source / "swap.png")
            (light / f"{number}.png").rename(dark / f"{number}.png")
            (source / "swap.png").rename(light / f"{number}.png")
    prepare(source, tmp_path / "store", size=40, workers=1)
    assert 0.2 < linear_classifier(tmp_path / "store", side=10)["top1_error"] < 0.8
