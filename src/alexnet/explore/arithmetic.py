"""The arithmetic of one output: what is multiplied, added, compared or divided to get it, with the numbers.

Sums are computed in float64 from the float32 values that the network computed with; the network adds in another order,
in float32, so that its value may differ in the last digits.
"""

from typing import Any

import numpy as np

from alexnet.explore.guard import MissingError
from alexnet.explore.images import Images
from alexnet.explore.runs import Run, Seen
from alexnet.explore.through import check_unit
from alexnet.model.layers import Layer
from alexnet.model.spatial_norm import SpatialNorm

SHOWN = 8
"""Inputs that are shown one by one, the most important first; of the rest the sum."""


def arithmetic(run: Run, images: Images, image: str, name: str, unit: int, y: int, x: int) -> dict[str, Any]:
    """The arithmetic of output (y, x) of a map, or of a unit (y and x are 0).

    Always `kind`, `stage`, `unit`, `y`, `x`, `value` (what the network computed), `field` (top, left, height and width
    of the receptive field in the image), `from` (the stage before), and, by kind:

    - `conv`, `local`, `fc`: `inputs` (the `SHOWN` largest contributions by absolute value: `unit` of the stage before,
      `patch` and `kernel` or `value` and `weight`, `sum`), `rest` (`count` and `sum` of the others), `bias`, `total`
    - `norm`: `window` (channels and values), `k`, `alpha`, `beta`, `squares`, `scale`, `total`
    - `spatial norm`: `patch`, `alpha`, `beta`, `squares`, `scale`, `total`
    - `pool`: `patch`, `at` (row and column of the maximum in it)
    - `activation`, `dropout`, `pad`: `input`, and `factor` of dropout

    Outside a map there are zeros of the padding: None in a `patch`. MissingError for an output that is not there.
    """
    seen = run.see(images, image)
    layer = run.layers[run.stage(name)]
    values = seen.outputs[name]
    check_unit(values.shape, name, unit)
    if values.ndim == 3 and not (0 <= y < values.shape[1] and 0 <= x < values.shape[2]):
        raise MissingError(f"{name} has rows 0 to {values.shape[1] - 1} and columns 0 to {values.shape[2] - 1}.")
    y, x = (y, x) if values.ndim == 3 else (0, 0)
    field, crop = run.fields[name], run.net.preprocess.crop
    top, left, height, width = field.box(y, x, crop) if values.ndim == 3 else (0, 0, crop, crop)
    found = {
        "kind": layer.kind,
        "stage": name,
        "unit": unit,
        "y": y,
        "x": x,
        "value": float(values[unit, y, x] if values.ndim == 3 else values[unit]),
        "field": [top + run.offset, left + run.offset, height, width],
        "from": run.before(name),
    }
    inputs = inputs_of(run, seen, name)
    return found | KINDS[layer.kind](run, layer, inputs, unit, y, x)


def inputs_of(run: Run, seen: Seen, name: str) -> np.ndarray:
    """What a stage gets: the output of the stage before, or the view of the image; flat for `fc` and `dropout`."""
    before = run.before(name)
    values = seen.view if before is None else seen.outputs[before]
    return values.reshape(-1) if run.layers[name].kind in ("fc", "dropout") else values


