"""Where in the image an output of a stage looks: its receptive field, with its position."""

from collections.abc import Sequence
from typing import NamedTuple

from alexnet.model.layers import Layer


class Field(NamedTuple):
    """Along each axis, the output at `i` depends on the pixels from `start + step * i` on, `size` of them, of the
    network's input. They may reach past its edges. `size` 0: it depends on the whole input."""

    start: int
    step: int
    size: int

    def box(self, y: int, x: int, crop: int) -> tuple[int, int, int, int]:
        """Top, left, height and width of the field of the output at (y, x), cut at the edges of the input, which has
        `crop` pixels on each side."""
        if not self.size:
            return 0, 0, crop, crop
        (top, height), (left, width) = (self._extent(i, crop) for i in (y, x))
        return top, left, height, width

    def side(self, crop: int) -> int:
        """Height and width of the field, at most those of the input."""
        return min(self.size or crop, crop)

    def _extent(self, i: int, crop: int) -> tuple[int, int]:
        first = self.start + self.step * i
        low, high = max(0, first), min(crop, first + self.size)
        return min(low, crop - 1), max(1, high - low)


def fields_of(layers: Sequence[Layer]) -> dict[str, Field]:
    """The receptive field of each stage, by its name."""
    found: dict[str, Field] = {}
    start, step, size = 0, 1, 1
    for layer in layers:
        if layer.kind == "fc":
            size = 0
        elif layer.kind in ("conv", "local", "pool", "spatial norm") and size:
            before = layer.kernel_size // 2 if layer.kind == "spatial norm" else layer.padding
            start -= before * step
            size += (layer.kernel_size - 1) * step
            step *= layer.stride
        found[layer.name] = Field(start, step, size)
    return found
