"""A store of 7 classes, two runs with random weights that fit it, and a server that shows them."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_runs import SIZE, SMALL, write

pytest.importorskip("uvicorn", reason="the extra explore is not installed")
pytest.importorskip("starlette", reason="the extra explore is not installed")

from explore_site import Site, serving

from alexnet.data.prepare.prepare import prepare
from alexnet.data.store.reader import Store
from alexnet.explore import command

ORIGINAL = dataclasses.replace(
    SMALL, input_size=64, after_conv1="norm-pool-activation", spatial_norm_alpha=1e-3, lrn_alpha=2e-5
)


def photo(seed: int, side: int = SIZE) -> np.ndarray:
    """Stripes and noise: uint8 [side, side + 8, 3]."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:side, : side + 8]
    waves = np.sin((rows * (seed % 3) + columns * (seed % 5)) * 0.2)[..., None] * random.uniform(20, 90, 3)
    return (128 + waves + random.normal(0, 20, (side, side + 8, 3))).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`images/`, `store/`, and the runs `paper/` and `original/`."""
    made = tmp_path_factory.mktemp("explore")
    for split, count in (("train", 5), ("val", 2)):
        for label in range(SMALL.classes):
            place = made / "images" / split / f"n{label:08d}"
            place.mkdir(parents=True)
            for number in range(count):
                Image.fromarray(photo(100 * label + number + 50 * (split == "val"))).save(place / f"{number}.png")
    prepare(made / "images", made / "store", size=SIZE, workers=1)
    mean = Store(made / "store").mean
    write(made / "paper", mean=mean)
    write(made / "original", ORIGINAL, mean)
    return made


@pytest.fixture(scope="session")
def saved_page(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The saved page of a run and three images of the store."""
    path = tmp_path_factory.mktemp("saved") / "page.html"
    found = command.explore([folder / "paper"], folder / "store", save=path, device="cpu")
    assert found == {
        "page": str(path),
        "bytes": path.stat().st_size,
        "images": ["val-0", "val-6", "val-13"],
        "views": ["image", "network", "unit", "kernels", "map"],
    }
    return path


@pytest.fixture(scope="session")
def site(folder: Path) -> Iterator[Site]:
    """A server for both runs and the store."""
    with serving([folder / "paper", folder / "original"], folder / "store") as running:
        yield running
