"""Synthetic images: a labelled data set drawn by the program, to try everything without data.

Each of the twelve classes is one of two colours, two patterns and three shapes (`red_striped_disc`, ...). Any one of
these leaves at least four classes possible, any two at least two: it takes all three to tell a class. Size, position,
angle, stretch, light, background and clutter (plain shapes of any colour, patterned backgrounds) vary at random, which
keeps a linear classifier on pixels far behind.

Each image is a pure function of (seed, split, index). Edges are anti-aliased: the coverage of a pixel is its signed
distance from the edge, clipped to one pixel of transition.
"""

import colorsys
import json
import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from alexnet.data.prepare.pool import Pool
from alexnet.files import durable
from alexnet.files.json_file import read_json
from alexnet.native.processor import cores
from alexnet.progress import Progress

COLOURS = ("red", "blue")
PATTERNS = ("striped", "dotted")
SHAPES = ("disc", "square", "triangle")
CLASSES = tuple(sorted(f"{c}_{p}_{s}" for c in COLOURS for p in PATTERNS for s in SHAPES))

SPLITS = ("train", "val")
RECORD = "synthetic.json"
"""What was drawn, beside train/ and val/."""
AT_ONCE = 32
"""Images that a worker process draws per task."""
HUES = {"red": 0.0, "blue": 0.61}
"""Centres of the colours' hues on the colour circle (0..1)."""
HALF_WIDTHS = {
    "disc": 1.0,
    "square": math.sqrt(math.pi) / 2,
    "triangle": math.sqrt(math.pi / 27**0.5),
}
"""Half the width of each shape over the radius of the disc of its area."""

Rng = np.random.Generator


def draw(label: int, split: str, index: int, seed: int = 0) -> np.ndarray:
    """One image of class `CLASSES[label]`: uint8 [H, W, 3], H and W between 136 and 184."""
    rng = np.random.default_rng((seed, SPLITS.index(split), index))
    colour, pattern, shape = CLASSES[label].split("_")
    height, width = (int(n) for n in rng.integers(136, 185, 2))
    side = min(height, width)
    y, x = np.ogrid[:height, :width]
    x, y = x.astype(np.float32), y.astype(np.float32)

    canvas = _background(rng, x, y)
    for _ in range(rng.integers(2, 8)):
        position = rng.uniform(0, 1, 2) * (width, height)
        _paint_clutter(rng, canvas, x, y, side * rng.uniform(0.04, 0.13), position)

    # The object stays within the central square, which `prepare` keeps; 1.5 radii hold any of the shapes.
    radius = side * rng.uniform(0.22, 0.32)
    reach = side / 2 - 1.5 * radius
    centre = np.array((width, height)) / 2 + rng.uniform(-reach, reach, 2)
    _paint_object(rng, canvas, x, y, shape, pattern, colour, radius, centre)
    if rng.random() < 0.4:  # something small in front of the object's edge
        angle = rng.uniform(0, 2 * math.pi)
        edge = centre + radius * np.array((math.cos(angle), math.sin(angle)))
        _paint_clutter(rng, canvas, x, y, side * rng.uniform(0.03, 0.08), edge)

    _light(rng, canvas, x, y)
    grain = np.float32(rng.uniform(0, 0.035))
    for plane in canvas:
        plane += grain * rng.standard_normal(plane.shape, np.float32)
        np.clip(plane, 0, 1, out=plane)
    return (canvas.transpose(1, 2, 0) * 255 + 0.5).astype(np.uint8)


