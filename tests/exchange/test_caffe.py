"""Caffe's files, written through its published schema, become runs that compute what the prototxt says."""

import contextlib
import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bounds import cost
from one_line import one_line
from torch import nn

from alexnet import AlexNet, load
from alexnet.cli import main
from alexnet.exchange import caffe, parity, protobuf
from alexnet.networks import NETWORKS

pytest.importorskip("google.protobuf", reason="protobuf is not installed")
from caffe_schema import schema

CAFFE = schema()
# As published, but for 64 units in fc6 and fc7 and five classes, so that files are small.
SHAPES = {
    "conv1": (96, 3, 11, 11),
    "conv2": (256, 48, 5, 5),
    "conv3": (384, 256, 3, 3),
    "conv4": (384, 192, 3, 3),
    "conv5": (256, 192, 3, 3),
    "fc6": (64, 9216),
    "fc7": (64, 64),
    "fc8": (5, 64),
}
ORDERS = {"caffe": ("conv1", "norm1", "pool1"), "caffenet": ("conv1", "pool1", "norm1")}
Arrays = dict[str, np.ndarray]


def random_arrays() -> Arrays:
    """Weights and biases, spread so that outputs are of the order of 1."""
    generator = torch.Generator().manual_seed(0)
    arrays = {}
    for name, shape in SHAPES.items():
        spread = 0.02 if name == "conv1" else (2 / float(np.prod(shape[1:]))) ** 0.5
        arrays[f"{name}.weight"] = torch.empty(shape).uniform_(-spread, spread, generator=generator).numpy()
        arrays[f"{name}.bias"] = torch.empty(shape[0]).uniform_(-0.1, 0.1, generator=generator).numpy()
    return arrays


def fill(blob: Any, array: np.ndarray, old: bool) -> None:
    """Numbers and shape of a BlobProto; `old`: four dimensions in fields of their own."""
    header = bytes([5 << 3 | 2]) + encoded(array.nbytes)
    blob.MergeFromString(header + array.tobytes())  # `data`, many times faster than number by number
    if old:
        shape = (1,) * (4 - array.ndim) + array.shape
        blob.num, blob.channels, blob.height, blob.width = shape
    else:
        blob.shape.dim.extend(array.shape)


def encoded(value: int) -> bytes:
    """A number as protocol buffers write it."""
    parts = []
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])


def caffemodel(arrays: Arrays, order: tuple[str, ...], old: bool) -> bytes:
    """A whole file in one of the two layouts."""
    net = CAFFE["NetParameter"](name="net")
    names = [*order, *(name for name in SHAPES if name not in order)]
    for name in names:
        layer = (net.layers if old else net.layer).add(name=name)
        for part in ("weight", "bias"):
            if f"{name}.{part}" in arrays:
                fill(layer.blobs.add(), arrays[f"{name}.{part}"], old)
    return net.SerializeToString()


class Rendering(nn.Module):
    """The prototxt in torch.nn, for BGR."""

    def __init__(self, arrays: Arrays, pool_first: bool) -> None:
        super().__init__()
        convolutions = ((96, 3, 11, 4, 0, 1), (256, 96, 5, 1, 2, 2), (384, 256, 3, 1, 1, 1), (384, 384, 3, 1, 1, 2))
        convs = [nn.Conv2d(i, o, k, s, p, groups=g) for o, i, k, s, p, g in (*convolutions, (256, 384, 3, 1, 1, 2))]
        norm, pool = nn.LocalResponseNorm(5, 1e-4, 0.75, 1.0), nn.MaxPool2d(3, 2, ceil_mode=True)
        both = (pool, norm) if pool_first else (norm, pool)
        fcs = [nn.Linear(i, o) for i, o in ((9216, 64), (64, 64), (64, 5))]
        relu = nn.ReLU()
        self.stages = nn.Sequential(
            *(convs[0], relu, *both, convs[1], relu, *both, convs[2], relu, convs[3], relu, convs[4], relu, pool),
            *(nn.Flatten(), fcs[0], relu, fcs[1], relu, fcs[2]),
        )
        with torch.no_grad():
            for layer, name in zip([*convs, *fcs], SHAPES, strict=True):
                parts = {part: torch.from_numpy(arrays[f"{name}.{part}"]) for part in ("weight", "bias")}
                layer.load_state_dict(parts)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.stages(x)


@pytest.fixture(scope="module")
def arrays() -> Arrays:
    return random_arrays()


@pytest.fixture
def names(tmp_path: Path) -> Path:
    (tmp_path / "names.txt").write_text("n01440764 tench, Tinca tinca\n" + "".join(f"other {i}\n" for i in range(4)))
    return tmp_path / "names.txt"


