"""What all figures share: size, colours, fonts, axes placed in inches, and saving.

Figures are 6 inches wide and are saved at 300 dots per inch. pyplot's global state is never touched.
"""

import functools
import math
import re
import sys
import textwrap
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import font_manager, rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from alexnet.files import durable

DPI = 150
"""Dots per inch that sizes in pixels refer to."""
PRINT_DPI = 300
"""Dots per inch of a saved image."""
WIDTH = 6.0
"""Inches."""
INK, FAINT = "#222222", "#777777"
BLUE, SALMON, RED = "#8fb6e0", "#f2836b", "#c8391b"


def save(figure: Figure, path: Path) -> None:
    """Write the figure on white, as PNG or in the format of the suffix, whole or not at all; missing folders are made.

    Letters that no font of this machine has are drawn as boxes, with one line on stderr. Raises ValueError for a suffix
    that matplotlib does not know.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for text in figure.findobj(match=lambda artist: hasattr(artist, "set_fontfamily")):
        text.set_fontfamily(fonts())  # type: ignore[attr-defined]
    try:
        with (
            durable.whole(path) as temporary,
            warnings.catch_warnings(record=True) as caught,
            rc_context({"svg.fonttype": "path", "pdf.fonttype": 42}),
        ):
            warnings.simplefilter("always")
            figure.savefig(temporary, dpi=PRINT_DPI, facecolor="white")
    except ValueError as error:
        raise ValueError(f"{path} cannot be written: {error}; give a name that ends in .png.") from None
    missing = {name for warning in caught if (name := re.match(r"Glyph .*missing", str(warning.message)))}
    if missing:
        print(f"warning: {path}: this machine has no font for {len(missing)} of the letters.", file=sys.stderr)


@functools.cache
def fonts() -> list[str]:
    """Families to look for a letter in, one after the other: matplotlib's own, then those of this machine that cover
    many scripts."""
    there = {font.name for font in font_manager.fontManager.ttflist}
    wide = [name for name in sorted(there) if re.match(r"Noto Sans|Arial Unicode|Unifont|Droid Sans Fallback", name)]
    wide += [name for name in sorted(there) if re.search(r"CJK|WenQuanYi|Hiragino|Gothic|Mincho|Emoji", name)]
    return ["DejaVu Sans", *dict.fromkeys(wide)]


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


def wrapped(words: str, longest: int) -> str:
    """At most two lines of `longest` characters, broken between words or at underscores."""
    first, rest = "", re.split(r"(?<=[ _])", words)
    while rest and len(first + rest[0].rstrip()) <= longest:
        first += rest.pop(0)
    if not rest:
        return first.strip()
    if not first:
        return shorten(words, longest)
    return f"{first.rstrip()}\n{shorten(''.join(rest), longest)}"


def shorten(words: str, longest: int) -> str:
    """At most `longest` characters, cut between words where there are several."""
    if len(words) <= longest:
        return words
    if " " in words[: longest - 1]:
        return textwrap.shorten(words, longest, placeholder="…")
    return words[: longest - 1] + "…"


def three_figures(value: float) -> str:
    """A number that is at least 0 with three significant figures: 1234, 123, 12.3, 1.23, 0.123."""
    decimals = 2 - math.floor(math.log10(value)) if value > 0 else 2
    return f"{value:.{min(max(decimals, 0), 9)}f}"