def draw_set(out: Path, *, train: int = 2400, val: int = 504, seed: int = 0, workers: int = 0) -> dict[str, Any]:
    """Write `train/<class>/*.jpg` and `val/<class>/*.jpg` under `out`, unless they are there already.

    Classes are equally frequent: image i is of class i modulo 12. `workers` is the number of processes, 0 for one per
    core. Returns what was drawn: `seed`, `train`, `val`, `classes`, `complete`.

    Raises ValueError when `out` holds something else.
    """
    wanted = {"seed": seed, "train": train, "val": val, "classes": list(CLASSES), "complete": True}
    found = _record(out)
    if found == wanted:
        return wanted
    if found is not None and found | {"complete": True} != wanted:
        raise ValueError(f"{out} holds another set of synthetic images: delete it, or choose another folder.")
    if found is None and out.exists() and any(out.iterdir()):
        raise ValueError(f"{out} holds other files: choose another folder.")

    for split in SPLITS:
        for name in CLASSES:
            (out / split / name).mkdir(parents=True, exist_ok=True)
    _write_record(out, wanted | {"complete": False})
    jobs = [(split, index) for split, count in (("train", train), ("val", val)) for index in range(count)]
    parts = [jobs[start : start + AT_ONCE] for start in range(0, len(jobs), AT_ONCE)]
    with (
        Pool(max(1, min(workers or cores(), len(parts)))) as pool,
        Progress("drawing", len(jobs), "images") as bar,
    ):
        for part, _ in pool.map(partial(_draw_files, out, seed), parts):
            bar.advance(len(part))
    _write_record(out, wanted)
    return wanted


def _draw_files(out: Path, seed: int, jobs: list[tuple[str, int]]) -> None:
    for split, index in jobs:
        label = index % len(CLASSES)
        pixels = draw(label, split, index, seed)
        Image.fromarray(pixels).save(out / split / CLASSES[label] / f"{index:05d}.jpg", quality=92)


def _record(out: Path) -> dict[str, Any] | None:
    try:
        return read_json(out / RECORD, dict[str, Any])
    except FileNotFoundError:
        return None
    except ValueError:
        raise ValueError(f"{out / RECORD} is damaged: delete {out}, or choose another folder.") from None


def _write_record(out: Path, record: dict[str, Any]) -> None:
    with durable.whole(out / RECORD) as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


# Shapes and patterns map coordinates in pixels to coverage 0..1, float32 of the coordinates' shape.


def _covered(distance: np.ndarray) -> np.ndarray:
    """Coverage of a pixel whose centre is `distance` pixels outside (negative: inside) an edge."""
    return np.clip(0.5 - distance, 0, 1)


def _distance(shape: str, u: np.ndarray, v: np.ndarray, radius: float) -> np.ndarray:
    """Signed distance to the edge of `shape`, whose area is that of a disc of this radius."""
    half = radius * HALF_WIDTHS[shape]
    if shape == "disc":
        return np.hypot(u, v) - half
    if shape == "square":
        return np.maximum(np.abs(u), np.abs(v)) - half
    return np.maximum(np.abs(u) * np.float32(0.75**0.5) - v / 2, v) - half


def _stripes(u: np.ndarray, v: np.ndarray, period: float, share: float) -> np.ndarray:
    across = u + 0 * v
    return _covered(np.abs(across % period - period / 2) - share * period / 2)


def _dots(u: np.ndarray, v: np.ndarray, period: float, share: float) -> np.ndarray:
    radius = period * math.sqrt(share / math.pi)
    return _covered(np.hypot(u % period - period / 2, v % period - period / 2) - radius)


def _checks(u: np.ndarray, v: np.ndarray, period: float, share: float) -> np.ndarray:
    del share
    a, b = _stripes(u, v, period, 0.5), _stripes(v, u, period, 0.5)
    return a + b - 2 * a * b


