"""The stages of `alexnet demo`, from no data at all to a trained network and a report on it.

It draws labelled images, prepares them, trains a small AlexNet, tests it with ten views on held-out images, and fits a
linear classifier for comparison. OUT receives `images/`, `store/`, `run/`, `demo.json` (the numbers) and
`report.html`. Started again after an interruption, it resumes; once finished, it answers from `demo.json`.
"""

import dataclasses
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypedDict

import torch
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from alexnet.config import TrainConfig
from alexnet.data.prepare.prepare import prepare
from alexnet.demo.baseline import linear_classifier
from alexnet.demo.report import write
from alexnet.demo.synthetic import CLASSES, draw_set
from alexnet.files import durable
from alexnet.files.folders import check_folder
from alexnet.files.json_file import read_json
from alexnet.recipes import recipe
from alexnet.study.evaluate import evaluate
from alexnet.study.figures import figures
from alexnet.study.scores import percent
from alexnet.training.loop import train
from alexnet.training.metrics import with_interval

STAGES = ("draw", "prepare", "train", "evaluate", "linear", "figures")


def demo(
    out: Path,
    *,
    seed: int = 0,
    train_images: int = 2400,
    val_images: int = 504,
    size: int = 128,
    config: TrainConfig | None = None,
    workers: int = 0,
) -> dict[str, Any]:
    """Run all stages in the folder `out`; `config` is the recipe `demo` unless given.

    Returns `report` (the path of the page), `top1_error`, `top5_error`, `views`, `images`, `classes`,
    `centre_top1_error`, `linear` (see `linear_classifier`), `chance_top1_error`, `per_class`, `confusions`, `epochs`,
    `steps`, `seconds` by stage, `total_seconds`, and the folders `store` and `run`.

    Raises ValueError when `out` holds something else.
    """
    config = dataclasses.replace(config or recipe("demo"), seed=seed)
    settings = {"seed": seed, "train_images": train_images, "val_images": val_images, "size": size}
    record = Record(out, settings | {"config": json.loads(json.dumps(dataclasses.asdict(config)))})
    images, store, run, report = out / "images", out / "store", out / "run", out / "report.html"
    if record.result is not None and report.is_file():
        return record.result

    with record.stage("draw"):
        draw_set(images, train=train_images, val=val_images, seed=seed, workers=workers)
    with record.stage("prepare"):
        if not store.exists():  # not prepared again when `out` was moved: the store names its source's path
            prepare(images, store, size=size, workers=workers)
    with one_thread():
        with record.stage("train"):
            trained = train(store, run, config)
        with record.stage("evaluate"):
            tested = evaluate([run], store, views=10, device=config.device)
        with record.stage("linear"):
            linear = linear_classifier(store)
        with record.stage("figures"):
            drawn = figures(run, store, device=config.device, seed=seed)["figures"]
    result = {
        "report": str(report),
        **{key: tested[key] for key in ("top1_error", "top5_error", "views", "images", "per_class", "confusions")},
        **{key: trained[key] for key in ("epochs", "steps")},
        "classes": len(CLASSES),
        "centre_top1_error": trained["top1_error"],
        "chance_top1_error": 1 - 1 / len(CLASSES),
        "linear": linear,
        "seconds": record.seconds,
        "total_seconds": sum(record.seconds.values()),
        "store": str(store),
        "run": str(run),
    }
    write(report, result, store, run, {name: Path(path) for name, path in drawn.items()})
    record.finish(result)
    return result


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread; the loader's threads have the other cores.

    With layers as small as these, a second thread makes an idle machine 1.4 times as fast. But as soon as another
    program runs on its core, the two threads wait for each other at every layer, and all is five to ten times slower.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Recorded(TypedDict):
    """The content of `demo.json`."""

    settings: dict[str, Any]
    seconds: dict[str, float]
    result: Any


class Record:
    """`OUT/demo.json`: the settings, the seconds that each stage has taken, and in the end the result."""

    def __init__(self, out: Path, settings: dict[str, Any]) -> None:
        """Open the record in `out`, or start one. Raises ValueError when something else is there."""
        self.path, self.settings = out / "demo.json", settings
        self.seconds: dict[str, float] = dict.fromkeys(STAGES, 0.0)
        self.result: dict[str, Any] | None = None
        if not self.path.exists():
            check_folder(out)
            if out.exists() and any(out.iterdir()):
                raise ValueError(f"{out} is not empty and holds no demonstration: choose another --out.")
            out.mkdir(parents=True, exist_ok=True)
            self._write()
            return
        try:
            found = read_json(self.path, Recorded)
        except ValueError:
            raise ValueError(f"{self.path} is damaged: delete {out}, or choose another --out.") from None
        self.seconds, self.result = found["seconds"], found["result"]
        if found["settings"] != settings:
            raise ValueError(
                f"{out} holds a demonstration with other settings, perhaps of another version of alexnet: "
                "delete it, or choose another --out."
            )

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time that the stage takes, also when it is interrupted."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] += time.monotonic() - began
            self._write()

    def finish(self, result: dict[str, Any]) -> None:
        """Keep the result."""
        self.result = result
        self._write()

    def _write(self) -> None:
        content = {"settings": self.settings, "seconds": self.seconds, "result": self.result}
        with durable.whole(self.path) as temporary:
            temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def explore_command(result: dict[str, Any]) -> str:
    """The command that shows the network of a demonstration in a browser."""
    return f"alexnet explore {result['run']} --data {result['store']}"


def render(result: dict[str, Any]) -> RenderableType:
    """The accuracies, the times and the path of the report, for a terminal."""
    table = Table(title=f"Top-1 accuracy on {result['images']} held-out images", title_justify="left")
    table.add_column("classifier")
    table.add_column("top-1 accuracy", justify="right")
    table.add_row("chance", percent(1 - result["chance_top1_error"]))
    for name, error in (
        ("linear classifier on the pixels", result["linear"]["top1_error"]),
        ("AlexNet, centre view", result["centre_top1_error"]),
        ("AlexNet, ten views", result["top1_error"]),
    ):
        table.add_row(name, with_interval(1 - error, result["images"]))
    seconds = ", ".join(f"{name} {taken:.0f}" for name, taken in result["seconds"].items())
    return Group(
        table,
        Text(f"{result['total_seconds']:.0f} seconds ({seconds})"),
        Text(f"Report: {result['report']}"),
        Text(f"Look inside (needs pip install 'alexnet[explore]'): {explore_command(result)}"),
    )
