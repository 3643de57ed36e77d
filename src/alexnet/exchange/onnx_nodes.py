"""A graph of ONNX operators while it is being built: nodes, and the constants they take."""

from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

OPSET = 18
IR_VERSION = 10
"""Of the file format. onnx writes its newest, which runtimes learn to read later."""


class Nodes:
    """Nodes and constants of a graph, in the order in which they were added."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, TensorProto] = {}

    def add(self, operator: str, inputs: list[str], name: str = "", **attributes: Any) -> str:
        """Add a node with one output, which has the node's name (without one: a name of its own). Returns the name."""
        name = name or f"{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def split(self, x: str, parts: int, name: str) -> list[str]:
        """Split x [B, C, ...] into equal parts of its channels. Returns their names."""
        names = [f"{name}/{i}" for i in range(parts)]
        self.nodes.append(helper.make_node("Split", [x], names, name=f"{name}/split", axis=1, num_outputs=parts))
        return names

    def constant(self, value: Any, name: str = "") -> str:
        """Add a constant: an array as it is, a Python number as a float32 or int64 scalar, a list as int64."""
        if not isinstance(value, np.ndarray):
            value = np.array(value, np.float32 if isinstance(value, float) else np.int64)
        name = name or f"constant_{len(self.constants)}"
        self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(value).reshape(value.shape), name)
        return name

    def model(self, images: ValueInfoProto, output: str, classes: int) -> ModelProto:
        """The whole model, from the input `images` to `output`, float32 [batch, classes]."""
        outputs = [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch", classes])]
        graph = helper.make_graph(self.nodes, "alexnet", [images], outputs, list(self.constants.values()))
        opsets = [helper.make_opsetid("", OPSET)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="alexnet")
