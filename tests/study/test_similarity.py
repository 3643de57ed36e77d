"""CKA and RSA against independent float64 implementations, rsatoolbox, SciPy, and what must hold."""

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import pdist

from alexnet.data.store.reader import Store
from alexnet.files.rows import RowFile, make_rows
from alexnet.progress import Progress
from alexnet.study import grams as grams_module
from alexnet.study import similarity as study
from alexnet.study.activations import activations, centre_views
from alexnet.study.grams import grams, grouped, read
from alexnet.study.similarity import Gram, correlation_distances, cosine_distances, gram, rank, similarity
from alexnet.study.trained import load

Features = np.ndarray


def draw(seed: int, images: int = 40, width: int = 300, shift: float = 0.0) -> Features:
    """Features with structure, as a ReLU leaves them: float32 [images, width]."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(images, 6)) @ random.normal(size=(6, width)) + random.normal(size=(images, width))
    return np.maximum(x + shift, 0).astype(np.float32)


def hsic1(k: np.ndarray, ell: np.ndarray) -> float:
    """The unbiased estimate of HSIC, equation 5 of Song et al. (2012), written from the formula."""
    k, ell, n = k - np.diag(np.diag(k)), ell - np.diag(np.diag(ell)), len(k)
    one = np.ones(n)
    total = np.trace(k @ ell) + (one @ k @ one) * (one @ ell @ one) / ((n - 1) * (n - 2))
    return (total - 2 / (n - 2) * (one @ k @ ell @ one)) / (n * (n - 3))


def cka(x: Features, y: Features) -> float:
    """Unbiased linear CKA in float64."""
    k, ell = (z.astype(np.float64) @ z.astype(np.float64).T for z in (x, y))
    return hsic1(k, ell) / np.sqrt(hsic1(k, k) * hsic1(ell, ell))


@pytest.mark.parametrize("shift", [0.0, 3.0])
def test_cka_is_the_ratio_of_unbiased_hsic(shift: float) -> None:
    for seed in range(5):
        x, y = draw(seed, shift=shift), draw(seed + 10, width=77, shift=shift)
        assert similarity(x, y)["cka"] == pytest.approx(cka(x, y), abs=1e-5)
        near = np.maximum(x[:, :50] + draw(seed + 20, width=50), 0)
        assert similarity(x, near)["cka"] == pytest.approx(cka(x, near), abs=1e-5)


def test_cka_does_not_see_rotations_scales_or_shifts_and_is_near_zero_for_noise() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(300, 50)).astype(np.float32)
    rotation = np.linalg.qr(random.normal(size=(50, 50)))[0]
    assert similarity(x, (7 * x @ rotation + 2).astype(np.float32))["cka"] == pytest.approx(1, abs=1e-5)
    noise = [
        similarity(*(random.normal(size=(100, 2000)).astype(np.float32) for _ in range(2)))["cka"] for _ in range(8)
    ]
    # The biased estimate is above 0.9 here, with so many features of so few images.
    assert abs(np.mean(noise)) < 0.03


def test_rsa_is_rsatoolboxs() -> None:
    rsatoolbox = pytest.importorskip("rsatoolbox")
    x, y = draw(1), draw(2, width=123)
    x[:, :40] += y[:, :40]

    def rdms(*features: Features) -> list:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return [rsatoolbox.rdm.calc_rdm(rsatoolbox.data.Dataset(f.astype(float)), "correlation") for f in features]

    a, b = rdms(x, y)
    assert np.allclose(correlation_distances(gram(x)), a.dissimilarities[0], atol=1e-6)
    expected = float(rsatoolbox.rdm.compare(a, b, method="spearman")[0, 0])
    # Rounding of float32 products exchanges the ranks of neighbours.
    assert similarity(x, y)["rsa_correlation"] == pytest.approx(expected, abs=2e-5)
    assert expected > 0.1
    # It has no cosine distance, but that of rows of length 1 is half their squared Euclidean distance.
    x, y = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in (x, y))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        a, b = (rsatoolbox.rdm.calc_rdm(rsatoolbox.data.Dataset(z.astype(float)), "euclidean") for z in (x, y))
    expected = float(rsatoolbox.rdm.compare(a, b, method="spearman")[0, 0])
    assert similarity(x, y)["rsa_cosine"] == pytest.approx(expected, abs=2e-5)


def test_distances_are_scipys() -> None:
    x = draw(3)
    assert np.allclose(cosine_distances(gram(x)), pdist(x.astype(float), "cosine"), atol=1e-6)
    assert np.allclose(correlation_distances(gram(x)), pdist(x.astype(float), "correlation"), atol=1e-6)


@pytest.mark.parametrize("at_once", [1, 7, 100, 1000])
@pytest.mark.parametrize("different", [1, 2, 30, 10**6])
def test_ranks_are_scipys_in_parts_of_any_size(at_once: int, different: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alexnet.study.similarity.PAIRS_AT_ONCE", at_once)
    values = np.random.default_rng(0).integers(0, different, 500).astype(float)
    expected = stats.rankdata(values)
    rank(values)
    assert np.array_equal(values, expected)


def test_rows_without_length_are_at_distance_one_and_constant_layers_have_no_similarity() -> None:
    x = draw(4)
    x[3], x[5] = 0, 2.5
    assert (cosine_distances(gram(x))[2] == 1) and np.isfinite(correlation_distances(gram(x))).all()
    assert correlation_distances(gram(x))[4] == 1  # of images 0 and 5
    constant = np.tile(draw(5)[:1], (40, 1))
    found = similarity(constant, x)
    assert np.isnan(found["cka"])


def test_vectors_in_files_give_the_same_products(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study, "PAIRS_AT_ONCE", 37)
    found = [dict(study.vectors(gram(draw(seed))))["cka"] for seed in range(3)]
    files = []
    for number, vector in enumerate(found):
        make_rows(tmp_path / f"{number}.npy", vector.shape)
        files.append(RowFile(tmp_path / f"{number}.npy"))
        files[-1].write(0, vector)
    assert np.allclose(study.scalar_products(files), np.array(found) @ np.array(found).T, atol=1e-6)


@pytest.mark.parametrize("limit", [1 << 29, 100_000, 1])
def test_products_of_blocks_are_those_of_all_features(
    run: Path, store: Path, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 100,000 bytes of features some layers need several blocks; with one byte each image is one."""
    monkeypatch.setattr(grams_module, "BLOCK_BYTES", limit)
    net, split = load(run, "cpu"), Store(store).split("val")
    indices, layers = np.array([0, 2, 3, 7, 11, 12, 17]), ["relu1", "relu5", "relu6", "fc8"]
    with Progress("", 1, silent=True) as bar:
        found: dict[str, Gram] = dict(grams(net, split, indices, layers, bar))
    assert list(found) == layers
    expected = activations(net, centre_views(net, read(split, indices)), layers)
    for name, products in found.items():
        x = expected[name].reshape(len(indices), -1).astype(np.float64)
        assert np.allclose(products.products, x @ x.T, rtol=1e-4) and products.width == x.shape[1]
        assert np.allclose(products.means, x.mean(1), rtol=1e-4)


def test_groups_of_layers_fit_into_memory() -> None:
    """At full width and 10,000 images: 290,400 outputs of conv1 are a group, and fc6 and fc7 too."""
    widths = {"relu1": 290_400, "relu5": 43_264, "relu6": 4096, "relu7": 4096, "fc8": 1000}
    assert grouped(list(widths), widths, 10_000) == [["relu1"], ["relu5"], ["relu6"], ["relu7"], ["fc8"]]
    assert grouped(list(widths), widths, 1000) == [["relu1"], ["relu5", "relu6", "relu7", "fc8"]]


def test_a_long_sum_of_products_keeps_its_digits() -> None:
    """Features as wide as conv1's, all positive: float32 alone would lose three digits."""
    draw: Callable[..., np.ndarray] = np.random.default_rng(0).random
    x = draw((4, 290_400), dtype=np.float32) + 1
    exact = x.astype(np.float64) @ x.astype(np.float64).T
    assert np.abs(gram(x).products / exact - 1).max() < 3e-7
