"""CIFAR-10 and CIFAR-100 in the author's four layouts, written here as he describes them.

https://www.cs.toronto.edu/~kriz/cifar.html. The pickles are those of Python 2 (protocol 2, texts are bytes) and 3.
"""

import io
import pickle
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from alexnet.data.image.decode import decode
from alexnet.data.prepare.prepare import prepare
from alexnet.data.sources import Source, open_source, read_bytes
from alexnet.data.store.reader import Store
from alexnet.ranges import UsageError

TEN = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
COARSE = tuple(f"kind {n:02}" for n in range(20))
HUNDRED = tuple(f"thing {n:03}" for n in range(100))
IMAGES = 12
"""Of a batch."""


def pixels(batch: str) -> np.ndarray:
    """uint8 [IMAGES, 3, 32, 32]."""
    return np.random.default_rng(list(batch.encode())).integers(0, 256, (IMAGES, 3, 32, 32), dtype=np.uint8)


def labels(batch: str, classes: int) -> list[int]:
    return [(5 * n + len(batch)) % classes for n in range(IMAGES)]


def binary(batch: str, *kinds: int) -> bytes:
    """The labels of each image, one byte each, then its pixels."""
    columns = [np.array(labels(batch, classes), np.uint8)[:, None] for classes in kinds]
    return np.hstack([*columns, pixels(batch).reshape(IMAGES, -1)]).tobytes()


def python2(value: object) -> bytes:
    """A pickle as Python 2 and NumPy 1 write it, protocol 2: texts are bytes, an array is rebuilt in two steps."""
    return b"\x80\x02" + _python2(value) + b"."


def _python2(value: object) -> bytes:
    match value:
        case dict():
            items = b"".join(_python2(key) + _python2(each) for key, each in value.items())
            return b"}q\x01(" + items + b"u"
        case list():
            return b"]q\x02(" + b"".join(map(_python2, value)) + b"e"
        case tuple():
            return b"(" + b"".join(map(_python2, value)) + b"t"
        case str():
            raw = value.encode("latin-1")
            return b"U" + bytes([len(raw)]) + raw if len(raw) < 256 else b"T" + struct.pack("<i", len(raw)) + raw
        case bool():
            return b"\x88" if value else b"\x89"
        case int():
            return b"K" + bytes([value]) if 0 <= value < 256 else b"J" + struct.pack("<i", value)
        case np.ndarray():
            made = b"cnumpy.core.multiarray\n_reconstruct\nq\x03(cnumpy\nndarray\n" + _python2((0,)) + b"U\x01btR"
            kind = b"cnumpy\ndtype\n(U\x02u1K\x00K\x01tR(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
            state = b"(K\x01" + _python2(value.shape) + kind + b"\x89" + _python2(value.tobytes().decode("latin-1"))
            return made + state + b"tb"
    raise TypeError(value)


def python3(value: object) -> bytes:
    return pickle.dumps(value, protocol=2)


Pickle = Callable[[object], bytes]


def cifar10_binary() -> dict[str, bytes]:
    files = {f"{batch}.bin": binary(batch, 10) for batch in (*map("data_batch_{}".format, range(1, 6)), "test_batch")}
    return files | {"batches.meta.txt": "\n".join([*TEN, "", ""]).encode(), "readme.html": b"<html>"}


def cifar100_binary() -> dict[str, bytes]:
    files = {f"{batch}.bin": binary(batch, 20, 100) for batch in ("train", "test")}
    names = {
        f"{kind}_label_names.txt": "\n".join(each).encode() for kind, each in (("fine", HUNDRED), ("coarse", COARSE))
    }
    return files | names


def cifar10_python(dumps: Pickle = python2) -> dict[str, bytes]:
    files = {}
    for batch in (*map("data_batch_{}".format, range(1, 6)), "test_batch"):
        names = [f"{batch}_s_{n:06}.png" for n in range(IMAGES)]
        content = {"data": pixels(batch).reshape(IMAGES, -1), "labels": labels(batch, 10)}
        files[batch] = dumps(content | {"batch_label": f"batch {batch}", "filenames": names})
    return files | {"batches.meta": dumps({"num_cases_per_batch": IMAGES, "label_names": list(TEN), "num_vis": 3072})}


