"""Class probabilities and what is counted from them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from alexnet.data.store.reader import Store
from alexnet.study.evaluate import evaluate
from alexnet.study.scores import (
    balanced,
    confusions,
    count_confusions,
    errors_and_intervals,
    image_probabilities,
    probabilities,
)
from alexnet.study.trained import load


def test_the_ten_view_output_is_the_mean_of_ten_softmax_outputs(
    val_split: tuple[torch.Tensor, np.ndarray], run: Path
) -> None:
    net = load(run, "cpu")
    images, _ = val_split
    whole = (images - net.preprocess.mean).permute(0, 3, 1, 2)  # [B, 3, S, S]
    edge = whole.shape[-1] - net.preprocess.crop
    total = torch.zeros(len(images), 6)
    for top, left in ((0, 0), (0, edge), (edge // 2, edge // 2), (edge, 0), (edge, edge)):
        view = whole[..., top : top + net.preprocess.crop, left : left + net.preprocess.crop]
        with torch.inference_mode():
            total += net(view).softmax(1) + net(view.flip(-1)).softmax(1)
    assert torch.allclose(image_probabilities(net, images, 10), total / 10, atol=1e-6)
    centre = torch.stack([net.preprocess(image.numpy()) for image in images])
    with torch.inference_mode():
        assert torch.allclose(image_probabilities(net, images, 1), net(centre).softmax(1), atol=1e-6)


def test_views_are_independent_of_how_many_are_computed_at_once(
    val_split: tuple[torch.Tensor, np.ndarray], run: Path
) -> None:
    net = load(run, "cpu")
    images, _ = val_split
    together = image_probabilities(net, images, 10)
    assert torch.allclose(image_probabilities(net, images, 10, at_once=7), together, atol=1e-6)


def test_bfloat16_gives_float32_probabilities_that_are_near(
    val_split: tuple[torch.Tensor, np.ndarray], run: Path, write_run: Callable[..., Path], tmp_path: Path
) -> None:
    half = write_run(tmp_path / "half", dtype="bfloat16")
    images, _ = val_split
    exact, rounded = (image_probabilities(load(one, "cpu"), images, 10) for one in (run, half))
    assert rounded.dtype == torch.float32
    assert torch.allclose(rounded.sum(1), torch.ones(len(images)), atol=1e-5)
    assert 0 < (exact - rounded).abs().max() < 0.1


def test_nothing_needs_a_gradient(run: Path) -> None:
    net = load(run, "cpu")
    assert not probabilities(net, torch.zeros(1, 1, 3, 51, 51)).requires_grad


def test_confusions_are_counted_worst_first(val_split: tuple[torch.Tensor, np.ndarray], run: Path, store: Path) -> None:
    images, labels = val_split
    net = load(run, "cpu")
    guesses = image_probabilities(net, images, 1).argmax(1).numpy()
    found = confusions(guesses, labels, net.classes, most=None)
    assert evaluate([run], store, views=1, device="cpu")["confusions"] == found[:10]
    wnids = [entry.wnid for entry in Store(store).classes]
    counted = {(pair["true"], pair["predicted"]): pair["count"] for pair in found}
    assert counted == {
        (wnids[t], wnids[g]): int(((labels == t) & (guesses == g)).sum())
        for t, g in zip(labels, guesses, strict=True)
        if t != g
    }
    counts = [pair["count"] for pair in found]
    assert counts == sorted(counts, reverse=True)
    assert all(pair["of"] == 3 for pair in found)


@pytest.mark.parametrize("errors", [(0.3, 0.3, 0.3), (0.05, 0.2, 0.7), (0.02, 0.02, 0.02), (0.01, 0.01, 0.5)])
def test_the_interval_of_a_balanced_error_holds_it_as_often_as_it_says(errors: tuple[float, ...]) -> None:
    random, counts, tries = np.random.default_rng(0), (400, 60, 15), 400
    truths = np.repeat(np.arange(3), counts)
    held = 0
    for _ in range(tries):
        wrong = random.random(len(truths)) < np.array(errors)[truths]
        low, high = balanced(np.stack([1.0 - wrong, 1.0 - wrong]), truths)["balanced_interval"]
        held += low <= np.mean(errors) <= high
    assert 0.92 <= held / tries <= 1


def test_a_balanced_error_of_equal_classes_is_the_error_with_its_interval() -> None:
    truths = np.repeat(np.arange(10), 200)
    credits = np.tile(1.0 - (np.arange(200) % 4 == 0), (2, 10))  # a quarter of each class is wrong
    found, plain = balanced(credits, truths), errors_and_intervals(credits)
    assert found["balanced_error"] == plain["top1_error"]
    assert found["balanced_interval"] == pytest.approx(plain["top1_interval"], abs=1e-3)
    assert balanced(np.ones((2, 2000)), truths)["balanced_interval"] == [0, pytest.approx(0.002, abs=5e-4)]


def test_a_class_without_images_does_not_count() -> None:
    credits, truths = np.array([[1.0, 0.0, 0.0], [1.0, 1.0, 1.0]]), np.array([0, 3, 3])
    assert balanced(credits, truths)["balanced_error"] == 0.5
    matrix = count_confusions(np.array([0, 1, 3]), truths, 5)
    assert matrix.sum() == 3 and matrix[0, 0] == matrix[3, 1] == matrix[3, 3] == 1
