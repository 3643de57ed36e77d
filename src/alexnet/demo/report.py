"""The report of `alexnet demo`: its numbers and figures, explained."""

import dataclasses
import platform
from pathlib import Path
from typing import Any

import numpy as np
import torch

from alexnet import __version__
from alexnet.config import TrainConfig, load_config
from alexnet.data.store.reader import Store
from alexnet.files.words import counted
from alexnet.model.network import AlexNet
from alexnet.study.class_names import short_name
from alexnet.study.page import Bar, Bars, Block, Commands, Figure, Link, Number, Section, Table, write_report
from alexnet.study.plots import GAP
from alexnet.study.scores import percent
from alexnet.study.tiles import montage
from alexnet.training.metrics import interval, with_interval

BROWSER = "http://127.0.0.1:8012/"
"""Where `alexnet explore` answers."""
EXAMPLE_COLUMNS = 6
NEXT = (
    ("alexnet prepare my-images stores/mine", "Rescale them to one size, and hold some back for validation."),
    (
        "alexnet train stores/mine runs/mine --recipe small",
        "Train the paper's network on them. After an interruption, the same command resumes.",
    ),
    ("alexnet evaluate runs/mine --data stores/mine", "Measure its error with ten views."),
    ("alexnet predict runs/mine image.jpg --panel predictions.png", "Classify an image."),
    (
        "alexnet similar runs/mine image.jpg --data stores/mine --panel similar.png",
        "Find the training images that are nearest to an image.",
    ),
    ("alexnet figures runs/mine --data stores/mine", "Draw kernels, learning curves and panels."),
)


def write(path: Path, result: dict[str, Any], store: Path, run: Path, figures: dict[str, Path]) -> None:
    """Write the page from what `demo` measured (`result`) and the figures of its run, by name."""
    data, config = Store(store), load_config(run / "config.json")
    write_report(
        path,
        title="AlexNet, trained on synthetic images",
        lead=lead(result, data),
        numbers=numbers(result, config),
        sections=(
            Section("The images", examples(data)),
            Section("Accuracy", accuracy(result)),
            Section("Learning curves", (learning_curves(figures["learning_curves"], config),)),
            Section("Kernels of the first layer", (kernels(figures["conv1_kernels"], config),)),
            Section("Predictions", (predictions(figures["predictions"]),)),
            *((Section("Mistakes", (mistakes(figures["mistakes"]),)),) if "mistakes" in figures else ()),
            Section("Nearest images", (nearest(figures["similar"]),)),
            Section("Look inside", inside(run, store)),
            Section("Your own images", own_images()),
            Section("Settings and times", settings(result, config)),
        ),
        footer=f"alexnet {__version__}, PyTorch {torch.__version__}, Python {platform.python_version()}, "
        f"{platform.system()} {platform.machine()}.",
    )


def lead(result: dict[str, Any], data: Store) -> str:
    """The whole result in two sentences."""
    return (
        f"A small AlexNet was trained for {counted(result['epochs'], 'epoch')} on {data.splits['train']:,} "
        f"synthetic images of {result['classes']} classes, in {minutes(result['seconds']['train'])}. "
        f"Its top-1 accuracy on {result['images']:,} held-out images is "
        f"{with_interval(1 - result['top1_error'], result['images'])}; "
        f"a linear classifier on the same pixels reaches {percent(1 - result['linear']['top1_error'])}, chance is "
        f"{percent(1 - result['chance_top1_error'])}."
    )


def numbers(result: dict[str, Any], config: TrainConfig) -> tuple[Number, ...]:
    """The numbers at the top."""
    parameters = sum(weights.numel() for weights in AlexNet(config.network).parameters())
    total, width = minutes(result["total_seconds"]), config.network.width
    return (
        Number(percent(1 - result["top1_error"]), "top-1 accuracy", f"ten views, {interval_of(result, 'top1')}"),
        Number(percent(1 - result["top5_error"]), "top-5 accuracy", f"ten views, {interval_of(result, 'top5')}"),
        Number(
            percent(1 - result["linear"]["top1_error"]),
            "linear classifier",
            f"top-1 accuracy, {interval_of(result['linear'] | {'images': result['images']}, 'top1')}",
        ),
        Number(minutes(result["seconds"]["train"]), "training", f"{total} in all"),
        Number(f"{parameters:,}", "parameters", f"{width:g} of the paper's width"),
    )


def interval_of(result: dict[str, Any], kind: str) -> str:
    """The 95 % interval of an accuracy, in words; `result` has the error `kind`_error, and `images`."""
    low, high = interval(1 - result[f"{kind}_error"], result["images"])
    return f"{100 * low:.1f} to {100 * high:.1f}"


def examples(data: Store) -> tuple[Block, ...]:
    """One validation image of each class."""
    split = data.split("val")
    firsts = [int(np.flatnonzero(split.labels == label)[0]) for label in range(len(data.classes))]
    tiles = np.stack([split.image(index) for index in firsts])
    names = ", ".join(spoken(entry.name) for entry in data.classes)
    return (
        "A class is a colour, a pattern and a shape; any two of them leave several classes possible. Size, position, "
        "angle, light and background vary, and plain shapes of any colour lie around as clutter.",
        Figure(
            montage(tiles, EXAMPLE_COLUMNS, 255, GAP),
            f"One image of each class: {names}.",
            f"One image of each class, row by row: {names}.",
        ),
    )