def cifar100_python(dumps: Pickle = python2) -> dict[str, bytes]:
    files = {}
    for batch in ("train", "test"):
        content = {"filenames": [f"{batch}_{n}.png" for n in range(IMAGES)], "batch_label": batch}
        content |= {"fine_labels": labels(batch, 100), "coarse_labels": labels(batch, 20)}
        files[batch] = dumps(content | {"data": pixels(batch).reshape(IMAGES, -1)})
    meta = {"fine_label_names": list(HUNDRED), "coarse_label_names": list(COARSE)}
    return files | {"meta": dumps(meta)}


def folder(root: Path, files: dict[str, bytes]) -> Path:
    root.mkdir(parents=True)
    for name, content in files.items():
        (root / name).write_bytes(content)
    return root


def archive(file: Path, files: dict[str, bytes], inside: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, "w:gz", format=tarfile.GNU_FORMAT) as packed:
        for name, content in files.items():
            member = tarfile.TarInfo(f"{inside}/{name}")
            member.size = len(content)
            packed.addfile(member, io.BytesIO(content))
    return file


def content(source: Source, split: str) -> list[tuple[str, bytes]]:
    """The class and the pixels of every image, uint8 [32, 32, 3], in order."""
    return [
        (source.classes[image.label].name, decode(read_bytes(image.location)).tobytes())
        for image in source.splits[split]
    ]


def expected(batches: tuple[str, ...], names: tuple[str, ...]) -> list[tuple[str, bytes]]:
    return [
        (names[label], image.transpose(1, 2, 0).tobytes())
        for batch in batches
        for label, image in zip(labels(batch, len(names)), pixels(batch), strict=True)
    ]


BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))
LAYOUTS: dict[str, tuple[Callable[[], dict[str, bytes]], str, tuple[str, ...], str, tuple[str, ...]]] = {
    "cifar-10-binary": (cifar10_binary, "cifar-10-batches-bin", BATCHES, "test_batch", TEN),
    "cifar-100-binary": (cifar100_binary, "cifar-100-binary", ("train",), "test", HUNDRED),
    "cifar-10-python": (cifar10_python, "cifar-10-batches-py", BATCHES, "test_batch", TEN),
    "cifar-100-python": (cifar100_python, "cifar-100-python", ("train",), "test", HUNDRED),
}


