"""The report of `alexnet demo`: its numbers and figures, with what they mean in words."""

import dataclasses
import platform
from pathlib import Path
from typing import Any

import numpy as np
import torch

from alexnet import __version__
from alexnet.config import TrainConfig, load_config
from alexnet.data.store.reader import Store
from alexnet.model.network import AlexNet
from alexnet.study.class_names import short_name
from alexnet.study.page import Bar, Bars, Block, Commands, Figure, Number, Section, Table, write_report
from alexnet.study.plots import montage
from alexnet.study.scores import percent

EXAMPLE_COLUMNS = 6
NEXT = (
    (
        "alexnet prepare my-images stores/mine",
        "Make them square and of one size, and hold some back for testing.",
    ),
    (
        "alexnet train stores/mine runs/mine --recipe small",
        "Train the paper's network on them. After an interruption the same command goes on.",
    ),
    ("alexnet evaluate runs/mine --data stores/mine", "Test it with ten views."),
    ("alexnet predict runs/mine image.jpg --panel answers.png", "Ask it what is in an image."),
    (
        "alexnet similar runs/mine image.jpg --data stores/mine --panel alike.png",
        "Find the images that look most like one to it.",
    ),
    ("alexnet figures runs/mine --data stores/mine", "Draw kernels, learning curves and panels."),
)


def write(path: Path, result: dict[str, Any], store: Path, run: Path, figures: dict[str, Path]) -> None:
    """Write the page from what `demo` measured (`result`) and the figures of its run, by name."""
    data, config = Store(store), load_config(run / "config.json")
    write_report(
        path,
        title="AlexNet, trained on drawn images",
        lead=lead(result, data),
        numbers=numbers(result, config),
        sections=(
            Section("The images", examples(data)),
            Section("How well it names them", accuracy(result)),
            Section("Learning", (learning(figures["learning_curves"], config),)),
            Section("What the first layer looks for", (kernels(figures["conv1_kernels"], config),)),
            Section("What it answers", (answers(figures["predictions"]),)),
            Section("What looks alike to it", (alike(figures["similar"]),)),
            Section("Your own images", own_images(run)),
            Section("How it was made", how(result, config)),
        ),
        footer=f"alexnet {__version__}, PyTorch {torch.__version__}, Python {platform.python_version()}, "
        f"{platform.system()} {platform.machine()}.",
    )


def lead(result: dict[str, Any], data: Store) -> str:
    """The whole result in two sentences."""
    return (
        f"A small AlexNet went {result['epochs']:g} times through {data.splits['train']:,} drawn images of "
        f"{result['classes']} classes, in {minutes(result['seconds']['train'])}. Of {result['images']:,} "
        f"others that it was not trained on it names {percent(1 - result['top1_error'])} rightly; a linear "
        f"classifier on the same pixels {percent(1 - result['linear']['top1_error'])}, guessing "
        f"{percent(1 - result['chance_top1_error'])}."
    )


def numbers(result: dict[str, Any], config: TrainConfig) -> tuple[Number, ...]:
    """The numbers at the top."""
    parameters = sum(weights.numel() for weights in AlexNet(config.network).parameters())
    total, width = minutes(result["total_seconds"]), config.network.width
    return (
        Number(percent(1 - result["top1_error"]), "first answer right", "top-1, ten views"),
        Number(percent(1 - result["top5_error"]), "right among five", "top-5, ten views"),
        Number(percent(1 - result["linear"]["top1_error"]), "linear classifier", "top-1, same images"),
        Number(minutes(result["seconds"]["train"]), "training", f"of {total} in all"),
        Number(f"{parameters:,}", "parameters", f"{width:g} of the paper's width"),
    )


def examples(data: Store) -> tuple[Block, ...]:
    """One validation image of each class."""
    split = data.split("val")
    firsts = [int(np.flatnonzero(split.labels == label)[0]) for label in range(len(data.classes))]
    tiles = np.stack([split.image(position) for position in firsts])
    names = ", ".join(spoken(entry.name) for entry in data.classes)
    return (
        "A class is a colour, a pattern and a shape together: no two of them are enough. Size, place, angle, "
        "light and background vary, and plain shapes of any colour lie around.",
        Figure(
            montage(tiles, EXAMPLE_COLUMNS, white=255),
            f"One image of each class: {names}.",
            f"One image of each class, row by row: {names}.",
        ),
    )


