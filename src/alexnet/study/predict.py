"""The five most probable labels of an image, as in figure 4 (left) of the paper."""

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
from alexnet.progress import Progress
from alexnet.study.evaluate import percent, probabilities
from alexnet.study.images import expand, readable, true_class
from alexnet.study.trained import TrainedAlexNet, load

IMAGES_AT_ONCE = 16
BAR_WIDTH = 30


def predict(
    run: Path, images: Sequence[Path], *, views: int = 10, device: str = "auto", panel: Path | None = None
) -> dict[str, Any]:
    """Label loose images; a folder stands for all images in it. `views` is 1 (centre) or 10.

    Returns `predictions`: for each image `path`, `top5` (`wnid`, `name`, `probability`, most probable
    first), and `true` and `true_name` where its folder or file name says so, else None. `panel` is where to
    save an image of it all, as figure 4 (left).

    Raises ValueError for a path that is no image.
    """
    if views not in (1, 10):
        raise ValueError(f"views is {views}; it must be 1 (centre) or 10 (corners, centre and their mirrors).")
    paths = expand(images)
    if panel is not None:
        from alexnet.study.panels import check_panel  # imported here: naming alone does not need matplotlib

        check_panel(paths)
    net = load(run, device)
    predictions: list[dict[str, Any]] = []
    with Progress("labelling", total=len(paths), unit="images") as bar:
        for first in range(0, len(paths), IMAGES_AT_ONCE):
            part = paths[first : first + IMAGES_AT_ONCE]
            batch = torch.stack([views_of(net, path, views) for path in part])  # [B, V, 3, C, C]
            for path, scores in zip(part, probabilities(net, batch), strict=True):
                true = true_class(path, net.classes)
                predictions.append({"path": str(path)} | named(true, net.classes) | {"top5": top5(scores, net.classes)})
            bar.advance(len(part))
    result = {"run": str(run), "views": views, "predictions": predictions}
    if panel is not None:
        from alexnet.study import panels

        panels.save(panels.predictions([net.preprocess.shown(path) for path in paths], predictions), panel)
        result["panel"] = str(panel)
    return result


def views_of(net: TrainedAlexNet, image: Path | np.ndarray, views: int) -> Tensor:
    """The centre view or the ten views of one image: float32 [views, 3, C, C]."""
    return net.preprocess(image)[None] if views == 1 else net.preprocess.ten_views(image)


def top5(scores: Tensor, classes: Sequence[Class]) -> list[dict[str, Any]]:
    """The five (or, of fewer classes, all) most probable classes; scores [classes]."""
    best = scores.topk(min(5, len(classes)))
    return [
        {"wnid": classes[i].wnid, "name": classes[i].name, "probability": probability}
        for probability, i in zip(best.values.tolist(), best.indices.tolist(), strict=True)
    ]


def named(true: int | None, classes: Sequence[Class]) -> dict[str, Any]:
    """The true class as JSON values, None where it is not known."""
    if true is None:
        return {"true": None, "true_name": None}
    return {"true": classes[true].wnid, "true_name": classes[true].name}


def render(result: dict[str, Any]) -> RenderableType:
    """Bars for a terminal: the true class green, the others blue."""
    parts: list[RenderableType] = []
    for prediction in result["predictions"]:
        title = Text(prediction["path"], style="bold")
        if prediction["true"] is not None:
            title.append(f"  ({readable(prediction['true_name'])})", style="green")
        bars = Table.grid(padding=(0, 1))
        bars.add_column(justify="right", min_width=22, max_width=28, no_wrap=True)
        bars.add_column(width=BAR_WIDTH)
        bars.add_column(justify="right")
        for guess in prediction["top5"]:
            colour = "green" if guess["wnid"] == prediction["true"] else "blue"
            bars.add_row(
                Text(readable(guess["name"]), style=colour if colour == "green" else ""),
                Text(bar(guess["probability"], BAR_WIDTH), style=colour),
                percent(guess["probability"]),
            )
        parts += [title, bars, Text()]
    return Group(*parts)


def bar(fraction: float, width: int) -> str:
    """A bar of `fraction` times `width` characters, drawn in eighths of a character."""
    eighths = round(fraction * width * 8)
    return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()
