"""What the machine can do at most: convolutions, copies, decoding and encoding, each alone, without kernels of ours.

The limit of training and inference is the number of multiply-adds that the network needs, at the speed of a
convolution that suits the machine well (3x3, 512 to 512 channels, 32x32 pixels, 64 images, channels last).
"""

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import simplejpeg
import torch
from torch import nn
from torch.nn import functional as F

from alexnet.config import NetworkConfig
from alexnet.data.image.decode import decode_at_scale, scale
from alexnet.data.image.encode import encode
from alexnet.data.image.jpeg_header import Frame, read_frame
from alexnet.model.layers import Layer, layers_of
from alexnet.model.unshared import GroupedLinear, Local2d
from alexnet.native.processor import cores

CONVOLUTION = 64, 512, 32
"""Images, channels, height and width."""
COPIED = 2**26
"""float32 numbers."""
Work = Callable[[], object]
Item = TypeVar("Item")


def operations(config: NetworkConfig, training: bool) -> int:
    """Floating-point operations for one image, two per multiply-add: forward, and in training also for the gradients of
    the weights and, but for the first layer, of the input."""
    counts = [2 * layer.multiply_adds for layer in layers_of(config) if layer.multiply_adds]
    return 3 * sum(counts) - counts[0] if training else sum(counts)


def convolution(dtype: torch.dtype, device: torch.device) -> tuple[Work, float]:
    """The convolution that suits the machine, and its floating-point operations."""
    batch, channels, side = CONVOLUTION
    x = torch.randn(batch, channels, side, side, dtype=dtype, device=device)
    weight = torch.randn(channels, channels, 3, 3, dtype=dtype, device=device)
    x, weight = (t.contiguous(memory_format=torch.channels_last) for t in (x, weight))

    def work() -> None:
        with torch.inference_mode():
            F.conv2d(x, weight, padding=1)

    return work, 2.0 * batch * side * side * channels * channels * 9


def gemm(
    config: NetworkConfig, batch: int, dtype: torch.dtype, device: torch.device, training: bool
) -> tuple[Work, float]:
    """The network's convolutions and matrix multiplications and nothing else, by PyTorch's own layers; and the images.

    In channels last and `dtype`, weights included. In training also the gradients of the weights and, but for the first
    layer, of the input.
    """
    layers = [layer for layer in layers_of(config) if layer.weight_shape]
    work = []
    for number, layer in enumerate(layers):
        alone = torch_layer(layer).to(device=device, dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
        shape = (math.prod(layer.inputs),) if layer.kind == "fc" else layer.inputs
        x = torch.randn(batch, *shape, dtype=dtype, device=device)
        x = x.contiguous(memory_format=torch.channels_last) if len(shape) == 3 else x
        x.requires_grad_(number > 0)
        with torch.no_grad():
            work.append((alone, x, torch.randn_like(alone(x))))

    def forward() -> None:
        with torch.inference_mode():
            for layer, x, _ in work:
                layer(x)

    def step() -> None:
        for layer, x, g in work:
            wanted = [each for each in (x, layer.weight) if each.requires_grad]
            torch.autograd.grad(layer(x), wanted, g)

    return (step if training else forward), float(batch)


def torch_layer(layer: Layer) -> nn.Module:
    """PyTorch's layer that computes what `layer` describes, without a bias.

    PyTorch has no layer for fully connected groups and unshared kernels: these two are ours, made of its operations.
    """
    channels, out = layer.inputs[0], layer.outputs[0]
    if layer.kind == "conv":
        size, stride, padding = layer.kernel_size, layer.stride, layer.padding
        return nn.Conv2d(channels, out, size, stride, padding, groups=layer.groups, bias=False)
    if layer.kind == "local":
        return Local2d(channels, layer.outputs, layer.kernel_size, layer.padding)
    inputs = math.prod(layer.inputs)
    return nn.Linear(inputs, out, bias=False) if layer.groups == 1 else GroupedLinear(inputs, out, layer.groups)


def copying(device: torch.device) -> tuple[Work, float]:
    """A copy of a large tensor, and the bytes read and written."""
    a, b = torch.zeros(COPIED, device=device), torch.ones(COPIED, device=device)
    return lambda: b.copy_(a), 8.0 * COPIED


def decoding(encoded: Sequence[bytes | memoryview], size: int) -> tuple[Work, float]:
    """libjpeg-turbo decoding on all cores, each into one buffer of its own; and the images."""

    def decode(part: Sequence[bytes | memoryview]) -> None:
        out = np.empty((size, size, 3), np.uint8)
        for one in part:
            simplejpeg.decode_jpeg(one, buffer=out)

    return _on_all_cores(decode, encoded)


def gathering(images: int, crop: int, batch: int) -> tuple[Work, float]:
    """Copies of crops that are in memory, in any order, a batch after the other on all cores; and the images."""
    there = np.ones((images, 3 * crop * crop), np.uint8)
    order = np.random.default_rng(0).permutation(images)

    def gather(chosen: Sequence[int]) -> None:
        out = np.empty((len(chosen), there.shape[1]), np.uint8)
        np.take(there, chosen, axis=0, out=out, mode="clip")  # "raise" would copy once more

    return _on_all_cores(gather, order.tolist(), batch)


def recoding(encoded: Sequence[bytes | memoryview], size: int, quality: int) -> tuple[Work, float]:
    """libjpeg-turbo on all cores: decoding images of any size (scaled down as `alexnet prepare` does it), then encoding
    `size` x `size` of their pixels, nothing in between; and the images. Raises ValueError for what is no JPEG."""
    images = []
    for one in encoded:
        frame = read_frame(memoryview(one))
        if frame is None:
            raise ValueError("an image has no frame header, so it is no JPEG that can be decoded")
        images.append((one, frame))

    def recode(part: Sequence[tuple[bytes | memoryview, Frame]]) -> None:
        for one, frame in part:
            pixels = decode_at_scale(one, frame, scale(frame, size))
            encode(np.ascontiguousarray(pixels[:size, :size]), quality)

    return _on_all_cores(recode, images)


def _on_all_cores(
    work: Callable[[Sequence[Item]], None], encoded: Sequence[Item], together: int = 16
) -> tuple[Work, float]:
    parts = [encoded[i : i + together] for i in range(0, len(encoded), together)]

    def all_of_it() -> None:
        with ThreadPoolExecutor(cores()) as pool:
            list(pool.map(work, parts))

    return all_of_it, float(len(encoded))