def weights_of(run: Run, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Weights and biases, float32."""
    module = run.net.get_submodule(name)
    return tuple(getattr(module, what).detach().float().cpu().numpy() for what in ("weight", "bias"))  # type: ignore[return-value]


def patch_of(maps: np.ndarray, top: int, left: int, size: int) -> np.ndarray:
    """A square of each map, float64 [C, size, size]; NaN outside the maps."""
    patch = np.full((len(maps), size, size), np.nan)
    rows = slice(max(0, top), max(0, min(top + size, maps.shape[1])))
    columns = slice(max(0, left), max(0, min(left + size, maps.shape[2])))
    patch[:, rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = maps[:, rows, columns]
    return patch


def table(values: np.ndarray) -> list[list[float | None]]:
    """Rows of numbers; None for NaN."""
    return [[None if np.isnan(v) else float(v) for v in row] for row in values]


def convolution(run: Run, layer: Layer, inputs: np.ndarray, unit: int, y: int, x: int) -> dict[str, Any]:
    """Kernel times patch, for each channel of the unit's group, plus the bias."""
    weights, bias = weights_of(run, layer.name)
    size, channels = layer.kernel_size, layer.inputs[0] // layer.groups
    first = unit // (layer.outputs[0] // layer.groups) * channels
    top, left = y * layer.stride - layer.padding, x * layer.stride - layer.padding
    patch = patch_of(inputs[first : first + channels], top, left, size)
    kernel, own_bias = weights[unit], bias[unit]
    if layer.kind == "local":
        kernel = weights[y * layer.outputs[2] + x, unit].reshape(channels, size, size)
        own_bias = bias[unit, y, x]
    sums = (np.nan_to_num(patch) * kernel).sum((1, 2), dtype=np.float64)
    order = np.argsort(-np.abs(sums), kind="stable")
    shown = [
        {"unit": first + int(c), "patch": table(patch[c]), "kernel": table(kernel[c]), "sum": float(sums[c])}
        for c in order[:SHOWN]
    ]
    return summed(shown, sums[order[SHOWN:]], sums, own_bias)


def fully_connected(run: Run, layer: Layer, inputs: np.ndarray, unit: int, y: int, x: int) -> dict[str, Any]:
    """Weights times inputs, plus the bias."""
    weights, bias = weights_of(run, layer.name)
    count = len(inputs) // layer.groups
    first = unit // (layer.outputs[0] // layer.groups) * count
    own = inputs[first : first + count].astype(np.float64)
    sums = own * weights[unit]
    order = np.argsort(-np.abs(sums), kind="stable")
    before = run.layers[layer.name].inputs
    shown = [
        where(first + int(i), before)
        | {"value": float(own[i]), "weight": float(weights[unit, i]), "sum": float(sums[i])}
        for i in order[:SHOWN]
    ]
    return summed(shown, sums[order[SHOWN:]], sums, bias[unit])


def where(index: int, shape: tuple[int, ...]) -> dict[str, int]:
    """The map, row and column of an element of flattened maps; of units, the unit."""
    if len(shape) == 1:
        return {"unit": index}
    unit, y, x = (int(i) for i in np.unravel_index(index, shape))
    return {"unit": unit, "y": y, "x": x}


def summed(shown: list[dict[str, Any]], rest: np.ndarray, sums: np.ndarray, bias: np.ndarray) -> dict[str, Any]:
    """The end of every sum."""
    return {
        "inputs": shown,
        "rest": {"count": len(rest), "sum": float(rest.sum())},
        "bias": float(bias),
        "total": float(sums.sum() + bias),
    }


def normalisation(run: Run, layer: Layer, inputs: np.ndarray, unit: int, y: int, x: int) -> dict[str, Any]:
    """Local response normalisation (paper, section 3.3)."""
    config = run.net.network
    channels = len(inputs) // layer.groups
    first, last = unit // channels * channels, unit // channels * channels + channels
    before = layer.kernel_size // 2
    window = range(max(first, unit - before), min(last, unit - before + layer.kernel_size))
    values = inputs[list(window), y, x].astype(np.float64)
    squares = float((values**2).sum())
    scale = config.lrn_k + config.lrn_alpha * squares
    own = float(inputs[unit, y, x])
    numbers = {"k": config.lrn_k, "alpha": config.lrn_alpha, "beta": 0.75, "squares": squares, "scale": scale}
    shown = [{"unit": c, "value": float(v)} for c, v in zip(window, values, strict=True)]
    return {"input": own, "window": shown, **numbers, "total": own * scale**-0.75}


def spatial_normalisation(run: Run, layer: Layer, inputs: np.ndarray, unit: int, y: int, x: int) -> dict[str, Any]:
    """Normalisation within the map, the original program's."""
    module = run.net.get_submodule(layer.name)
    assert isinstance(module, SpatialNorm)
    before = module.size // 2
    patch = patch_of(inputs[unit : unit + 1], y - before, x - before, module.size)[0]
    squares = float(np.nansum(patch**2))
    scale = 1 + module.alpha / module.size**2 * squares
    own = float(inputs[unit, y, x])
    numbers = {"alpha": module.alpha, "beta": module.beta, "squares": squares, "scale": scale}
    return {"input": own, "patch": table(patch), **numbers, "total": own * scale**-module.beta}


def pooling(run: Run, layer: Layer, inputs: np.ndarray, unit: int, y: int, x: int) -> dict[str, Any]:
    """The maximum of a window."""
    patch = patch_of(inputs[unit : unit + 1], y * layer.stride, x * layer.stride, layer.kernel_size)[0]
    row, column = divmod(int(np.nanargmax(patch)), layer.kernel_size)
    return {"patch": table(patch), "at": [row, column], "total": float(patch[row, column])}


def one_to_one(run: Run, layer: Layer, inputs: np.ndarray, unit: int, y: int, x: int) -> dict[str, Any]:
    """A stage that makes one number of one number."""
    if layer.kind == "pad" and (y >= inputs.shape[1] or x >= inputs.shape[2]):
        return {"input": None, "total": 0.0}
    own = float(inputs[unit, y, x] if inputs.ndim == 3 else inputs[unit])
    if layer.kind == "dropout":
        factor = 1.0 if run.net.network.inverted_dropout else 1 - run.net.network.dropout
        return {"input": own, "factor": factor, "total": own * factor}
    if layer.kind == "activation":
        how = run.net.network.activation
        return {"input": own, "function": how, "total": max(0.0, own) if how == "relu" else float(np.tanh(own))}
    return {"input": own, "total": own}


KINDS = {
    "conv": convolution,
    "local": convolution,
    "fc": fully_connected,
    "norm": normalisation,
    "spatial norm": spatial_normalisation,
    "pool": pooling,
    "activation": one_to_one,
    "dropout": one_to_one,
    "pad": one_to_one,
}