def _local(
    x: np.ndarray, y: np.ndarray, centre: Sequence[float] | np.ndarray, angle: float, stretch: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates around `centre`, rotated by `angle`; `stretch` makes what is drawn longer one way and shorter the
    other."""
    dx, dy = x - np.float32(centre[0]), y - np.float32(centre[1])
    c, s = np.float32(math.cos(angle)), np.float32(math.sin(angle))
    return (c * dx + s * dy) / np.float32(stretch), (c * dy - s * dx) * np.float32(stretch)


# Painting changes `canvas`, float32 [3, H, W], 0..1, in place, plane by plane for speed.


def _paint(canvas: np.ndarray, coverage: np.ndarray, colour: np.ndarray) -> None:
    for plane, value in zip(canvas, colour, strict=True):
        plane += coverage * (value - plane)


def _background(rng: Rng, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Clouds of two colours, often with a pattern of a third over them: float32 [3, H, W]."""
    height, width = y.size, x.size
    first, second, third = (_any_colour(rng) for _ in range(3))
    coarse = rng.random((rng.integers(2, 9), rng.integers(2, 9)), np.float32)
    clouds = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
    canvas = np.stack([a + clouds * (b - a) for a, b in zip(first, second, strict=True)])
    kind = rng.choice(("plain", "stripes", "dots", "checks"))
    if kind != "plain":
        u, v = _local(x, y, (0, 0), rng.uniform(0, 2 * math.pi))
        pattern = {"stripes": _stripes, "dots": _dots, "checks": _checks}[kind]
        coverage = pattern(u, v, rng.uniform(20, 50), rng.uniform(0.2, 0.6))
        _paint(canvas, coverage * np.float32(rng.uniform(0.15, 0.5)), third)
    return canvas


def _paint_clutter(
    rng: Rng, canvas: np.ndarray, x: np.ndarray, y: np.ndarray, radius: float, centre: np.ndarray
) -> None:
    """A plain shape, or a bar, of any colour."""
    stretch = rng.choice((1.0, rng.uniform(1.5, 2.5)))
    margin = 2 * radius * stretch + 2
    left, top = np.maximum(centre - margin, 0).astype(int)
    right, bottom = np.minimum(centre + margin, (x.size, y.size)).astype(int)
    if right <= left or bottom <= top:
        return
    u, v = _local(x[:, left:right], y[top:bottom], centre, rng.uniform(0, 2 * math.pi), stretch)
    _paint(
        canvas[:, top:bottom, left:right],
        _covered(_distance(rng.choice(SHAPES), u, v, radius)),
        _any_colour(rng),
    )


def _paint_object(
    rng: Rng,
    canvas: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    shape: str,
    pattern: str,
    colour: str,
    radius: float,
    centre: np.ndarray,
) -> None:
    """The labelled object, with its shadow."""
    angle, stretch = rng.uniform(-0.4, 0.4), rng.uniform(0.9, 1.1)
    u, v = _local(x, y, centre, angle, stretch)
    inside = _distance(shape, u, v, radius)

    shift = rng.uniform(-0.1, 0.1, 2) * radius
    shadow = np.clip(0.5 - _distance(shape, *_local(x, y, centre + shift, angle, stretch), radius) / 8, 0, 1)
    canvas *= 1 - shadow * np.float32(rng.uniform(0, 0.6))

    turned = rng.uniform(-0.2, 0.2)  # the pattern has its own angle and offset on the object
    u, v = _local(u, v, rng.uniform(-20, 20, 2), turned)
    period = rng.uniform(11, 19)
    coverage = _stripes(u, v, period, 0.5) if pattern == "striped" else _dots(u, v, period, 0.42)
    ink, ground = _named_colour(rng, colour), _neutral(rng)
    if rng.random() < 0.5:
        ink, ground = ground, ink
    body = _covered(inside)
    for plane, a, b in zip(canvas, ground, ink, strict=True):
        plane += body * (a + coverage * (b - a) - plane)


def _light(rng: Rng, canvas: np.ndarray, x: np.ndarray, y: np.ndarray) -> None:
    """A gradient of illumination across the image, a brightness and a tint."""
    angle = rng.uniform(0, 2 * math.pi)
    slope = math.cos(angle) * (x / x.size - 0.5) + math.sin(angle) * (y / y.size - 0.5)
    brightness = rng.uniform(0.65, 1.15)
    light = (brightness * (1 + rng.uniform(0, 0.8) * slope)).astype(np.float32)
    for plane, tint in zip(canvas, rng.uniform(0.85, 1.15, 3), strict=True):
        plane *= light * np.float32(tint)


# Colours: float32 [3], RGB 0..1.


def _hsv(hue: float, saturation: float, value: float) -> np.ndarray:
    return np.array(colorsys.hsv_to_rgb(hue % 1, saturation, value), np.float32)


def _named_colour(rng: Rng, name: str) -> np.ndarray:
    return _hsv(HUES[name] + rng.uniform(-0.035, 0.035), rng.uniform(0.7, 1), rng.uniform(0.6, 1))


def _neutral(rng: Rng) -> np.ndarray:
    """The second colour of a pattern: pale or dark, hardly any hue."""
    return _hsv(rng.random(), rng.uniform(0, 0.15), rng.choice((rng.uniform(0.8, 1), rng.uniform(0.1, 0.25))))


def _any_colour(rng: Rng) -> np.ndarray:
    return _hsv(rng.random(), rng.uniform(0, 1), rng.uniform(0.15, 1))
