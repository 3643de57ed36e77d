"""Differences of errors on the same images, against SciPy and counted cells."""

import math

import numpy as np
import pytest
from scipy import stats

from alexnet.study.paired import agreement, compare_errors, difference, mcnemar


def draw(seed: int, images: int, right_a: float = 0.7, right_b: float = 0.75) -> tuple[np.ndarray, np.ndarray]:
    """Credits of two networks, which depend on how hard an image is: float64 [images] each."""
    random = np.random.default_rng(seed)
    hard = random.random(images)
    return tuple((0.7 * hard + 0.3 * random.random(images) < right).astype(float) for right in (right_a, right_b))  # type: ignore[return-value]


def test_the_interval_is_agresti_and_mins() -> None:
    a, b = draw(0, 200)
    only_a, only_b, n = float((a > b).sum()), float((b > a).sum()), len(a)
    found, (low, high) = difference(a, b)
    assert found == pytest.approx((only_a - only_b) / n)
    # From the four cells, each with half an image more.
    p12, p21, more = (only_a + 0.5) / (n + 2), (only_b + 0.5) / (n + 2), n + 2
    spread = stats.norm.ppf(0.975) * math.sqrt((p12 + p21 - (p12 - p21) ** 2) / more)
    assert (low, high) == pytest.approx((p12 - p21 - spread, p12 - p21 + spread), abs=1e-6)


def test_with_many_images_the_interval_is_that_of_the_paired_bootstrap_and_of_the_t_test() -> None:
    a, b = draw(1, 1000)
    _, interval = difference(a, b)
    bootstrap = stats.bootstrap(
        (a, b), lambda x, y, axis: (x - y).mean(axis), paired=True, vectorized=True, n_resamples=1000, rng=0
    ).confidence_interval
    t = stats.ttest_rel(a, b).confidence_interval(0.95)
    assert interval == pytest.approx((bootstrap.low, bootstrap.high), abs=4e-3)
    assert interval == pytest.approx((t.low, t.high), abs=1e-3)


def test_the_interval_covers_the_true_difference_in_95_of_100_samples() -> None:
    everyone = draw(2, 400_000)
    truth = float((everyone[0] - everyone[1]).mean())
    for images in (25, 200):
        samples = (difference(*draw(1000 + seed, images))[1] for seed in range(2000))
        covered = np.mean([low <= truth <= high for low, high in samples])
        assert 0.93 < covered < 0.985, images


def test_networks_that_never_differ_have_an_interval_all_the_same() -> None:
    value, (low, high) = difference(np.ones(50), np.ones(50))
    assert value == 0 and -0.06 < low < -0.02 and high == -low
    assert difference(np.ones(3), np.zeros(3))[1][1] == 1.0


def test_shared_credits_count_as_parts_of_images() -> None:
    found = compare_errors(np.array([[0.5, 1, 0], [1, 1, 1]]), np.array([[0, 1, 0], [1, 0.5, 1]]))
    assert found["top1_difference"] == pytest.approx(0.5 / 3)
    assert (found["only_a"], found["only_b"]) == (1, 0)


@pytest.mark.parametrize("cells", [(0, 0), (3, 3), (0, 7), (12, 4), (900, 1000), (60_000, 59_000)])
def test_mcnemar_is_the_exact_binomial_test(cells: tuple[int, int]) -> None:
    expected = stats.binomtest(cells[0], sum(cells)).pvalue if sum(cells) else 1.0
    assert mcnemar(*cells) == pytest.approx(expected, rel=1e-6)
    assert mcnemar(*cells) == mcnemar(*cells[::-1])


def test_agreement_is_the_share_of_equal_labels() -> None:
    found = agreement(np.array([1, 2, 3, 3]), np.array([1, 2, 0, 3]))
    assert found["agreement"] == 0.75 and found["agreement_interval"][0] < 0.75 < found["agreement_interval"][1]
