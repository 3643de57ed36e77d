"""Weights of other programs, as `alexnet import` reads them: torch.save's two forms, safetensors, Caffe, ONNX's zoo."""

import io
import struct
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save

from alexnet.exchange import caffe, read_weights
from campaigns.fuzz.format import Format

KINDS = ("pth", "pth", "safetensors", "caffemodel", "onnx", "binaryproto")
"""By the first byte of an input: what the rest of it becomes."""
TENSORS = {"features.0.weight": torch.ones(4, 3, 2, 2), "features.0.bias": torch.zeros(4), "part": torch.ones(6)[1:]}


def field(number: int, content: bytes) -> bytes:
    """A field of a protocol buffer."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(value: int) -> bytes:
    parts = []
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])


def torch_file(archive: bool) -> bytes:
    file = io.BytesIO()
    torch.save(TENSORS, file, _use_new_zipfile_serialization=archive)
    return file.getvalue()


def caffemodel(old: bool) -> bytes:
    numbers, layers = field(5, struct.pack("<6f", *range(6))), []
    shape = b"".join(varint(n << 3) + varint(side) for n, side in enumerate((1, 1, 2, 3), 1))
    blob = numbers + (shape if old else field(7, field(1, bytes([2, 3]))))
    for name in map(str.encode, caffe.ORDERED):
        if old:
            layers.append(field(2, field(4, name) + field(6, blob) * 2))
        else:
            layers.append(field(100, field(1, name) + field(7, blob) * 2))
    return b"".join(layers)


def zoo() -> bytes:
    tensor = varint(1 << 3) + b"\2" + varint(1 << 3) + b"\3" + varint(2 << 3) + b"\1" + field(8, b"conv1_w_0")
    nodes = b"".join(field(1, field(4, name.encode())) for name in caffe.NODES)
    sides = b"".join(field(1, varint(1 << 3) + varint(side)) for side in (1, 3, 224, 224))
    image = field(11, field(1, b"data_0") + field(2, field(1, field(2, sides))))
    return field(7, nodes + field(5, tensor + field(9, bytes(24))) + image)


def examples() -> list[bytes]:
    mean = field(5, np.zeros(12, "<f4").tobytes()) + field(7, field(1, bytes([1, 3, 2, 2])))
    files = (torch_file(True), torch_file(False), save(TENSORS), caffemodel(True), zoo(), mean)
    return [*(bytes([kind]) + data for kind, data in enumerate(files)), b"\3" + caffemodel(False)]


def read(data: bytes, folder: Path) -> None:
    kind = KINDS[data[0] % len(KINDS)] if data else "pth"
    file = folder / f"weights.{kind}"
    file.write_bytes(data[1:])
    match kind:
        case "pth":
            read_weights.read_state_dict(file)
        case "safetensors":
            read_weights.read_safetensors(file)
        case "binaryproto":
            caffe.read_mean(file)
        case "caffemodel":
            caffe.caffe_arrays(file)
        case "onnx":
            caffe.zoo_arrays(file)


FORMAT = Format("weights", 4, examples, read)
