"""A unit: what excites it most, what feeds it, how its excitations are distributed, which classes it serves."""

from typing import Any

import numpy as np

from alexnet.explore import png
from alexnet.explore.arithmetic import table, weights_of
from alexnet.explore.guard import MissingError
from alexnet.explore.images import Images, as_json
from alexnet.explore.indexer import Indexer
from alexnet.explore.runs import Run
from alexnet.explore.through import check_unit
from alexnet.explore.units import BINS, LayerUnits, with_units
from alexnet.study.tiles import kernel_tiles

FEEDS = 8
"""Units of the layer before that are shown."""
CLASSES = 5


def layers_with_units(run: Run) -> list[str]:
    """Names of the layers whose units can be looked at."""
    return [layer.name for layer in with_units(run.net.layers)]


def check_layer(run: Run, name: str) -> str:
    """MissingError, with the names, for another layer."""
    names = layers_with_units(run)
    if name not in names:
        raise MissingError(f"Units are those of {', '.join(names)}; '{name[:40]}' has none.")
    return name


def about_unit(run: Run, images: Images, indexer: Indexer | None, layer: str, unit: int) -> dict[str, Any]:
    """`layer`, `unit`, `units` (how many the layer has), `tower`, `feeds` (see `feeds`), `index` (progress).

    And what the index knows: `most`, the images that excite the unit most, each with `value`, `y`, `x` and `field`
    (top, left, height, width in the image); `histogram`; `active`, a fraction; `dead`; `mean`; `classes` it serves.
    """
    described = run.layers[check_layer(run, layer)]
    check_unit(described.outputs, layer, unit)
    towers = run.net.network.towers if described.kind != "fc" or layer != run.net.layers[-1].name else 1
    found: dict[str, Any] = {
        "layer": layer,
        "unit": unit,
        "units": described.outputs[0],
        "tower": unit // (described.outputs[0] // towers) + 1 if towers > 1 else None,
        "feeds": feeds(run, layer, unit),
        "index": indexer.about() if indexer else None,
    }
    if layer == run.net.layers[-1].name:
        found |= {"class": as_json(run.net.classes[unit])}
    if indexer is None or indexer.units is None or not indexer.units.done:
        return found
    with indexer.lock:
        return found | known(run, images, indexer, indexer.units.layers[layer], layer, unit)


def known(run: Run, images: Images, indexer: Indexer, units: LayerUnits, layer: str, unit: int) -> dict[str, Any]:
    """What the index knows of a unit."""
    assert indexer.units is not None
    width, done = (*run.layers[layer].outputs, 1, 1)[2], indexer.units.done
    most = []
    for value, image, position in zip(units.value[unit], units.image[unit], units.position[unit], strict=True):
        if image >= 0:
            y, x = divmod(int(position), width)
            top, left, tall, wide = run.fields[layer].box(y, x, run.net.preprocess.crop)
            box = [top + run.offset, left + run.offset, tall, wide]
            about = images.about(f"{indexer.split}-{image}")
            most.append(about | {"value": float(value), "y": y, "x": x, "field": box})
    sizes = np.bincount(indexer.images.labels[:done], minlength=len(units.sums))
    means = units.sums[:, unit] / sizes.clip(min=1)
    best = np.argsort(-means, kind="stable")[:CLASSES]
    assert images.store is not None
    classes = [as_json(images.store.classes[c]) | {"mean": float(means[c])} for c in best]
    return {
        "most": most,
        "histogram": {"range": float(units.range[0]), "counts": units.counts[unit].tolist(), "bins": BINS},
        "active": float(units.active[unit] / done),
        "dead": bool(units.active[unit] == 0) and layer != run.net.layers[-1].name,
        "classes": classes,
        "mean": float(units.sums[:, unit].sum() / done),
    }


def feeds(run: Run, layer: str, unit: int) -> dict[str, Any]:
    """What feeds a unit: of conv1 its own `kernel` (rows of [red, green, blue], 0 to 255); of other layers `inputs`,
    the units of the layer before with the largest weights (Euclidean), each with `weights` (rows) and their `sum`."""
    described = run.layers[layer]
    weights, bias = weights_of(run, layer)
    names = layers_with_units(run)
    if layer == names[0]:
        pixels = kernel_tiles(weights)[unit] if described.kind == "conv" else None
        return {"bias": float(bias[unit]), "kernel": None if pixels is None else pixels.tolist()}
    before = names[names.index(layer) - 1]
    channels = run.layers[before].outputs[0] // described.groups
    if described.kind == "local":
        shape = channels, described.kernel_size, described.kernel_size
        own = weights[:, unit].mean(0).reshape(shape)
    elif described.kind == "conv":
        own = weights[unit]  # [channels, size, size]
    else:
        own = weights[unit].reshape(channels, -1)
        side = round(own.shape[1] ** 0.5)
        own = own.reshape(channels, side, -1) if side * side == own.shape[1] else own[:, None]
    first = unit // (described.outputs[0] // described.groups) * channels
    order = np.argsort(-np.square(own).sum((1, 2)), kind="stable")[:FEEDS]
    inputs = [{"unit": first + int(c), "weights": table(own[c]), "sum": float(own[c].sum())} for c in order]
    return {"bias": float(np.ravel(bias)[unit]), "from": before, "inputs": inputs}


def patch_png(run: Run, images: Images, image: str, box: tuple[int, int, int, int]) -> bytes:
    """PNG of a part of an image: top, left, height, width, cut at its edges."""
    pixels = run.pixels(images, image)
    top, left, height, width = box
    part = pixels[top : top + height, left : left + width]
    if not part.size:
        raise ValueError("This part of the image is empty.")
    return png.encode(np.ascontiguousarray(part))


def overview(run: Run, indexer: Indexer | None, layer: str) -> dict[str, Any]:
    """All units of a layer: the `largest` excitation, the `active` fraction, how many are `dead`; so far as known."""
    check_layer(run, layer)
    found = {"layer": layer, "units": run.layers[layer].outputs[0], "index": indexer.about() if indexer else None}
    if indexer is None or indexer.units is None or not indexer.units.done:
        return found
    with indexer.lock:
        units, done = indexer.units.layers[layer], indexer.units.done
        dead = int((units.active == 0).sum()) if layer != run.net.layers[-1].name else 0
        return found | {
            "largest": units.value[:, 0].tolist(),
            "active": (units.active / done).round(6).tolist(),
            "dead": dead,
        }