def test_alexnet_in_the_old_layout_becomes_a_run(
    arrays: Arrays, names: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "net.caffemodel").write_bytes(caffemodel(arrays, ORDERS["caffe"], old=True))
    mean = np.random.default_rng(1).uniform(90, 130, (3, 256, 256)).astype(np.float32)  # BGR
    blob = CAFFE["BlobProto"]()
    fill(blob, mean[None], old=True)
    (tmp_path / "mean.binaryproto").write_bytes(blob.SerializeToString())
    run = tmp_path / "run"
    options = ["--classes", str(names), "--mean", str(tmp_path / "mean.binaryproto"), "--json"]
    assert main(["import", str(tmp_path / "net.caffemodel"), str(run), *options]) == 0
    said = capsys.readouterr()
    result = json.loads(said.out)
    assert "net.caffemodel ARE RANDOM" in said.err and "random numbers" in result["random_weights"]
    assert result["layout"] == "caffe" and result["known"] is None and result["checked"]["largest_difference"] < 1e-5
    net = load(run, "cpu")
    assert net.classes[0] == ("n01440764", "tench, Tinca tinca") and net.classes[1].name == "other 0"
    image = np.random.default_rng(2).integers(0, 256, (256, 256, 3)).astype(np.uint8)
    bgr = torch.from_numpy(image[:, :, ::-1].transpose(2, 0, 1) - mean)[None, :, 14:241, 14:241]
    with torch.inference_mode():
        theirs = Rendering(arrays, pool_first=False).eval()(bgr).numpy()
        ours = net(net.preprocess(image)[None]).numpy()
    assert np.ptp(ours) > 0.1
    assert parity.compare(theirs, ours, "our network") < 1e-5