def accuracy(result: dict[str, Any]) -> tuple[Block, ...]:
    """The comparison, the classes and the confusions."""
    linear = result["linear"]
    compared = (
        ("guessing", result["chance_top1_error"]),
        ("linear classifier on pixels", linear["top1_error"]),
        ("AlexNet, centre view", result["centre_top1_error"]),
        ("AlexNet, ten views", result["top1_error"]),
    )
    bars = Bars([Bar(name, 1 - error, percent(1 - error), "AlexNet" in name) for name, error in compared])
    words = (
        f"The linear classifier is softmax regression on the images at {linear['side']} x {linear['side']} "
        "pixels, with the best of several penalties on its weights. Of the training images it gets "
        f"{percent(1 - linear['train_top1_error'])} right, and cannot carry that over."
    )
    hardest = sorted(result["per_class"], key=lambda row: -row["top1_error"])
    classes = Table(
        ("class, hardest first", "images", "right"),
        [(spoken(row["name"]), str(row["images"]), percent(1 - row["top1_error"])) for row in hardest],
    )
    if not result["confusions"]:
        return bars, words, classes
    pairs = [
        (spoken(pair["true_name"]), spoken(pair["predicted_name"]), f"{pair['count']} of {pair['of']}")
        for pair in result["confusions"]
    ]
    return (
        bars,
        words,
        classes,
        Table(("most often wrong: it is", "taken for", "times"), pairs, numeric=False),
    )


def learning(file: Path, config: TrainConfig) -> Figure:
    """Learning curves."""
    every = "every epoch" if config.evaluate_every == 1 else f"every {config.evaluate_every} epochs"
    return Figure(
        file,
        "Two plots over epochs: the training loss, and top-1 and top-5 error on the validation images.",
        f"Loss of every training step, and errors on the validation images (centre view) after {every}. "
        "Dotted: the learning rate falls. The weights of the best evaluation are those tested here.",
    )


def kernels(file: Path, config: TrainConfig) -> Figure:
    """The kernels of conv1 (figure 3 of the paper)."""
    return Figure(
        file,
        "The learned 11 x 11 kernels of conv1 as small colour images, in two groups, one for each tower.",
        f"The 11 x 11 kernels of conv1, which see the {config.network.input_size}-pixel image first. The "
        "two towers exchange nothing before conv3. Figure 3 of the paper shows the same for ImageNet.",
    )


def answers(file: Path) -> Figure:
    """Images and the five most probable classes (figure 4 of the paper, left)."""
    return Figure(
        file,
        "Eight images, below each its class and the five most probable answers as bars.",
        "Images that it was not trained on, their class, and its five most probable answers; the right one "
        "is red. As figure 4 of the paper, left.",
    )


def alike(file: Path) -> Figure:
    """Images and those nearest in fc7 (figure 4 of the paper, right)."""
    return Figure(
        file,
        "Five images, each followed by the six training images nearest to it.",
        "On the left images that it was not trained on; then the training images whose activations in "
        "fc7 are nearest. As figure 4 of the paper, right.",
    )


def own_images(run: Path) -> tuple[Block, ...]:
    """What to type next."""
    inside = f"alexnet figures {run} --image image.jpg --layer conv1,conv3,pool5"
    return (
        "Put them into a folder with one folder for each class, named as the class is, and then:",
        Commands((*NEXT, (inside, "See what each layer of the network of this report makes of an image."))),
    )


def how(result: dict[str, Any], config: TrainConfig) -> tuple[Block, ...]:
    """The settings that are not the paper's, and the time that each stage took."""
    rows = [(name, shown(here), shown(paper)) for name, here, paper in differences(config)]
    stages = [(name, f"{taken:.1f} s") for name, taken in result["seconds"].items()]
    return (
        "Network and training are the paper's, but for these settings:",
        Table(("setting", "here", "paper"), rows, numeric=False),
        Table(("stage", "time"), [*stages, ("all", f"{result['total_seconds']:.1f} s")]),
    )


def differences(config: TrainConfig) -> list[tuple[str, Any, Any]]:
    """(name, value, the paper's value) of every setting that is not the paper's."""
    ours, papers = flat(dataclasses.asdict(config)), flat(dataclasses.asdict(TrainConfig()))
    return [(name, value, papers[name]) for name, value in ours.items() if value != papers[name]]


def flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings under dotted names."""
    result: dict[str, Any] = {}
    for name, value in settings.items():
        result |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return result


def shown(value: Any) -> str:
    """A setting in words: numbers short, lists with commas."""
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
