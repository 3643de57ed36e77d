"""Classify images: the most probable labels of each, as in figure 4 (left) of the paper."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from alexnet.data.classes import Class
from alexnet.files.printable import printable
from alexnet.files.spreadsheet import Cell, new_table
from alexnet.files.words import counted
from alexnet.progress import Progress
from alexnet.ranges import Count, checked
from alexnet.study.class_names import short_name, true_class, true_label
from alexnet.study.doubts import at_chance, same_label
from alexnet.study.image_batches import Unread, read_ahead
from alexnet.study.image_files import find_images
from alexnet.study.outputs import check_csv, check_figure, check_some, left_out, rounded, warn
from alexnet.study.random_weights import warn_if_random
from alexnet.study.scores import best, check_views, image_probabilities, percent
from alexnet.study.trained import TrainedAlexNet, load

IMAGES_AT_ONCE = 16
BAR_WIDTH = 30
SAME = 0.001
"""Difference of probabilities below which they are the same answer."""
MOST_KEPT = 1000
"""Images whose labels the result holds when a table gets them all: memory is the same for any number of images."""
MOST_SHOWN = 20
"""Images that people see on a terminal when a table gets them all."""


@checked
def predict(
    run: Path,
    images: Sequence[Path],
    *,
    views: int = 10,
    top: Count = 5,
    device: str = "auto",
    csv: Path | None = None,
    panel: Path | None = None,
    force: bool = False,
) -> dict[str, Any]:
    """Classify image files; a folder stands for all images in it. `views` is 1 (centre) or 10.

    Returns `checkpoint`, `images`, and `predictions`: for each image `path`, `top5` (`wnid`, `name`, `probability`,
    most probable first), and `true` and `true_name` where its folder or file name gives the class, else None. With
    another number than 5 as `top` the key is `top3`, for example; a network of fewer classes gives all it has.
    `skipped` has `path` and `error` of each file that cannot be read, and then there is an `error` that says so.
    `random_weights` says why the network looks untrained, and is None where it looks trained.

    `csv` is a file for a table of all images (`columns_of`), written whole or not at all; `predictions` then holds the
    first `MOST_KEPT`. `panel` is a file to draw the images and their labels to. Both replace another file if `force`.

    Raises ValueError where no file can be read.
    """
    check_views(views)
    check_figure(panel, force)
    check_csv(csv, force)
    paths = find_images(images)
    if panel is not None:
        from alexnet.study.panels import check_panel  # imported only here: matplotlib takes longer than the rest

        check_panel(paths)
    net = load(run, device)
    random_weights = warn_if_random(net, run)
    predictions: list[dict[str, Any]] = []
    skipped: list[dict[str, str]] = []
    with ExitStack() as open_files:
        write = open_files.enter_context(new_table(csv, columns_of(net, top))) if csv else None
        for answer in classify(net, paths, views, top):
            if "error" in answer:
                skipped.append(answer)
                if len(paths) > 1:
                    warn(f"left out: {answer['error']}")
            elif write is None or len(predictions) < MOST_KEPT:
                predictions.append(answer)
            if write is not None:
                write(row_of(answer, net, top))
        check_some(skipped, len(paths))
    doubts = ([] if random_weights else at_chance(net, run)) + suspicious(predictions, net.classes, top)
    result = {
        "run": str(run),
        "checkpoint": str(net.checkpoint),
        "random_weights": random_weights,
        "views": views,
        "top": top,
        "images": len(paths) - len(skipped),
        "predictions": predictions,
        "skipped": skipped,
        "warnings": [warn(sentence) for sentence in doubts],
    }
    if csv is not None:
        result["csv"] = str(csv)
    if panel is not None:
        from alexnet.study import drawing, panels

        shown = [net.preprocess.pixels(prediction["path"]) for prediction in predictions]
        five = [prediction | {"top5": prediction[f"top{top}"][:5]} for prediction in predictions]
        drawing.save(panels.predictions(shown, five), panel)
        result["panel"] = str(panel)
    return result | left_out(skipped, len(paths))


def suspicious(predictions: Sequence[dict[str, Any]], classes: Sequence[Class], top: int = 5) -> list[str]:
    """A sentence where several images get nearly the same probabilities, or images of several classes one label."""
    answers = [[guess["wnid"] for guess in each[f"top{top}"]] for each in predictions]
    probabilities = [[guess["probability"] for guess in each[f"top{top}"]] for each in predictions]
    if len(predictions) < 2:
        return []
    if all(answer == answers[0] for answer in answers) and float(np.ptp(probabilities, axis=0).max()) < SAME:
        return [
            "all images get the same probabilities: the network tells no images apart. Either it has not learned, or "
            "the images are the same."
        ]
    index = {each.wnid: number for number, each in enumerate(classes)}
    known = [
        (index[each[f"top{top}"][0]["wnid"]], index[each["true"]]) for each in predictions if each["true"] is not None
    ]
    guesses, truths = np.array(known, dtype=np.int64).reshape(-1, 2).T
    return same_label(guesses, truths, classes)


def classify(net: TrainedAlexNet, paths: Sequence[Path], views: int, top: int) -> Iterator[dict[str, Any]]:
    """The answer for each file in turn, or `path` and `error` of one that cannot be read."""
    unread = (Unread(str(path), None, path) for path in paths)
    with Progress("classifying", total=len(paths), unit="images") as bar:
        for batch in read_ahead(unread, net.preprocess.pixels, net.preprocess.size, IMAGES_AT_ONCE):
            good = [row for row in range(len(batch.keys)) if row not in batch.errors]
            scores = dict(zip(good, image_probabilities(net, batch.images[good], views) if good else (), strict=True))
            for row, path in enumerate(batch.keys):
                if row in batch.errors:
                    yield {"path": path, "error": batch.errors[row]}
                    continue
                true = true_label(true_class(Path(path), net.classes), net.classes)
                yield {"path": path} | true | {f"top{top}": best(scores[row], net.classes, top)}
            bar.advance(len(batch.keys))


def columns_of(net: TrainedAlexNet, top: int) -> list[str]:
    """The columns of a table: `path`; `wnid_1`, `name_1`, `probability_1` of the most probable class, and so on; and
    `error`, empty unless the image cannot be read."""
    ranks = range(1, min(top, len(net.classes)) + 1)
    return ["path", *(f"{what}_{rank}" for rank in ranks for what in ("wnid", "name", "probability")), "error"]


def row_of(answer: dict[str, Any], net: TrainedAlexNet, top: int) -> list[Cell]:
    """A row of `columns_of`."""
    if "error" in answer:
        return [answer["path"], *[None] * 3 * min(top, len(net.classes)), answer["error"]]
    cells = [(guess["wnid"], guess["name"], rounded(guess["probability"])) for guess in answer[f"top{top}"]]
    return [answer["path"], *chain.from_iterable(cells), None]


def render(result: dict[str, Any]) -> RenderableType:
    """Bars for a terminal: the true class green, the others blue."""
    count, key = result["images"], f"top{result['top']}"
    parts: list[RenderableType] = [Text(f"{counted(count, 'image')}, {result['checkpoint']}")]
    shown = result["predictions"][: MOST_SHOWN if "csv" in result else None]
    for prediction in shown:
        title = Text(printable(prediction["path"]), style="bold")
        if prediction["true"] is not None:
            title.append(f"  ({short_name(prediction['true_name'])})", style="green")
        bars = Table.grid(padding=(0, 1))
        bars.add_column(justify="right", max_width=28, overflow="fold")
        bars.add_column(justify="right", no_wrap=True, min_width=7)
        bars.add_column(no_wrap=True, overflow="crop", ratio=1)
        for guess in prediction[key]:
            colour = "green" if guess["wnid"] == prediction["true"] else "blue"
            bars.add_row(
                Text(short_name(guess["name"]), style=colour if colour == "green" else ""),
                percent(guess["probability"]),
                Text(bar(guess["probability"], BAR_WIDTH), style=colour),
            )
        parts += [title, bars, Text()]
    if "csv" in result:
        more = f"The labels of {count - len(shown):,} more images and" if count > len(shown) else "All labels, and"
        parts.append(Text(f"{more} those above are in {printable(result['csv'])}."))
    return Group(*parts)


def bar(fraction: float, width: int) -> str:
    """A bar of `fraction` times `width` characters, in steps of an eighth of a character."""
    eighths = round(fraction * width * 8)
    return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()