@pytest.mark.parametrize("place", ["folder", "folder above", "archive", "folder with archive"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_each_image_bit_for_bit_with_its_label(tmp_path: Path, layout: str, place: str) -> None:
    make, inside, train, test, names = LAYOUTS[layout]
    if place.startswith("folder") and "archive" not in place:
        folder(tmp_path / inside, make())
        path = tmp_path / inside if place == "folder" else tmp_path
    else:
        file = archive(tmp_path / f"{layout}.tar.gz", make(), inside)
        path = file if place == "archive" else tmp_path
    source = open_source(path)
    assert source.kind == "cifar" and [each.name for each in source.classes] == list(names)
    assert content(source, "train") == expected(train, names)
    assert content(source, "val") == expected((test,), names)
    assert source.contents.images == IMAGES * (len(train) + 1)
    keys = [image.key for split in source.splits.values() for image in split]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("make", [cifar10_python, cifar100_python])
def test_pickles_of_python_2_and_3_hold_the_same(tmp_path: Path, make: Callable[..., dict[str, bytes]]) -> None:
    sources = [open_source(folder(tmp_path / dumps.__name__, make(dumps))) for dumps in (python2, python3)]
    for split in ("train", "val"):
        first, second = (list(source.splits[split]) for source in sources)
        assert [(a.key, a.label, a.location) for a in first] == [(b.key, b.label, b.location) for b in second]
    assert first[0].key == f"{'test_batch' if make is cifar10_python else 'test'}/00000/" + (
        "test_batch_s_000000.png" if make is cifar10_python else "test_0.png"
    )


def test_the_writer_of_python_2s_pickles_writes_what_python_reads() -> None:
    for file in cifar10_python(python2).values():
        value = pickle.loads(file, encoding="latin1")
        assert "label_names" in value or value["data"].shape == (IMAGES, 3072)


def test_coarse_labels_are_chosen_and_others_are_refused(tmp_path: Path) -> None:
    for make in (cifar100_binary, cifar100_python):
        path = folder(tmp_path / make.__name__, make())
        source = open_source(path, label_column="coarse")
        assert content(source, "val") == expected(("test",), COARSE)
        with pytest.raises(UsageError, match="has the labels fine and coarse: choose with --label-column"):
            open_source(path, label_column="label")


def test_the_test_images_stay_apart_where_some_are_held_out(tmp_path: Path) -> None:
    source = open_source(folder(tmp_path / "c", cifar10_binary()), val_fraction=0.2)
    assert content(source, "test") == expected(("test_batch",), TEN)
    both = content(source, "train") + content(source, "val")
    assert sorted(both) == sorted(expected(BATCHES, TEN)) and source.splits["val"].count == 12


def test_a_store_holds_the_same_pixels(tmp_path: Path) -> None:
    prepare(folder(tmp_path / "c", cifar10_python()), tmp_path / "store", size=32, workers=1)
    split = Store(tmp_path / "store").split("val")
    for row, (name, image) in enumerate(expected(("test_batch",), TEN)):
        assert TEN[split.labels[row]] == name and split.image(row).tobytes() == image


class Malicious:
    """Unpickled, it writes a file in the working directory."""

    def __reduce__(self):
        return (Path("executed").write_text, ("harm",))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("data_batch_3.bin", lambda data: data[:-1], "no multiple of 3073"),
        ("data_batch_3.bin", lambda _: b"", "no multiple of 3073"),
        ("data_batch_3.bin", lambda data: bytes([10]) + data[1:], "image 0: label 10 is not one of the 10 classes"),
        ("batches.meta.txt", lambda _: b"cat\ncat\n", "names a class twice"),
        ("batches.meta.txt", lambda _: b"cat\n", "label 2 is not one of the 1 classes"),
        ("batches.meta.txt", lambda _: b"\xff\xff\xff", "is no text"),
    ],
)
def test_a_damaged_binary_file_is_named(
    tmp_path: Path, name: str, change: Callable[[bytes], bytes], message: str
) -> None:
    files = cifar10_binary()
    with pytest.raises(ValueError, match=message) as caught:
        open_source(folder(tmp_path / "c", files | {name: change(files[name])}))
    assert (name if "label" not in message else "data_batch_") in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps(Malicious(), 2), "asks for "),
        (python3({"data": np.zeros((2, 3072), np.uint8), "labels": [1, Malicious()]}), "asks for "),
        (python3({"data": np.zeros((2, 3072), np.uint8), "labels": [1]}), "a label for each of its 2 images"),
        (python3({"data": np.zeros((2, 3072), np.uint8), "labels": [1, True]}), "a label for each"),
        (python3({"data": np.zeros((2, 3072), np.uint8), "labels": [1, 10]}), "label 10 is not one of"),
        (python3({"data": np.zeros((2, 3072), np.uint8)}), "a label for each"),
        (python3({"data": np.zeros((2, 3071), np.uint8), "labels": [1, 2]}), "no array of images"),
        (python3({"data": np.zeros((2, 3072), np.int16), "labels": [1, 2]}), "something other than bytes"),
        (python3({"data": np.zeros((3072, 2), np.uint8).T, "labels": [1, 2]}), "something other than bytes"),
        (python3([1]), "holds no dictionary"),
        (python2({"data": "abc", "labels": [1]})[:-3], "stops before its end|not a file of CIFAR"),
        (b"no pickle", "is not a file of CIFAR"),
        (b"", "is not a file of CIFAR"),
    ],
)
def test_a_batch_that_is_something_else_is_refused_and_nothing_is_executed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    folder(tmp_path / "c", cifar10_python() | {"data_batch_2": content})
    with pytest.raises(ValueError, match=message) as caught:
        open_source(tmp_path / "c")
    assert "data_batch_2" in str(caught.value) and not Path("executed").exists()


def test_an_archive_that_is_cut_off_or_lacks_a_file_is_named(tmp_path: Path) -> None:
    file = archive(tmp_path / "cifar-10-binary.tar.gz", cifar10_binary(), "c")
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(ValueError, match=r"cifar-10-binary.tar.gz is damaged or cut off .*: download it again"):
        open_source(file)
    some = {name: data for name, data in cifar10_binary().items() if name != "data_batch_4.bin"}
    with pytest.raises(ValueError, match=r"does not contain data_batch_4\.bin"):
        open_source(archive(tmp_path / "cifar-10-binary.tar.gz", some, "c"))
