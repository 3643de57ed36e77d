"""The paper's network as a graph of ONNX's own operators."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from alexnet import AlexNet
from benchmarks.network.torch_nn import CLASSES


def write_onnx(network: AlexNet, path: Path) -> None:
    """Write the network with its weights (opset 18): Conv, Relu, LRN on each tower, MaxPool, Gemm.

    Input `images` float32 [batch, 3, 224, 224], output logits [batch, 1000].
    """
    nodes, weights = [], []
    at = "images"

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
        end = 3 if name == "conv1" else padding  # conv1 pads right and bottom only
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
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, 224, 224])],
        [helper.make_tensor_value_info(at, TensorProto.FLOAT, ["batch", CLASSES])],
        weights,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
