"""Reads the tensors in files of `torch.save`, and executes nothing.

`torch.load(weights_only=True)` executes nothing either, but a few hundred bytes may make it take all memory: a tensor
whose elements all are the same four bytes, a compressed archive, names that take for ever to compare. Here the pickle
is followed as CIFAR's are (`alexnet.data.sources.pickled`), and a tensor takes no more bytes than the file has.

Both forms: archives (zip, since PyTorch 1.6; never compressed) and the files of before, in which five pickles come
first and then the numbers.
"""

import io
import math
import struct
import warnings
import zipfile
from collections.abc import Collection
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from alexnet.data.sources.pickled import Machine, Name

MAGIC = 0x1950A86A20F9469CFC6C
"""The first of the five pickles."""
MOST_FILES, MOST_SIDES = 1 << 16, 16
"""Files in an archive, and sides of a tensor."""
STORAGES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
DICT = Name("collections", "OrderedDict")
TENSORS = {Name("torch._utils", name) for name in ("_rebuild_tensor", "_rebuild_tensor_v2")}
PARAMETER = Name("torch._utils", "_rebuild_parameter")


class _Storage(NamedTuple):
    """Numbers outside of the pickle."""

    key: str
    dtype: torch.dtype
    first: int
    """Where a part of it begins."""


class _Tensor(NamedTuple):
    """A tensor as the pickle describes it: its numbers in a storage."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


class _StateMachine(Machine):
    """Follows the pickle of a state dict."""

    names: ClassVar[Collection[Name]] = {DICT, *TENSORS, PARAMETER, *(Name("torch", name) for name in STORAGES)}
    needed_by = "state dict"

    def __init__(self, room: int) -> None:
        super().__init__(room)
        self.itemsizes: dict[str, int] = {}
        """Bytes of a number of each storage."""

    def called(self, name: Any, arguments: tuple[Any, ...]) -> Any:
        match arguments:
            case () if name == DICT:
                return {}
            case (list(pairs),) if name == DICT and all(type(key) is str for key, _ in pairs):
                return dict(pairs)
            case (_Tensor() as tensor, *_) if name == PARAMETER:
                return tensor
            case (_Storage() as storage, int(offset), tuple(shape), tuple(stride), *_) if name in TENSORS:
                return _Tensor(storage, offset, shape, stride)
        raise ValueError("it calls something that no state dict needs")

    def built(self, value: Any, state: Any) -> None:
        if not isinstance(value, dict):  # whose state are the versions of its modules
            raise ValueError("it sets the state of something that is no state dict")

    def kept_elsewhere(self, what: Any) -> Any:
        match what:
            case ("storage", Name("torch", kind), str(key), _, int(), *view):
                first = view[0][1] if view and view[0] is not None else 0  # a part of another, in files before 1.6
                self.itemsizes[key] = STORAGES[kind].itemsize
                return _Storage(key, STORAGES[kind], first)
        raise ValueError("it refers to something outside that is no storage")


def read_tensors(data: bytes) -> Any:
    """What was saved: of a dict the tensors, and `None` in place of all else; of anything else nothing.

    Raises ValueError with the reason: `OtherNameError` where the file refers to anything but tensors.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # about odd escapes in texts, and bytes that cannot be written
            described, storages = (_in_archive if data.startswith(b"PK") else _in_file)(data)
            if not isinstance(described, dict):
                return None
            if sum(map(_bytes_of, _tensors(described))) > len(data):
                raise ValueError("its tensors have more numbers than it holds")
            return {
                name: _tensor_of(each, storages) if isinstance(each, _Tensor) else None
                for name, each in described.items()
            }
    except (IndexError, KeyError, TypeError, AttributeError, OverflowError, RuntimeError, EOFError) as error:
        raise ValueError(f"it is damaged ({type(error).__name__})") from None
    except (struct.error, zipfile.BadZipFile, NotImplementedError) as error:
        raise ValueError(f"it is damaged ({error})") from None


def _in_archive(data: bytes) -> tuple[Any, dict[str, memoryview]]:
    """What an archive describes, and its storages."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        files = archive.infolist()
        if len(files) > MOST_FILES or sum(each.file_size for each in files) > len(data):
            raise ValueError("it has more files than torch.save writes, or larger ones than it holds")
        if any(each.compress_type != zipfile.ZIP_STORED for each in files):
            raise ValueError("it is compressed")
        there = {each.filename.partition("/")[2]: each for each in files}  # all are in one folder
        if "byteorder" in there and archive.read(there["byteorder"]) != b"little":
            raise ValueError("its numbers are in another order than this machine's")
        described = _StateMachine(len(data)).follow(io.BytesIO(archive.read(there["data.pkl"])))
        keys = {each.storage.key for each in _tensors(described)}
        return described, {key: memoryview(archive.read(there[f"data/{key}"])) for key in keys}


def _in_file(data: bytes) -> tuple[Any, dict[str, memoryview]]:
    """What a file of before PyTorch 1.6 describes, and its storages."""
    file = io.BytesIO(data)
    if _StateMachine(len(data)).follow(file) != MAGIC:
        raise ValueError("it does not begin as files of torch.save do")
    _version, system = (_StateMachine(len(data)).follow(file) for _ in range(2))
    if not system["little_endian"]:
        raise ValueError("its numbers are in another order than this machine's")
    machine, storages = _StateMachine(len(data)), dict[str, memoryview]()
    described = machine.follow(file)
    for key in _StateMachine(len(data)).follow(file):
        (count,) = struct.unpack("<q", file.read(8))
        if count < 0:
            raise ValueError("a storage has no length")
        length = count * machine.itemsizes[key]
        storages[key] = memoryview(data)[file.tell() : file.tell() + length]
        file.seek(length, io.SEEK_CUR)
    return described, storages


def _tensors(described: Any) -> list[_Tensor]:
    """The tensors in a dict."""
    return [each for each in described.values() if isinstance(each, _Tensor)] if isinstance(described, dict) else []


def _bytes_of(tensor: _Tensor) -> int:
    if len(tensor.shape) > MOST_SIDES or not all(type(side) is int and 0 <= side < 1 << 40 for side in tensor.shape):
        raise ValueError("it has a tensor without a shape")
    return math.prod(tensor.shape) * tensor.storage.dtype.itemsize


def _tensor_of(tensor: _Tensor, storages: dict[str, memoryview]) -> Tensor:
    """The tensor with numbers of its own. Raises ValueError, as torch does RuntimeError, where they are not there."""
    (key, dtype, first), offset = tensor.storage, tensor.offset
    if not math.prod(tensor.shape):
        return torch.empty(tensor.shape, dtype=dtype)
    if len(tensor.stride) != len(tensor.shape) or min((first, offset, *tensor.stride)) < 0:
        raise ValueError("it has a tensor without a place")
    last = offset + sum((side - 1) * step for side, step in zip(tensor.shape, tensor.stride, strict=True))
    storage, count = storages[key][first * dtype.itemsize :], last + 1
    if count * dtype.itemsize > len(storage):
        raise ValueError("a tensor ends after its numbers")
    numbers = torch.frombuffer(storage, dtype=dtype, count=count)
    return numbers.as_strided(tensor.shape, tensor.stride, offset).clone(memory_format=torch.contiguous_format)
