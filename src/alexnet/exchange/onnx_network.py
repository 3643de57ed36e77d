"""The network as a graph of ONNX's own operators, node by node from its list of layers.

Nodes and their outputs have the names of the layers, so that viewers show them and runtimes can return them. In
testing, dropout is a factor, as in 2012 (paper, section 4.2), and local response normalisation stays within a tower.
ONNX's LRN divides alpha by the size of the window; ours does not.
"""

import numpy as np
from onnx import ModelProto, TensorProto, helper

from alexnet.exchange.onnx_nodes import Nodes
from alexnet.model.layers import Layer
from alexnet.model.network import AlexNet

BETA = 0.75
"""Exponent of both normalisations."""


def network_model(network: AlexNet, decomposed: bool = False) -> ModelProto:
    """The network with its weights (opset 18): `images` float32 [batch, 3, S, S], mean subtracted, to `logits`.

    `decomposed`: without the operator LRN, for runtimes that lack it.
    """
    nodes, size = Nodes(), network.network.input_size
    add_network(nodes, network, "images", "logits", decomposed)
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, size, size])
    return nodes.model(images, "logits", network.network.classes)


def add_network(nodes: Nodes, network: AlexNet, x: str, output: str, decomposed: bool) -> None:
    """Add all layers, from x [B, 3, S, S] to `output` [B, classes]."""
    last, missing = network.layers[-1], 0
    for layer in network.layers:
        if layer.kind == "pad":
            missing = layer.padding  # the convolution after it pads
            continue
        if layer.kind in ("fc", "dropout") and len(layer.inputs) > 1:
            x = nodes.add("Flatten", [x], f"{layer.name}/flatten", axis=1)
        x = add_layer(nodes, network, layer, x, output if layer is last else layer.name, missing, decomposed)
        missing = 0


def add_layer(nodes: Nodes, network: AlexNet, layer: Layer, x: str, name: str, missing: int, decomposed: bool) -> str:
    """Add one layer. `missing`: rows and columns of zeros on the right and at the bottom of its input."""
    config = network.network
    size, stride, padding = layer.kernel_size, layer.stride, layer.padding
    match layer.kind:
        case "conv":
            pads = [padding, padding, padding + missing, padding + missing]
            window = {"kernel_shape": [size, size], "strides": [stride, stride], "pads": pads, "group": layer.groups}
            return nodes.add("Conv", [x, *parameters(nodes, network, layer)], name, **window)
        case "local":
            return add_local(nodes, network, layer, x, name)
        case "fc" if layer.groups == 1:
            return nodes.add("Gemm", [x, *parameters(nodes, network, layer)], name, transB=1)
        case "fc":
            return add_grouped(nodes, network, layer, x, name)
        case "activation":
            return nodes.add({"relu": "Relu", "tanh": "Tanh"}[config.activation], [x], name)
        case "norm":
            add = add_decomposed_norm if decomposed else add_norm
            return add(nodes, layer, x, name, config.lrn_alpha, config.lrn_k)
        case "spatial norm":
            return add_spatial_norm(nodes, layer, x, name, config.spatial_norm_alpha)
        case "pool":
            # Zeros would be wrong, but padding of MaxPool is never the maximum.
            end = max(0, (layer.outputs[1] - 1) * stride + size - layer.inputs[1])
            window = {"kernel_shape": [size, size], "strides": [stride, stride], "pads": [0, 0, end, end]}
            return nodes.add("MaxPool", [x], name, **window)
        case "dropout":
            kept = 1.0 if config.inverted_dropout else 1 - config.dropout
            return nodes.add("Mul", [x, nodes.constant(float(kept))], name)
        case "pad":
            raise AssertionError("the convolution after it pads")


def values(network: AlexNet, name: str) -> np.ndarray:
    """A parameter by its name, as float32."""
    return network.get_parameter(name).detach().float().cpu().numpy()


def parameters(nodes: Nodes, network: AlexNet, layer: Layer) -> list[str]:
    """Names of the constants with the layer's weights and biases."""
    names = [f"{layer.name}.weight", f"{layer.name}.bias"]
    return [nodes.constant(values(network, name), name) for name in names]