def accuracy(result: dict[str, Any]) -> tuple[Block, ...]:
    """The comparison with the baseline, accuracy by class, and confusions."""
    linear = result["linear"]
    compared = (
        ("chance", result["chance_top1_error"]),
        ("linear classifier on the pixels", linear["top1_error"]),
        ("AlexNet, centre view", result["centre_top1_error"]),
        ("AlexNet, ten views", result["top1_error"]),
    )
    images = result["images"]
    bars = Bars(
        [
            Bar(
                name,
                1 - error,
                percent(1 - error) if name == "chance" else with_interval(1 - error, images),
                "AlexNet" in name,
            )
            for name, error in compared
        ]
    )
    words = (
        "Top-1 accuracy on the held-out images; in brackets, here and below, the 95 % confidence interval. "
        f"The linear classifier is softmax regression on the images at "
        f"{linear['side']} x {linear['side']} pixels, with the best of several weight penalties. Its accuracy on the "
        f"training images is {percent(1 - linear['train_top1_error'])}: it overfits."
    )
    hardest = sorted(result["per_class"], key=lambda row: -row["top1_error"])
    classes = Table(
        ("class, hardest first", "images", "top-1 accuracy"),
        [
            (spoken(row["name"]), str(row["images"]), with_interval(1 - row["top1_error"], row["images"]))
            for row in hardest
        ],
    )
    if not result["confusions"]:
        return bars, words, classes
    pairs = [
        (spoken(pair["true_name"]), spoken(pair["predicted_name"]), f"{pair['count']} of {pair['of']}")
        for pair in result["confusions"]
    ]
    return bars, words, classes, Table(("confusions: true class", "predicted class", "times"), pairs, numeric=False)


def learning_curves(file: Path, config: TrainConfig) -> Figure:
    """Loss and errors over epochs."""
    every = "every epoch" if config.evaluate_every == 1 else f"every {counted(config.evaluate_every, 'epoch')}"
    return Figure(
        file,
        "Two plots over epochs: the training loss, and top-1 and top-5 error on the validation images.",
        f"Loss of each training step, and errors on the held-out images (centre view) after {every}. Dotted lines "
        "mark drops of the learning rate. The checkpoint with the lowest error is the one that this report tests.",
    )


def kernels(file: Path, config: TrainConfig) -> Figure:
    """The kernels of conv1 (figure 3 of the paper)."""
    size = config.network.input_size
    return Figure(
        file,
        "The learned 11 x 11 kernels of conv1 as small colour images, in two groups, one for each tower.",
        f"The 11 x 11 kernels of conv1, which is applied to the {size} x {size} image. The two towers do not exchange "
        "anything before conv3. Figure 3 of the paper shows the same for ImageNet.",
    )


def predictions(file: Path) -> Figure:
    """Images and their five most probable classes (figure 4 of the paper, left)."""
    return Figure(
        file,
        "Eight images, below each its class and the five most probable classes as bars.",
        "Held-out images with their true class and the five most probable classes; the true class is red. As figure 4 "
        "of the paper, left.",
    )


def mistakes(file: Path) -> Figure:
    """The images about which the network is most wrong."""
    return Figure(
        file,
        "Up to eight images that get a wrong label, below each its class and the five most probable classes as bars.",
        "The held-out images that get a wrong label from their centre view, the surest mistakes first.",
    )


def nearest(file: Path) -> Figure:
    """Images and the training images nearest to them in fc7 (figure 4 of the paper, right)."""
    return Figure(
        file,
        "Five images, each followed by the six training images nearest to it.",
        "Left: held-out images. Right of each: the training images with the nearest activations in fc7. As figure 4 of "
        "the paper, right.",
    )


def inside(run: Path, store: Path) -> tuple[Block, ...]:
    """The commands that look into the network of the report."""
    browser = f"alexnet explore {run} --data {store}"
    maps = f"alexnet figures {run} --image image.jpg --layer conv1,conv3,pool5"
    return (
        Commands(((browser, "Follow an image through this network in a browser, to the arithmetic of each output."),)),
        Link("While it runs:", BROWSER),
        Commands(((maps, "Draw the activation maps of an image."),)),
    )


def own_images() -> tuple[Block, ...]:
    """The commands to try next."""
    return "Make a folder with one folder of images per class, named after the class. Then:", Commands(NEXT)


def settings(result: dict[str, Any], config: TrainConfig) -> tuple[Block, ...]:
    """The settings that are not the paper's, and the time that each stage took."""
    rows = [(name, shown(here), shown(paper)) for name, here, paper in differences(config)]
    stages = [(name, f"{taken:.1f} s") for name, taken in result["seconds"].items()]
    return (
        "Network and training are the paper's, except for these settings:",
        Table(("setting", "here", "paper"), rows, numeric=False),
        Table(("stage", "time"), [*stages, ("total", f"{result['total_seconds']:.1f} s")]),
    )


def differences(config: TrainConfig) -> list[tuple[str, Any, Any]]:
    """(name, value, the paper's value) of each setting that differs from the paper's."""
    ours, papers = flat(dataclasses.asdict(config)), flat(dataclasses.asdict(TrainConfig()))
    return [(name, value, papers[name]) for name, value in ours.items() if value != papers[name]]


def flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings under dotted names."""
    result: dict[str, Any] = {}
    for name, value in settings.items():
        result |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return result


def shown(value: Any) -> str:
    """A setting as text: short numbers, lists with commas."""
    if isinstance(value, tuple | list):
        return ", ".join(map(shown, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def spoken(name: str) -> str:
    """red_striped_disc as "red striped disc"."""
    return short_name(name).replace("_", " ")


def minutes(seconds: float) -> str:
    """74.2 as "1 min 14 s"."""
    whole = round(seconds)
    return f"{whole // 60} min {whole % 60} s" if whole >= 60 else f"{whole} s"
