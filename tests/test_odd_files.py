"""Whatever lies where a stranger's file is read (a pipe, a device, 300 GB, a folder, a link to itself): a sentence, at
once. `test_untrusted_files.py` has the files of stores and runs."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from odd_files import ODD_FILES

from alexnet.config import NetworkConfig
from alexnet.data.download.archives import ARCHIVES
from alexnet.data.download.download import download
from alexnet.data.sources import open_source
from alexnet.exchange import caffe
from alexnet.exchange.import_ import read_class_list
from alexnet.exchange.read_weights import read_weights
from alexnet.explore.units import Units
from alexnet.files.rows import RowFile
from alexnet.model.layers import layers_of
from alexnet.reproduce import timing
from alexnet.reproduce.results import read_result
from alexnet.reproduce.scales import scale

ODD: dict[str, Callable[[Path], object]] = ODD_FILES | {"circle": lambda file: file.symlink_to(file.name)}


def images_with(table: str) -> Callable[[Path], object]:
    def read(folder: Path) -> object:
        (folder / "0.jpg").touch()
        return open_source(folder, labels=folder / table)

    return read


def units_in(file: Path) -> None:
    network = NetworkConfig(input_size=63, width=1 / 24)
    if not Units(layers_of(network), 2, {}).load(file, 6):
        raise ValueError(f"{file} is made again")


def loaded(name: str, read: Callable[[Path], object]) -> tuple[str, Callable[[Path], object]]:
    return name, lambda folder: read(folder / name)


def weights(name: str) -> tuple[str, Callable[[Path], object]]:
    return name, lambda folder: read_weights(folder / name, None)


READERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    **{f"table, {name}": (name, images_with(name)) for name in ("a.csv", "a.tsv", "a.jsonl", "a.txt")},
    "shard": loaded("a.tar", open_source),
    "CIFAR's archive": loaded("cifar-10-python.tar.gz", open_source),
    **{each: weights(each) for each in ("a.pth", "a.safetensors", "a.caffemodel", "a.onnx")},
    "Caffe's mean": loaded("a.binaryproto", caffe.read_mean),
    "names of classes": loaded("a.txt", read_class_list),
    "rows of an index": loaded("a.npy", lambda file: RowFile(file).read(0, 1)),
    "units of an index": loaded("a.units", units_in),
    "a result": loaded("a.json", read_result),
    "a time": ("timings/speed.json", lambda folder: timing.read(folder, scale("tiny"))),
    "an archive put there by hand": (
        ARCHIVES["cifar10"].file,
        lambda folder: download("cifar10", folder, url="http://127.0.0.1:9/"),
    ),
}


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_ordinary_file_is_refused_at_once(reader: str, odd: str, tmp_path: Path) -> None:
    name, read = READERS[reader]
    file: Any = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    ODD[odd](file)
    began = time.process_time()
    with pytest.raises((ValueError, OSError), match=r"\w") as caught:
        read(tmp_path)
    said = str(caught.value)
    assert file.name in said or "127.0.0.1" in said, said
    assert "\n" not in said and time.process_time() - began < 5
