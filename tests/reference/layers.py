"""The layers of the 2012 network: each function returns its output and its backward function.

Arrays are float64, images [N, C, H, W]. A `Backward` takes the gradient of the loss with respect to the layer's output
and returns that with respect to its input, a `WeightedBackward` also those of weight and bias.
"""

from collections.abc import Callable

import numpy as np

Array = np.ndarray
Backward = Callable[[Array], Array]
WeightedBackward = Callable[[Array], tuple[Array, Array, Array]]


def output_size(size: int, kernel: int, stride: int, padding: int = 0) -> int:
    """Windows along one side: enough to cover every pixel, so the last may reach past the end."""
    return 1 + -(-(2 * padding + size - kernel) // stride)


def convolution(
    x: Array, weight: Array, bias: Array, stride: int = 1, padding: int = 0, groups: int = 1
) -> tuple[Array, WeightedBackward]:
    """Cross-correlation with zero padding, and more zeros on the right and below where the last window needs them.

    `weight` is [out, C / groups, kernel, kernel]. Group g of the outputs sees only group g of the channels.
    """
    kernel = weight.shape[-1]
    n, channels, height, width = x.shape
    rows, columns = (output_size(side, kernel, stride, padding) for side in (height, width))
    below = (rows - 1) * stride + kernel - padding - height
    right = (columns - 1) * stride + kernel - padding - width
    framed = np.pad(x, ((0, 0), (0, 0), (padding, below), (padding, right)))
    inputs = framed.reshape(n, groups, channels // groups, *framed.shape[2:])
    kernels = weight.reshape(groups, -1, *weight.shape[1:])  # [groups, out / groups, C / groups, kernel, kernel]

    y = np.zeros((n, groups, kernels.shape[1], rows, columns))
    for i, j in np.ndindex(kernel, kernel):
        y += np.einsum("ngchw,gkc->ngkhw", inputs[..., *_seen(i, j, stride, rows, columns)], kernels[..., i, j])

    def backward(gradient: Array) -> tuple[Array, Array, Array]:
        g = gradient.reshape(y.shape)
        of_inputs, of_kernels = np.zeros_like(inputs), np.zeros_like(kernels)
        for i, j in np.ndindex(kernel, kernel):
            seen = (..., *_seen(i, j, stride, rows, columns))
            of_inputs[seen] += np.einsum("ngkhw,gkc->ngchw", g, kernels[..., i, j])
            of_kernels[..., i, j] = np.einsum("ngkhw,ngchw->gkc", g, inputs[seen])
        of_x = of_inputs.reshape(framed.shape)[:, :, padding : padding + height, padding : padding + width]
        return of_x, of_kernels.reshape(weight.shape), gradient.sum((0, 2, 3))

    return y.reshape(n, -1, rows, columns) + bias[:, None, None], backward


def max_pool(x: Array, kernel: int = 3, stride: int = 2) -> tuple[Array, Backward]:
    """Maximum of each window, clipped on the right and below. The first of equal maxima gets the gradient."""
    height, width = x.shape[2:]
    rows, columns = (output_size(side, kernel, stride) for side in (height, width))
    below, right = (rows - 1) * stride + kernel - height, (columns - 1) * stride + kernel - width
    framed = np.pad(x, ((0, 0), (0, 0), (0, below), (0, right)), constant_values=-np.inf)
    offsets = list(np.ndindex(kernel, kernel))
    windows = np.stack([framed[..., *_seen(i, j, stride, rows, columns)] for i, j in offsets])
    largest = windows.argmax(0)

    def backward(gradient: Array) -> Array:
        of_framed = np.zeros_like(framed)
        for number, (i, j) in enumerate(offsets):
            of_framed[..., *_seen(i, j, stride, rows, columns)] += gradient * (largest == number)
        return of_framed[:, :, :height, :width]

    return windows.max(0), backward


def _seen(i: int, j: int, stride: int, rows: int, columns: int) -> tuple[slice, slice]:
    """The pixels at offset (i, j) in their windows: one for each of rows x columns outputs."""
    return slice(i, i + stride * rows, stride), slice(j, j + stride * columns, stride)


def relu(x: Array) -> tuple[Array, Backward]:
    """Gradient 0 at 0."""
    return np.where(x > 0, x, 0.0), lambda gradient: np.where(x > 0, gradient, 0.0)


def tanh(x: Array) -> tuple[Array, Backward]:
    y = np.tanh(x)
    return y, lambda gradient: gradient * (1 - y**2)


def local_response_norm(
    x: Array, alpha: float, k: float = 2.0, size: int = 5, groups: int = 1
) -> tuple[Array, Backward]:
    """`x * (k + alpha * sum of x^2 over size neighbouring channels) ** -0.75`, windows clipped to their group.

    alpha is the factor on the sum: 1e-4 in the paper's formula, 1e-4 / 5 in the original program.
    """
    channels = x.shape[1]
    tower = np.arange(channels) // (channels // groups)
    distance = abs(np.subtract.outer(np.arange(channels), np.arange(channels)))
    neighbours = ((distance <= size // 2) & np.equal.outer(tower, tower)).astype(float)  # [C, C]
    return _normalised(x, lambda values: np.einsum("ij,njhw->nihw", neighbours, values), alpha, k)


def spatial_norm(x: Array, alpha: float = 1e-3 / 25, k: float = 1.0, size: int = 5) -> tuple[Array, Backward]:
    """`x * (k + alpha * sum of x^2 over size x size pixels of the same map) ** -0.75`, windows clipped to the map."""
    above, left = (
        (abs(np.subtract.outer(np.arange(side), np.arange(side))) <= size // 2).astype(float) for side in x.shape[2:]
    )
    return _normalised(x, lambda values: np.einsum("ab,cd,nkbd->nkac", above, left, values, optimize=True), alpha, k)


def _normalised(x: Array, summed: Callable[[Array], Array], alpha: float, k: float) -> tuple[Array, Backward]:
    """`x * (k + alpha * summed(x^2)) ** -0.75`.

    With s = k + alpha * summed(x^2), the derivative of y_j with respect to x_i is s_j^-0.75 if i = j, minus 1.5 * alpha
    * x_j * s_j^-1.75 * x_i if i is a neighbour of j. Since i is a neighbour of j exactly when j is one of i, `summed`
    is its own transpose and also sums over j.
    """
    scale = k + alpha * summed(x**2)

    def backward(gradient: Array) -> Array:
        return gradient * scale**-0.75 - 1.5 * alpha * x * summed(gradient * x * scale**-1.75)

    return x * scale**-0.75, backward


def linear(x: Array, weight: Array, bias: Array) -> tuple[Array, WeightedBackward]:
    """Fully connected: x [N, ...] is flattened to [N, in], channels first; weight is [out, in]."""
    flat = x.reshape(len(x), -1)

    def backward(gradient: Array) -> tuple[Array, Array, Array]:
        return (gradient @ weight).reshape(x.shape), gradient.T @ flat, gradient.sum(0)

    return flat @ weight.T + bias, backward


def dropout(x: Array, mask: Array | None) -> tuple[Array, Backward]:
    """Training: multiply by a 0/1 mask, without rescaling. Testing (no mask): multiply by 0.5."""
    factor = 0.5 if mask is None else mask
    return x * factor, lambda gradient: gradient * factor


def cross_entropy(logits: Array, labels: Array) -> tuple[float, Array]:
    """Mean over the images of -log softmax(logits)[label], and its gradient [N, classes]."""
    shifted = logits - logits.max(1, keepdims=True)
    log_probability = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    hit = np.eye(logits.shape[1])[labels]
    return float(-(hit * log_probability).sum() / len(labels)), (np.exp(log_probability) - hit) / len(labels)
