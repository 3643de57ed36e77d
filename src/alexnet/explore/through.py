"""Through the network: the maps of each stage for an image, and the values of single maps."""

from typing import Any

import numpy as np

from alexnet.explore import png
from alexnet.explore.guard import MissingError
from alexnet.explore.images import Images
from alexnet.explore.runs import Run

STRONGEST = 12
"""Maps or units of a stage that are named, in each tower."""


def stages(run: Run, images: Images, image: str) -> list[dict[str, Any]]:
    """Each stage with `name`, `shape`, `low` and `high` (the least and largest output), `zero` (fraction of outputs
    that are exactly 0), the `scale` of its colours, and `strongest`: the maps with the largest outputs, by tower."""
    seen = run.see(images, image)
    return [stage(run, name, values) for name, values in seen.outputs.items()]


def stage(run: Run, name: str, values: np.ndarray) -> dict[str, Any]:
    """One of `stages`."""
    high, signed = png.scale_of(values)
    most = values.reshape(len(values), -1).max(1)
    towers = towers_of(run, values)
    parts = np.split(np.arange(len(values)), towers)
    strongest = [part[np.argsort(-most[part], kind="stable")[:STRONGEST]].tolist() for part in parts]
    return {
        "name": name,
        "shape": list(values.shape),
        "low": float(values.min()),
        "high": float(values.max()),
        "zero": float((values == 0).mean()),
        "scale": high,
        "signed": signed,
        "columns": png.columns_of(len(values), towers),
        "towers": towers,
        "strongest": strongest,
        "largest": [[float(most[unit]) for unit in part] for part in strongest],
    }


def towers_of(run: Run, values: np.ndarray) -> int:
    """Into how many towers the outputs of a stage are divided; the classes belong to none."""
    towers = run.net.network.towers
    is_last = len(values) == len(run.net.classes) and values.ndim == 1
    return towers if len(values) % towers == 0 and not is_last else 1


def maps_png(run: Run, images: Images, image: str, name: str) -> bytes:
    """PNG of all maps of a stage, tiled, the towers below each other; a unit is a pixel."""
    values = run.see(images, image).outputs[run.stage(name)]
    maps = values if values.ndim == 3 else values[:, None, None]
    return png.encode_maps(png.tile(maps, towers_of(run, values)), *png.scale_of(values))


def map_values(run: Run, images: Images, image: str, name: str, unit: int) -> dict[str, Any]:
    """The values of one map, [height, width], or of one unit, [1, 1], to float32's last digit."""
    values = run.see(images, image).outputs[run.stage(name)]
    check_unit(values.shape, name, unit)
    chosen = values[unit].reshape(1, 1) if values.ndim == 1 else values[unit]
    return {"stage": name, "unit": unit, "values": [[short(v) for v in row] for row in chosen]}


def check_unit(shape: tuple[int, ...], name: str, unit: int) -> None:
    """MissingError for a unit that the stage does not have."""
    if not 0 <= unit < shape[0]:
        raise MissingError(f"{name} has units 0 to {shape[0] - 1}.")


def short(value: np.floating) -> float:
    """A float32 number as the shortest decimal that stands for it."""
    return float(str(np.float32(value)))
