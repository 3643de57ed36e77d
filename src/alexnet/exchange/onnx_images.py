"""What prepares an image for the network, and what averages its views, inside the ONNX graph.

The resize is Pillow's antialiased bicubic filter, written as two matrix multiplications whose weights the graph
computes from the size of its input. ONNX's own Resize differs from runtime to runtime. Sources: paper, sections 2 and
4.1; `alexnet.data.image.resize`.
"""

import numpy as np
import torch
from onnx import ModelProto, TensorProto, helper

from alexnet.exchange.onnx_network import add_network
from alexnet.exchange.onnx_nodes import Nodes
from alexnet.model.input import view_offsets
from alexnet.study.trained import TrainedAlexNet

A = -0.5
"""Parameter of the bicubic filter (Pillow's)."""


def image_model(net: TrainedAlexNet, views: int, decomposed: bool = False) -> ModelProto:
    """From images to class probabilities: `images` uint8 [batch, height, width, 3], RGB, to `probabilities`.

    Rescales the shorter side, crops the centre, subtracts the mean image, computes the logits of 1 or 10 views, and
    averages their softmax outputs.
    """
    nodes = Nodes()
    classes = net.network.classes
    x = add_views(nodes, net, add_square(nodes, "images", net.preprocess.size), views)
    add_network(nodes, net, x, "logits", decomposed)
    if views == 1:
        nodes.add("Softmax", ["logits"], "probabilities", axis=1)
    else:
        each = nodes.add("Softmax", ["logits"], axis=1)
        each = nodes.add("Reshape", [each, nodes.constant([views, -1, classes])])
        nodes.add("ReduceMean", [each, nodes.constant([0])], "probabilities", keepdims=0)
    images = helper.make_tensor_value_info("images", TensorProto.UINT8, ["batch", "height", "width", 3])
    return nodes.model(images, "probabilities", classes)


def add_square(nodes: Nodes, images: str, size: int) -> str:
    """The central square after the shorter side has been rescaled to `size`.

    uint8 [B, H, W, 3] to float32 [B, 3, size, size] of whole numbers from 0 to 255.
    """
    shape = nodes.add("Shape", [images])
    height, width = (nodes.add("Gather", [shape, nodes.constant(axis)]) for axis in (1, 2))
    side = nodes.add("Min", [height, width])
    x = nodes.add("Cast", [images], to=TensorProto.FLOAT)
    x = nodes.add("Transpose", [x], perm=[0, 3, 1, 2])  # [B, 3, H, W]
    columns = nodes.add("Transpose", [add_filter(nodes, width, side, size)], perm=[1, 0])  # [W, size]
    x = add_bytes(nodes, nodes.add("MatMul", [x, columns]))  # [B, 3, H, size]
    rows = add_filter(nodes, height, side, size)  # [size, H]
    return add_bytes(nodes, nodes.add("MatMul", [rows, x]))  # [B, 3, size, size]


def add_filter(nodes: Nodes, length: str, side: str, size: int) -> str:
    """Weights [size, length] that rescale the central `side` pixels of an axis of `length` pixels to `size`.

    Output j has its centre at (length - side) / 2 + (j + 1/2) side / size. Its distance from the centre of pixel x,
    in units of the filter (as many pixels as go into one of the output, at least one), is a fraction of integers, so
    that float32 is exact enough for any image.
    """
    x = nodes.add("Range", [nodes.constant(0), length, nodes.constant(1)])  # [length]
    pixels = nodes.add("Add", [nodes.add("Mul", [x, nodes.constant(2 * size)]), nodes.constant(size)])
    left = nodes.add("Mul", [nodes.add("Sub", [length, side]), nodes.constant(size)])
    centres = nodes.add("Mul", [nodes.constant(2 * np.arange(size, dtype=np.int64)[:, None] + 1), side])  # [size, 1]
    distance = nodes.add("Abs", [nodes.add("Sub", [nodes.add("Sub", [pixels, left]), centres])])  # [size, length]
    unit = nodes.add("Mul", [nodes.add("Max", [side, nodes.constant(size)]), nodes.constant(2)])
    distance, unit = (nodes.add("Cast", [each], to=TensorProto.FLOAT) for each in (distance, unit))
    v = nodes.add("Div", [distance, unit])
    near = add_polynomial(nodes, v, (A + 2, -(A + 3), 0, 1))
    far = add_polynomial(nodes, v, (A, -5 * A, 8 * A, -4 * A))
    beyond = nodes.add("Where", [nodes.add("Less", [v, nodes.constant(2.0)]), far, nodes.constant(0.0)])
    weights = nodes.add("Where", [nodes.add("Less", [v, nodes.constant(1.0)]), near, beyond])
    total = nodes.add("ReduceSum", [weights, nodes.constant([1])], keepdims=1)
    return nodes.add("Div", [weights, total])


def add_polynomial(nodes: Nodes, v: str, coefficients: tuple[float, ...]) -> str:
    """The polynomial in v, highest power first."""
    y = nodes.add("Mul", [v, nodes.constant(float(coefficients[0]))])
    for coefficient in coefficients[1:-1]:
        y = nodes.add("Mul", [nodes.add("Add", [y, nodes.constant(float(coefficient))]), v])
    return nodes.add("Add", [y, nodes.constant(float(coefficients[-1]))])


def add_bytes(nodes: Nodes, x: str) -> str:
    """x rounded to whole numbers from 0 to 255, halves up, as Pillow rounds after each of the two passes."""
    x = nodes.add("Floor", [nodes.add("Add", [x, nodes.constant(0.5)])])
    return nodes.add("Clip", [x, nodes.constant(0.0), nodes.constant(255.0)])


def add_views(nodes: Nodes, net: TrainedAlexNet, square: str, count: int) -> str:
    """The centre view or the ten views, mean subtracted: [B, 3, S, S] to [count B, 3, C, C], view after view.

    The mean is what `alexnet.model.input.views` subtracts.
    """
    size, crop = net.preprocess.size, net.preprocess.crop
    black = torch.zeros(1, size, size, 3, dtype=torch.uint8)
    means = -net.preprocess.views(black, count)[0].cpu().numpy()  # [count, 3, C, C]
    views = []
    for i, (top, left, mirrored) in enumerate(view_offsets(size, crop, count)):
        limits = [nodes.constant([top, left]), nodes.constant([top + crop, left + crop]), nodes.constant([2, 3])]
        view = nodes.add("Slice", [square, *limits])
        if mirrored:
            backwards = nodes.constant(np.arange(crop - 1, -1, -1))
            view = nodes.add("Gather", [view, backwards], axis=3)
        views.append(nodes.add("Sub", [view, nodes.constant(means[i : i + 1])]))
    return nodes.add("Concat", views, axis=0) if count > 1 else views[0]