def add_norm(nodes: Nodes, layer: Layer, x: str, name: str, alpha: float, k: float) -> str:
    """Local response normalisation (paper, section 3.3): the operator LRN on each tower."""
    settings = {"size": layer.kernel_size, "alpha": alpha * layer.kernel_size, "beta": BETA, "bias": k}
    if layer.groups == 1:
        return nodes.add("LRN", [x], name, **settings)
    towers = nodes.split(x, layer.groups, f"{name}/tower")
    normed = [nodes.add("LRN", [tower], f"{name}/lrn{i}", **settings) for i, tower in enumerate(towers)]
    return nodes.add("Concat", normed, name, axis=1)


def add_decomposed_norm(nodes: Nodes, layer: Layer, x: str, name: str, alpha: float, k: float) -> str:
    """The same without LRN: x (k + alpha sum x^2)^-beta, with the sum over channels as a 1x1 convolution."""
    channels, half = layer.inputs[0], layer.kernel_size // 2
    per_tower = channels // layer.groups
    index = np.arange(per_tower)
    band = alpha * (abs(index[:, None] - index) <= half)  # [C / towers, C / towers]
    weight = np.tile(band, (layer.groups, 1))[:, :, None, None].astype(np.float32)
    squares = nodes.add("Mul", [x, x], f"{name}/squares")
    constants = [nodes.constant(weight), nodes.constant(np.full(channels, k, np.float32))]
    scale = nodes.add("Conv", [squares, *constants], f"{name}/scale", kernel_shape=[1, 1], group=layer.groups)
    power = nodes.add("Pow", [scale, nodes.constant(-BETA)], f"{name}/power")
    return nodes.add("Mul", [x, power], name)


def add_spatial_norm(nodes: Nodes, layer: Layer, x: str, name: str, alpha: float) -> str:
    """Normalisation within each map: x (1 + alpha mean x^2)^-beta over windows, with zeros beyond the edges."""
    size, before = layer.kernel_size, layer.kernel_size // 2
    squares = nodes.add("Mul", [x, x], f"{name}/squares")
    pads = [before, before, size - 1 - before, size - 1 - before]
    window = {"kernel_shape": [size, size], "pads": pads, "count_include_pad": 1}
    mean = nodes.add("AveragePool", [squares], f"{name}/mean", **window)
    scaled = nodes.add("Mul", [mean, nodes.constant(float(alpha))], f"{name}/scaled")
    scale = nodes.add("Add", [scaled, nodes.constant(1.0)], f"{name}/scale")
    power = nodes.add("Pow", [scale, nodes.constant(-BETA)], f"{name}/power")
    return nodes.add("Mul", [x, power], name)


def add_grouped(nodes: Nodes, network: AlexNet, layer: Layer, x: str, name: str) -> str:
    """A fully connected layer in groups: each from its own inputs to its own outputs."""
    weights, biases = (np.split(values(network, f"{layer.name}.{part}"), layer.groups) for part in ("weight", "bias"))
    outputs = []
    for i, inputs in enumerate(nodes.split(x, layer.groups, f"{name}/group")):
        constants = [nodes.constant(weights[i]), nodes.constant(biases[i])]
        outputs.append(nodes.add("Gemm", [inputs, *constants], f"{name}/gemm{i}", transB=1))
    return nodes.add("Concat", outputs, name, axis=1)


def add_local(nodes: Nodes, network: AlexNet, layer: Layer, x: str, name: str) -> str:
    """Unshared kernels: cut out all windows by a convolution with one-hot kernels, and multiply each by its own."""
    size, inputs = layer.kernel_size, layer.inputs[0]
    length = inputs * size**2
    one_hot = np.eye(length, dtype=np.float32).reshape(length, inputs, size, size)
    pads = [layer.padding] * 4
    windows = nodes.add("Conv", [x, nodes.constant(one_hot)], f"{name}/windows", kernel_shape=[size] * 2, pads=pads)
    columns = nodes.add("Reshape", [windows, nodes.constant([0, length, -1])], f"{name}/columns")  # [B, length, P]
    columns = nodes.add("Transpose", [columns], f"{name}/by_position", perm=[2, 1, 0])  # [P, length, B]
    weight, bias = parameters(nodes, network, layer)
    outputs = nodes.add("MatMul", [weight, columns], f"{name}/outputs")  # [P, out, B]
    outputs = nodes.add("Transpose", [outputs], f"{name}/by_image", perm=[2, 1, 0])  # [B, out, P]
    maps = nodes.add("Reshape", [outputs, nodes.constant([-1, *layer.outputs])], f"{name}/maps")
    return nodes.add("Add", [maps, bias], name)
