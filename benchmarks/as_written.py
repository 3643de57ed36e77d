"""The network of the paper as one would write it with torch.nn, and the same as an ONNX graph."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn
from torch.nn import functional as F

from alexnet import AlexNet

CLASSES = 1000


class TwoTowerNorm(nn.Module):
    """`nn.LocalResponseNorm` on each tower; it divides alpha by its window of 5, the paper does not."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LocalResponseNorm(5, 5e-4, 0.75, 2.0)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.norm(half) for half in x.chunk(2, 1)], 1)


class BandedNorm(nn.Module):
    """The same sums of squares as a 1x1 convolution, which compilers like better."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        index = torch.arange(channels // 2)
        band = ((index[:, None] - index).abs() <= 2).float() * 1e-4
        self.register_buffer("band", torch.block_diag(band, band)[:, :, None, None])

    def forward(self, x: Tensor) -> Tensor:
        s = F.conv2d(x.square(), self.get_buffer("band").to(x.dtype)) + 2
        return x * (s.rsqrt() * s.rsqrt().sqrt())


class HalvedDropout(nn.Module):
    """The paper's dropout while testing; while training a mask without rescaling."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.empty_like(x).bernoulli_(0.5) if self.training else x * 0.5


def as_written(banded: bool = False) -> nn.Sequential:
    """The layers from torch.nn."""

    def pool() -> nn.Module:
        return nn.MaxPool2d(3, 2, ceil_mode=True)

    def norm(channels: int) -> nn.Module:
        return BandedNorm(channels) if banded else TwoTowerNorm()

    return nn.Sequential(
        nn.ZeroPad2d((0, 3, 0, 3)),
        *(nn.Conv2d(3, 96, 11, 4), nn.ReLU(), norm(96), pool()),
        *(nn.Conv2d(96, 256, 5, padding=2, groups=2), nn.ReLU(), norm(256), pool()),
        *(nn.Conv2d(256, 384, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(384, 384, 3, padding=1, groups=2), nn.ReLU()),
        *(nn.Conv2d(384, 256, 3, padding=1, groups=2), nn.ReLU(), pool(), nn.Flatten()),
        *(nn.Linear(9216, 4096), nn.ReLU(), HalvedDropout()),
        *(nn.Linear(4096, 4096), nn.ReLU(), HalvedDropout()),
        nn.Linear(4096, CLASSES),
    )


@torch.no_grad()
def with_weights_of(network: AlexNet, other: nn.Sequential) -> nn.Sequential:
    """`other` with the weights of `network`."""
    ours, theirs = list(network.parameters()), list(other.parameters())
    for a, b in zip(ours, theirs, strict=True):
        b.copy_(a)
    return other


def write_onnx(network: AlexNet, path: Path) -> None:
    """The graph with ONNX's own operators: Conv, Relu, LRN on each tower, MaxPool, Gemm."""
    nodes, weights = [], []
    at = "pictures"

    def add(kind: str, inputs: list[str], outputs: int = 1, **attributes: Any) -> list[str]:
        names = [f"{kind}{len(nodes)}_{i}" for i in range(outputs)]
        nodes.append(helper.make_node(kind, inputs, names, **attributes))
        return names

    def constant(name: str, values: np.ndarray) -> str:
        weights.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def values(name: str) -> np.ndarray:
        return network.get_parameter(name).detach().numpy()

    convolutions = {"conv1": (4, 0, 1), "conv2": (1, 2, 2), "conv3": (1, 1, 1), "conv4": (1, 1, 2), "conv5": (1, 1, 2)}
    for name, (stride, padding, groups) in convolutions.items():
        inputs = [at, *(constant(f"{name}.{part}", values(f"{name}.{part}")) for part in ("weight", "bias"))]
        end = 3 if name == "conv1" else padding  # conv1 reaches past the right and lower edge
        pads = [padding, padding, end, end]
        (at,) = add("Conv", inputs, strides=[stride] * 2, pads=pads, group=groups)
        (at,) = add("Relu", [at])
        if name in ("conv1", "conv2"):
            halves = add("Split", [at], 2, axis=1, num_outputs=2)
            normed = [add("LRN", [half], size=5, alpha=5e-4, beta=0.75, bias=2.0)[0] for half in halves]
            (at,) = add("Concat", normed, axis=1)
        if name in ("conv1", "conv2", "conv5"):
            (at,) = add("MaxPool", [at], kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
    (at,) = add("Flatten", [at])
    half = constant("half", np.array(0.5, np.float32))
    for name in ("fc6", "fc7", "fc8"):
        inputs = [at, *(constant(f"{name}.{part}", values(f"{name}.{part}")) for part in ("weight", "bias"))]
        (at,) = add("Gemm", inputs, transB=1)
        if name != "fc8":
            (at,) = add("Relu", [at])
            (at,) = add("Mul", [at, half])
    graph = helper.make_graph(
        nodes,
        "alexnet",
        [helper.make_tensor_value_info("pictures", TensorProto.FLOAT, ["batch", 3, 224, 224])],
        [helper.make_tensor_value_info(at, TensorProto.FLOAT, ["batch", CLASSES])],
        weights,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
