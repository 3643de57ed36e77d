"""What all figures share: size, colours, axes placed in inches, and saving.

Figures are 6 inches wide, 900 pixels when saved. pyplot's global state is never touched.
"""

import textwrap
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

DPI = 150
WIDTH = 6.0
"""Inches."""
INK, FAINT = "#222222", "#777777"
BLUE, SALMON, RED = "#8fb6e0", "#f2836b", "#c8391b"


def save(figure: Figure, path: Path) -> None:
    """Write the figure on white, as PNG or in the format of the suffix; missing folders are made.

    Raises ValueError for a suffix that matplotlib does not know.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        figure.savefig(path, dpi=DPI, facecolor="white")
    except ValueError as error:
        raise ValueError(f"{path} cannot be written: {error}; give a name that ends in .png.") from None


def box(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Axes of the given size, in inches from the figure's lower left corner."""
    across, up = figure.get_size_inches()
    return figure.add_axes((left / across, bottom / up, width / across, height / up))


def show(axes: Axes, image: np.ndarray) -> None:
    """Draw an image, uint8 [H, W, 3], without ticks or frame."""
    axes.imshow(image, interpolation="antialiased")
    axes.set_axis_off()


def text(axes: Axes, x: float, y: float, words: str, size: float, longest: int, **style: Any) -> None:
    """Write at most `longest` characters below an image, at coordinates from 0 to 1 of its own axes."""
    style = {"ha": "center", "va": "top", "color": INK} | style
    axes.text(x, y, shorten(words, longest), size=size, transform=axes.transAxes, **style)


def shorten(words: str, longest: int) -> str:
    """At most `longest` characters, cut between words where there are several."""
    if len(words) <= longest:
        return words
    if " " in words[: longest - 1]:
        return textwrap.shorten(words, longest, placeholder="…")
    return words[: longest - 1] + "…"