def test_caffenet_in_the_new_layout_pools_before_it_normalises(arrays: Arrays, tmp_path: Path) -> None:
    (tmp_path / "net.caffemodel").write_bytes(caffemodel(arrays, ORDERS["caffenet"], old=False))
    config, weights = caffe.read_caffemodel(tmp_path / "net.caffemodel")
    net = AlexNet(config).eval()
    net.load_state_dict(weights)
    bgr = 50 * torch.randn(1, 3, 227, 227, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        theirs = Rendering(arrays, pool_first=True).eval()(bgr).numpy()
        assert parity.compare(theirs, net(bgr.flip(1)).numpy(), "our network") < 1e-5
        assert parity.compare(theirs, caffe.forward(weights, bgr, True).numpy(), "the rendering") < 1e-5
    assert config == dataclasses.replace(NETWORKS["caffenet"].config, classes=5, fc_units=64, conv1_ceil_mode=False)


def test_arrays_are_read_in_either_form() -> None:
    array = np.arange(6, dtype=np.float64).reshape(1, 1, 2, 3)
    doubles = CAFFE["BlobProto"](double_data=array.ravel(), num=1, channels=1, height=2, width=3)
    assert np.array_equal(caffe.blob(protobuf.Message(doubles.SerializeToString())), array)
    # One by one, as old writers do: each number with its own field.
    single = b"".join(bytes([5 << 3 | 5]) + np.float32(value).tobytes() for value in range(3))
    shape = CAFFE["BlobProto"](shape={"dim": [3]}).SerializeToString()
    assert caffe.blob(protobuf.Message(single + shape)).tolist() == [0, 1, 2]


def test_damaged_files_are_refused_in_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net = CAFFE["NetParameter"]()
    layer = net.layer.add(name="conv1")
    fill(layer.blobs.add(), np.zeros((2, 3), np.float32), old=False)
    whole = net.SerializeToString()
    path = tmp_path / "net.caffemodel"
    wrong = CAFFE["NetParameter"]()
    wrong.layer.add(name="conv1").blobs.add(data=[1, 2], shape={"dim": [3]})
    for content in (b"", whole, whole[:-3], b"\xff" * 40, b"\x07", wrong.SerializeToString(), b"PK\x03\x04 no model"):
        path.write_bytes(content)
        assert main(["import", str(path), str(tmp_path / "run")]) == 1
        assert str(path) in one_line(capsys.readouterr().err)
        assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_a_mean_of_another_shape_is_refused(tmp_path: Path) -> None:
    blob = CAFFE["BlobProto"]()
    fill(blob, np.zeros((1, 3, 4, 5), np.float32), old=True)
    (tmp_path / "mean.binaryproto").write_bytes(blob.SerializeToString())
    with pytest.raises(ValueError, match="not a mean file"):
        caffe.read_mean(tmp_path / "mean.binaryproto")


def test_numbers_of_any_length_are_read() -> None:
    for value in (0, 1, 127, 128, 300, 2**35, 2**63):
        assert protobuf.varint(memoryview(encoded(value)), 0) == (value, len(encoded(value)))
    with pytest.raises(ValueError, match="more than ten bytes"):
        protobuf.varint(memoryview(b"\xff" * 12), 0)


def field(number: int, data: bytes) -> bytes:
    return encoded(number << 3 | 2) + encoded(len(data)) + data


def test_fields_and_shapes_of_a_stranger_cost_little(tmp_path: Path) -> None:
    shape = field(100, field(1, b"conv1") + field(7, field(5, bytes(4)) + field(7, field(1, encoded(2**63) * 300_000))))
    for name, content in (
        ("fields.caffemodel", b"\x08\0" * (protobuf.MOST_FIELDS + 1)),
        ("layers.caffemodel", field(100, b"") * (protobuf.MOST_FIELDS + 1)),
        ("packed.caffemodel", field(100, field(7, field(7, field(1, b"\0" * (protobuf.MOST_FIELDS + 1)))))),
        ("shape.caffemodel", shape),
        ("nodes.onnx", field(7, field(1, b"") * (protobuf.MOST_FIELDS + 1))),
    ):
        (tmp_path / name).write_bytes(content)
        found = cost(
            "from pathlib import Path\nfrom alexnet.exchange.read_weights import read_weights",
            f"read_weights(Path({str(tmp_path / name)!r}), None)",
        )
        reason = "an array has 1 numbers" if name.startswith("shape") else "more than 1,048,576 fields"
        assert reason in found.outcome and found.is_bounded, (name, found)


def test_an_onnx_file_never_opens_another_file(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    os.mkfifo(tmp_path / "numbers")
    tensor = onnx.TensorProto(name="conv1_w_0", data_type=1, dims=[1], data_location=1)
    tensor.external_data.add(key="location", value="numbers")
    model = onnx.ModelProto(graph=onnx.GraphProto(initializer=[tensor]))
    (tmp_path / "zoo.onnx").write_bytes(model.SerializeToString())
    with contextlib.chdir(tmp_path), pytest.raises(ValueError, match="conv1_w_0 is not float32, or not in the file"):
        caffe.read_zoo(Path("zoo.onnx"))


def test_the_onnx_zoos_copy_gives_its_own_logits(arrays: Arrays, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    onnxruntime = pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    path = tmp_path / "bvlcalexnet.onnx"
    path.write_bytes(zoo_model(onnx, arrays).SerializeToString())
    config, weights = caffe.read_zoo(path)
    net = AlexNet(config).eval()
    net.load_state_dict(weights)
    bgr = 50 * torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (theirs,) = session.run(None, {"data_0": bgr.numpy()})
    with torch.no_grad():
        assert parity.compare(theirs, net(bgr.flip(1)).numpy(), "our network") < 1e-5


def zoo_model(onnx: Any, arrays: Arrays) -> Any:
    """The graph as the zoo has it: crops of 224 pixels, and pooling that pads on the right and at the bottom."""
    helper, at = onnx.helper, "data_0"
    nodes, tensors = [], []

    def add(kind: str, inputs: list[str], **attributes: Any) -> str:
        name = f"{kind}_{len(nodes)}"
        nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def both(layer: str) -> list[str]:
        for part, letter in (("weight", "w"), ("bias", "b")):
            tensors.append(onnx.numpy_helper.from_array(arrays[f"{layer}.{part}"], f"{layer}_{letter}_0"))
        return [f"{layer}_w_0", f"{layer}_b_0"]

    for layer, stride, pad, group in (
        *(("conv1", 4, 0, 1), ("conv2", 1, 2, 2)),
        *(("conv3", 1, 1, 1), ("conv4", 1, 1, 2), ("conv5", 1, 1, 2)),
    ):
        at = add("Conv", [at, *both(layer)], strides=[stride, stride], pads=[pad] * 4, group=group)
        at = add("Relu", [at])
        if layer in ("conv1", "conv2"):
            at = add("LRN", [at], size=5, alpha=1e-4, beta=0.75, bias=1.0)
        if layer in ("conv1", "conv2", "conv5"):
            end = 1 if layer == "conv1" else 0
            at = add("MaxPool", [at], kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, end, end])
    at = add("Flatten", [at])
    for layer in ("fc6", "fc7", "fc8"):
        at = add("Gemm", [at, *both(layer)], transB=1)
        at = at if layer == "fc8" else add("Relu", [at])
    inputs = [helper.make_tensor_value_info("data_0", 1, [1, 3, 224, 224])]
    outputs = [helper.make_tensor_value_info(at, 1, [1, 5])]
    graph = helper.make_graph(nodes, "zoo", inputs, outputs, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
