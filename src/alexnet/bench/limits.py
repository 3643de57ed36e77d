"""What the machine itself can do: products, copies, decoding and encoding, each alone and at its best.

The limit of training and testing is that of the multiplications that the network asks for, at the speed of a
convolution that suits the machine well (3x3, 512 to 512 channels, 32x32 pixels, 64 images, channels last).
"""

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import simplejpeg
import torch
from torch.nn import functional as F

from alexnet.config import NetworkConfig
from alexnet.data.image.encode import encode
from alexnet.model.layers import layers_of
from alexnet.model.network import module
from alexnet.native.processor import cores

CONVOLUTION = 64, 512, 32  # images, channels, height and width
COPIED = 2**26  # floats
Work = Callable[[], object]


def operations(config: NetworkConfig, training: bool) -> int:
    """Multiplications and additions for one image: of each layer forward, and in training also for the gradients
    of its weights and, but for the first layer, of its input."""
    counts = [2 * layer.multiply_adds for layer in layers_of(config) if layer.multiply_adds]
    return 3 * sum(counts) - counts[0] if training else sum(counts)


def convolution(dtype: torch.dtype, device: torch.device) -> tuple[Work, float]:
    """A convolution that suits the machine, and its operations."""
    batch, channels, side = CONVOLUTION
    x = torch.randn(batch, channels, side, side, dtype=dtype, device=device)
    weight = torch.randn(channels, channels, 3, 3, dtype=dtype, device=device)
    x, weight = (t.contiguous(memory_format=torch.channels_last) for t in (x, weight))

    def work() -> None:
        with torch.inference_mode():
            F.conv2d(x, weight, padding=1)

    return work, 2.0 * batch * side * side * channels * channels * 9


def products(
    config: NetworkConfig, batch: int, dtype: torch.dtype, device: torch.device, training: bool
) -> tuple[Work, float]:
    """The network's own convolutions and matrix products and nothing else, in channels last, and the images."""
    layers = [layer for layer in layers_of(config) if layer.weight_shape]
    work = []
    for number, layer in enumerate(layers):
        alone = module(layer, config).to(device=device, dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
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


def copying(device: torch.device) -> tuple[Work, float]:
    """A copy of a large tensor, and the bytes read and written."""
    a, b = torch.zeros(COPIED, device=device), torch.ones(COPIED, device=device)
    return lambda: b.copy_(a), 8.0 * COPIED


def decoding(encoded: Sequence[bytes | memoryview], size: int) -> tuple[Work, float]:
    """libjpeg-turbo on all cores, each into its own buffer, and the images."""

    def decode(part: Sequence[bytes | memoryview]) -> None:
        out = np.empty((size, size, 3), np.uint8)
        for one in part:
            simplejpeg.decode_jpeg(one, buffer=out)

    return _on_all_cores(decode, encoded)


def recoding(encoded: Sequence[bytes | memoryview], size: int, quality: int) -> tuple[Work, float]:
    """libjpeg-turbo on all cores: decoding images of any size (to half or less where they still are larger than
    `size`), encoding `size` x `size` of their pixels, nothing between; and the images."""

    def recode(part: Sequence[bytes | memoryview]) -> None:
        for one in part:
            pixels = simplejpeg.decode_jpeg(one, min_height=size, min_width=size, min_factor=2)
            encode(np.ascontiguousarray(pixels[:size, :size]), quality)

    return _on_all_cores(recode, encoded)


def _on_all_cores(
    work: Callable[[Sequence[bytes | memoryview]], None], encoded: Sequence[bytes | memoryview]
) -> tuple[Work, float]:
    parts = [encoded[i : i + 16] for i in range(0, len(encoded), 16)]

    def all_of_it() -> None:
        with ThreadPoolExecutor(cores()) as pool:
            list(pool.map(work, parts))

    return all_of_it, float(len(encoded))
