"""Files of torch.save are read as torch reads them, without torch.load, in memory and time that the file bounds."""

import io
import pickle
import struct
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch

from alexnet.data.sources.pickled import OtherNameError
from alexnet.exchange.state_dict import read_tensors


def saved(value: object, archive: bool = True) -> bytes:
    file = io.BytesIO()
    torch.save(value, file, _use_new_zipfile_serialization=archive)
    return file.getvalue()


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    """Tensors of many types and layouts, some of them parts of one storage."""
    matrix = torch.arange(12.0).reshape(3, 4)
    found: dict[str, torch.Tensor] = OrderedDict(torch.nn.BatchNorm2d(4).state_dict())
    found |= {"whole": matrix, "turned": matrix.t(), "part": matrix[1:, 1:3], "column": matrix[:, 2]}
    found |= {"number": torch.tensor(5.0), "empty": torch.empty(0, 3), "parameter": torch.nn.Parameter(torch.ones(2))}
    types = (torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int8, torch.uint8, torch.bool)
    return found | {str(dtype): torch.arange(5).to(dtype) for dtype in types}


@pytest.mark.parametrize("archive", [True, False], ids=["archive", "before PyTorch 1.6"])
def test_tensors_are_those_that_torch_reads(state: dict[str, torch.Tensor], archive: bool) -> None:
    found, expected = read_tensors(saved(state, archive)), torch.load(io.BytesIO(saved(state, archive)))
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype and torch.equal(found[name], tensor), name


@pytest.mark.parametrize("archive", [True, False], ids=["archive", "before PyTorch 1.6"])
def test_what_is_no_tensor_of_a_dict_is_nothing(archive: bool) -> None:
    assert read_tensors(saved({"epoch": 3, "state": {"a": torch.ones(1)}}, archive)) == {"epoch": None, "state": None}
    assert read_tensors(saved([torch.ones(1)], archive)) is None


@pytest.mark.parametrize("archive", [True, False], ids=["archive", "before PyTorch 1.6"])
def test_a_file_that_is_cut_anywhere_is_refused(archive: bool) -> None:
    whole = saved({"a": torch.ones(3)}, archive)
    for length in range(0, len(whole) - 1, 7):
        with pytest.raises(ValueError, match=r"\w"):
            read_tensors(whole[:length])


def archived(pickled: bytes, numbers: bytes = bytes(4), how: int = zipfile.ZIP_STORED, order: str = "little") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", how) as archive:
        for name, content in (("data.pkl", pickled), ("data/0", numbers), ("byteorder", order)):
            archive.writestr(f"archive/{name}", content)
    return file.getvalue()


def number(value: int) -> bytes:
    return b"\x8a\x08" + struct.pack("<q", value)


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def tensor(shape: tuple[int, ...], stride: tuple[int, ...], offset: int = 0) -> bytes:
    storage = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + number(1) + b"tQ"
    sides = b"".join(b"(" + b"".join(map(number, each)) + b"t" for each in (shape, stride))
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + number(offset) + sides + b"\x89}tR"


def state_of(*tensors: bytes) -> bytes:
    return b"\x80\x02}(" + b"".join(text(f"w{at}") + each for at, each in enumerate(tensors)) + b"u."


NESTED = b")" + b"".join(b"q%bh%b\x86" % (bytes([at]), bytes([at])) for at in range(60))
"""A tuple that holds the one before twice: to compare it takes 2^60 steps."""


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (archived(state_of(tensor((1 << 16, 1 << 16), (0, 0)))), "more numbers than it holds"),
        (archived(state_of(*[tensor((40,), (0,))] * 100)), "more numbers than it holds"),
        (archived(state_of(tensor((1,) * 17, (1,) * 17))), "without a shape"),
        (archived(state_of(tensor((-1, -1), (1, 1)))), "without a shape"),
        (archived(state_of(tensor((2,), (1,)))), "ends after its numbers"),
        (archived(state_of(tensor((1,), (1,), 1))), "ends after its numbers"),
        (archived(state_of(tensor((1,), (1,), -1))), "without a place"),
        (archived(state_of(tensor((1,), (-1,)))), "without a place"),
        (archived(state_of(tensor((1,), ()))), "without a place"),
        (archived(state_of(), bytes(1 << 20), zipfile.ZIP_DEFLATED), "larger ones than it holds"),
        (archived(state_of(), b"abcd" * 4, zipfile.ZIP_DEFLATED), "it is compressed"),
        (archived(state_of(), order="big"), "another order"),
        (archived(b"\x80\x02}(" + NESTED + b"K\x01u."), "a key that is neither"),
        (archived(b"\x80\x02\x8a\x01\x05Q."), "no storage"),
        (archived(b"\x80\x02" + b"]" + text("x") + b"b."), "the state of something"),
        (pickle.dumps({"a": 1}), "does not begin as files of torch.save do"),
        (b"", "exhausted before seeing STOP"),
    ],
)
def test_a_hostile_file_is_refused_at_once(data: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read_tensors(data)


@pytest.mark.parametrize("value", [bytearray(3), np.float64(1.5), torch.optim.SGD, torch.device("cpu")], ids=str)
@pytest.mark.parametrize("archive", [True, False], ids=["archive", "before PyTorch 1.6"])
def test_any_other_object_is_named(value: object, archive: bool) -> None:
    with pytest.raises(OtherNameError, match="which no state dict needs"):
        read_tensors(saved({"a": value}, archive))
