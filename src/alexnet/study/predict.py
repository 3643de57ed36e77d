"""Classify images: the five most probable labels of each, as in figure 4 (left) of the paper."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from torch import Tensor

from alexnet.data.classes import Class
from alexnet.files.printable import printable
from alexnet.files.words import counted
from alexnet.progress import Progress
from alexnet.study.class_names import short_name, true_class, true_label
from alexnet.study.doubts import at_chance, same_label
from alexnet.study.image_files import find_images
from alexnet.study.outputs import check_figure, check_some, warn
from alexnet.study.random_weights import warn_if_random
from alexnet.study.scores import check_views, percent, probabilities, top5
from alexnet.study.trained import TrainedAlexNet, load

IMAGES_AT_ONCE = 16
BAR_WIDTH = 30
SAME = 0.001
"""Difference of probabilities below which they are the same answer."""


def predict(
    run: Path,
    images: Sequence[Path],
    *,
    views: int = 10,
    device: str = "auto",
    panel: Path | None = None,
    force: bool = False,
) -> dict[str, Any]:
    """Classify image files; a folder stands for all images in it. `views` is 1 (centre) or 10.

    Returns `checkpoint` and `predictions`: for each image `path`, `top5` (`wnid`, `name`, `probability`, most probable
    first), and `true` and `true_name` where its folder or file name gives the class, else None. `skipped` has `path`
    and `error` of each file that cannot be read; `random_weights` says why the network looks untrained, and is None
    where it looks trained. `panel` is a file to draw the images and their labels to, over
    another one if `force`.

    Raises ValueError where no file can be read.
    """
    check_views(views)
    check_figure(panel, force)
    paths = find_images(images)
    if panel is not None:
        from alexnet.study.panels import check_panel  # imported only here: matplotlib takes longer than the rest

        check_panel(paths)
    net = load(run, device)
    random_weights = warn_if_random(net, run)
    predictions: list[dict[str, Any]] = []
    skipped: list[dict[str, str]] = []
    with Progress("classifying", total=len(paths), unit="images") as bar:
        for first in range(0, len(paths), IMAGES_AT_ONCE):
            part = paths[first : first + IMAGES_AT_ONCE]
            good, batch = read_views(net, part, views, skipped)
            for path, scores in zip(good, probabilities(net, batch) if good else (), strict=True):
                true = true_label(true_class(path, net.classes), net.classes)
                predictions.append({"path": str(path)} | true | {"top5": top5(scores, net.classes)})
            bar.advance(len(part))
        check_some(skipped, len(paths))
    doubts = ([] if random_weights else at_chance(net, run)) + suspicious(predictions, net.classes)
    result = {
        "run": str(run),
        "checkpoint": str(net.checkpoint),
        "random_weights": random_weights,
        "views": views,
        "predictions": predictions,
        "skipped": skipped,
        "warnings": [warn(sentence) for sentence in doubts],
    }
    if panel is not None:
        from alexnet.study import drawing, panels

        shown = [net.preprocess.pixels(prediction["path"]) for prediction in predictions]
        drawing.save(panels.predictions(shown, predictions), panel)
        result["panel"] = str(panel)
    return result


def read_views(
    net: TrainedAlexNet, paths: Sequence[Path], views: int, skipped: list[dict[str, str]]
) -> tuple[list[Path], Tensor]:
    """The files that can be read, and their views, float32 [B, V, 3, C, C]. The others go to `skipped`, with a line."""
    good: list[Path] = []
    read: list[Tensor] = []
    for path in paths:
        try:
            read.append(net.preprocess.image_views(path, views))
            good.append(path)
        except ValueError as error:
            skipped.append({"path": str(path), "error": str(error)})
            if len(paths) > 1:
                warn(f"left out: {error}")
    return good, torch.stack(read) if read else torch.empty(0)


def suspicious(predictions: Sequence[dict[str, Any]], classes: Sequence[Class]) -> list[str]:
    """A sentence where several images get nearly the same probabilities, or images of several classes one label."""
    answers = [[guess["wnid"] for guess in each["top5"]] for each in predictions]
    probabilities = [[guess["probability"] for guess in each["top5"]] for each in predictions]
    if len(predictions) < 2:
        return []
    if all(answer == answers[0] for answer in answers) and float(np.ptp(probabilities, axis=0).max()) < SAME:
        return [
            "all images get the same probabilities: the network tells no images apart. Either it has not learned, or "
            "the images are the same."
        ]
    index = {each.wnid: number for number, each in enumerate(classes)}
    known = [(index[each["top5"][0]["wnid"]], index[each["true"]]) for each in predictions if each["true"] is not None]
    guesses, truths = np.array(known, dtype=np.int64).reshape(-1, 2).T
    return same_label(guesses, truths, classes)


def render(result: dict[str, Any]) -> RenderableType:
    """Bars for a terminal: the true class green, the others blue."""
    count = len(result["predictions"])
    parts: list[RenderableType] = [Text(f"{counted(count, 'image')}, {result['checkpoint']}")]
    for prediction in result["predictions"]:
        title = Text(printable(prediction["path"]), style="bold")
        if prediction["true"] is not None:
            title.append(f"  ({short_name(prediction['true_name'])})", style="green")
        bars = Table.grid(padding=(0, 1))
        bars.add_column(justify="right", max_width=28, overflow="fold")
        bars.add_column(justify="right", no_wrap=True, min_width=7)
        bars.add_column(no_wrap=True, overflow="crop", ratio=1)
        for guess in prediction["top5"]:
            colour = "green" if guess["wnid"] == prediction["true"] else "blue"
            bars.add_row(
                Text(short_name(guess["name"]), style=colour if colour == "green" else ""),
                percent(guess["probability"]),
                Text(bar(guess["probability"], BAR_WIDTH), style=colour),
            )
        parts += [title, bars, Text()]
    return Group(*parts)


def bar(fraction: float, width: int) -> str:
    """A bar of `fraction` times `width` characters, in steps of an eighth of a character."""
    eighths = round(fraction * width * 8)
    return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()
