"""`verify_store` reads everything and notices whatever is wrong."""

from pathlib import Path

import numpy as np
import pytest
from stores import TRAIN, edit, flip_byte, replace_array, write_store_with_row

from alexnet.data.image.encode import encode
from alexnet.data.store.verify import verify_store


def test_verify_reads_all_of_a_whole_store(store: Path) -> None:
    found = verify_store(store)
    assert found["splits"] == {"train": 17, "val": 4}
    assert (found["classes"], found["shards"]) == (3, 4)
    assert found["bytes"] == sum(file.stat().st_size for file in store.glob("*.arrow"))


@pytest.mark.parametrize("name", ["train-00001.arrow", "val-00000.arrow"])
def test_verify_notices_one_changed_byte_anywhere(store: Path, name: str) -> None:
    for at in np.random.default_rng(0).integers(0, (store / name).stat().st_size, 5):
        flip_byte(store / name, at)
        with pytest.raises(ValueError, match=f"{name} does not match its checksum"):
            verify_store(store)
        flip_byte(store / name, at)
    verify_store(store)


@pytest.mark.parametrize("label", [-1, 3])
def test_verify_notices_a_label_that_is_not_a_class(tmp_path: Path, label: int) -> None:
    write_store_with_row(tmp_path / "store", encode(TRAIN[10]), label)
    with pytest.raises(ValueError, match=f"train-00001.arrow, row 3, has label {label}, and there are 3 classes"):
        verify_store(tmp_path / "store")


@pytest.mark.parametrize("name", ["mean", "covariance"])
def test_verify_notices_a_mean_of_other_images(store: Path, name: str) -> None:
    replace_array(store, f"{name}.npy", np.load(store / f"{name}.npy") + 1)
    with pytest.raises(ValueError, match=f"{name}.npy does not match the training images"):
        verify_store(store)


def test_verify_notices_counts_that_do_not_agree(store: Path) -> None:
    edit(store, lambda info: info["splits"]["val"].update(images=5))
    with pytest.raises(ValueError, match="5 images for val and 4 in its shards"):
        verify_store(store)
