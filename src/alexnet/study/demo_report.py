"""The report of `alexnet demo`: what its numbers and figures say, in words."""

import dataclasses
import platform
from pathlib import Path
from typing import Any

import numpy as np
import torch

from alexnet import __version__
from alexnet.config import TrainConfig, load_config
from alexnet.data.store import Store
from alexnet.model.network import AlexNet
from alexnet.study.evaluate import percent
from alexnet.study.pictures import readable
from alexnet.study.report import Bar, Bars, Commands, Number, Picture, Section, Table, write_report

EXAMPLES_PER_CLASS = 1


def write(path: Path, result: dict[str, Any], store: Path, run: Path, figures: dict[str, Path]) -> None:
    """Write the page from what `demo` measured and the figures of its run."""
    data, config = Store(store), load_config(run / "config.json")
    right, linear = 1 - result["top1_error"], 1 - result["linear"]["top1_error"]
    chance = 1 - result["chance_top1_error"]
    seen, unseen = data.splits["train"], result["pictures"]
    parameters = sum(p.numel() for p in AlexNet(config.network).parameters())
    write_report(
        path,
        title="AlexNet, trained on drawn pictures",
        lead=(
            f"A small AlexNet looked {result['epochs']:g} times at {seen:,} drawn pictures of {result['classes']} "
            f"classes, for {minutes(result['seconds']['train'])}. Of {unseen:,} others, which took no part in the "
            f"training, it names {percent(right)} rightly; a linear classifier on the same pixels "
            f"{percent(linear)}, guessing {percent(chance)}."
        ),
        numbers=(
            Number(percent(right), "right, first answer", "ten views, top-1"),
            Number(percent(1 - result["top5_error"]), "right among five answers", "ten views, top-5"),
            Number(percent(linear), "linear classifier", "top-1 on the same pictures"),
            Number(
                minutes(result["seconds"]["train"]),
                "training",
                f"of {minutes(result['total_seconds'])} in all",
            ),
            Number(
                f"{parameters:,}",
                "weights and biases",
                f"width {config.network.width:g} of the paper's network",
            ),
        ),
        sections=(
            Section("The pictures", pictures(data)),
            Section("How well it names them", accuracy(result)),
            Section(
                "Learning",
                (
                    Picture(
                        figures["learning_curves"],
                        "Two plots over epochs: training loss falling, and top-1 and top-5 error on the validation "
                        "pictures falling.",
                        "Training loss of every step, and errors on the validation pictures (centre view) after "
                        "every epoch. The network learns one cue after the other, and each new one is a step down. "
                        "The weights kept and tested here are those of the best evaluation.",
                    ),
                ),
            ),
            Section(
                "What the first layer sees",
                (
                    Picture(
                        figures["conv1_kernels"],
                        "The learned kernels of conv1 as small colour pictures, in two groups.",
                        f"The {config.network.input_size}-pixel input meets these 11 x 11 kernels first. The two "
                        "towers exchange nothing before conv3 (figure 3 of the paper shows the same for ImageNet).",
                    ),
                ),
            ),
            Section(
                "What it answers",
                (
                    Picture(
                        figures["predictions"],
                        "Eight pictures, each with its class and the five most probable answers as bars.",
                        "Pictures it was not trained on, their true class, and its five most probable answers; the "
                        "true one is red (figure 4, left, of the paper).",
                    ),
                ),
            ),
            Section(
                "What looks alike to it",
                (
                    Picture(
                        figures["similar"],
                        "Five pictures, each followed by the six training pictures nearest to it.",
                        "Left a picture it was not trained on, then the training pictures whose activations in fc7 "
                        "are nearest (figure 4, right, of the paper).",
                    ),
                ),
            ),
            Section("Your own pictures", commands(run)),
            Section("How it was made", how(config, result)),
        ),
        footer=f"alexnet {__version__}, PyTorch {torch.__version__}, Python {platform.python_version()}, "
        f"{platform.system()} {platform.machine()}, {torch.get_num_threads()} threads.",
    )


def pictures(data: Store) -> tuple[str | Picture, ...]:
    """One validation picture of each class, and what they are."""
    split = data.split("val")
    names = [readable(entry.name).replace("_", " ") for entry in data.classes]
    firsts = [int(np.flatnonzero(split.labels == label)[0]) for label in range(len(names))]
    return (
        "Each class is one colour, one pattern and one shape together: no cue alone tells which. Size, place, angle, "
        "light, background and the plain shapes scattered around say nothing.",
        Picture(
            montage([split.picture(i) for i in firsts], 6),
            f"One picture of each class: {', '.join(names)}.",
            f"One of each class, row by row: {', '.join(names)}.",
        ),
    )


def montage(tiles: list[np.ndarray], columns: int, gap: int = 6) -> np.ndarray:
    """Pictures uint8 [S, S, 3] in rows on white."""
    size = tiles[0].shape[0]
    lines = -(-len(tiles) // columns)
    whole = np.full((lines * (size + gap) - gap, columns * (size + gap) - gap, 3), 255, np.uint8)
    for place, tile in enumerate(tiles):
        top, left = (place // columns) * (size + gap), (place % columns) * (size + gap)
        whole[top : top + size, left : left + size] = tile
    return whole


def accuracy(result: dict[str, Any]) -> tuple[str | Bars | Table, ...]:
    """The comparison, the classes and the confusions."""
    linear = result["linear"]
    lines = (
        ("guessing", 1 - result["chance_top1_error"]),
        ("linear classifier on the pixels", 1 - linear["top1_error"]),
        ("AlexNet, centre view", 1 - result["centre_top1_error"]),
        ("AlexNet, ten views", 1 - result["top1_error"]),
    )
    blocks: list[str | Bars | Table] = [
        Bars([Bar(label, value, percent(value), label.startswith("AlexNet")) for label, value in lines]),
        f"The linear classifier is softmax regression on {linear['side']} x {linear['side']} pixels, with the best of "
        f"several penalties on its weights. It fits {percent(1 - linear['train_top1_error'])} of the training "
        "pictures and cannot carry that over.",
        Table(
            ("class", "pictures", "right"),
            [
                (spoken(row["name"]), str(row["pictures"]), percent(1 - row["top1_error"]))
                for row in sorted(result["per_class"], key=lambda row: -row["top1_error"])
            ],
        ),
    ]
    if result["confusions"]:
        blocks.append("Its mistakes, the most frequent first:")
        blocks.append(
            Table(
                ("it is", "taken for", "times"),
                [
                    (
                        spoken(pair["true_name"]),
                        spoken(pair["predicted_name"]),
                        f"{pair['count']} of {pair['of']}",
                    )
                    for pair in result["confusions"]
                ],
                numeric=False,
            )
        )
    return tuple(blocks)


def commands(run: Path) -> tuple[str | Commands, ...]:
    """What to type next."""
    return (
        "Put pictures into one folder per class (some hundred of each is a beginning), and then:",
        Commands(
            (
                (
                    "alexnet prepare my-pictures stores/mine",
                    "Make them square, of one size, and split some off for testing.",
                ),
                (
                    "alexnet train stores/mine runs/mine --recipe small",
                    "Train the paper's network on them; the same command continues after an interruption.",
                ),
                ("alexnet evaluate runs/mine --data stores/mine", "Test it with ten views."),
                ("alexnet predict runs/mine picture.jpg --panel answers.png", "Ask it about a picture."),
                (
                    "alexnet similar runs/mine picture.jpg --data stores/mine --panel alike.png",
                    "Find the pictures most like one.",
                ),
                ("alexnet figures runs/mine --data stores/mine", "Draw kernels, learning curves and panels."),
                (
                    f"alexnet figures {run} --picture picture.jpg --layer conv1,conv3,pool5",
                    "Or look inside the network of this report: what each layer makes of a picture.",
                ),
            )
        ),
    )


def how(config: TrainConfig, result: dict[str, Any]) -> tuple[str | Table, ...]:
    """The settings that differ from the paper's, and the time that each stage took."""
    rows = [(name, shown(here), shown(there)) for name, here, there in differences(config)]
    stages = [(name, f"{taken:.1f} s") for name, taken in result["seconds"].items()]
    return (
        "The same network and training as in the paper, except for these settings:",
        Table(("setting", "here", "paper"), rows, numeric=False),
        "Time by stage:",
        Table(("stage", "time"), [*stages, ("all", f"{result['total_seconds']:.1f} s")]),
    )


def differences(config: TrainConfig) -> list[tuple[str, Any, Any]]:
    """(name, value, the paper's value) of every setting that is not the paper's."""
    ours, paper = flat(dataclasses.asdict(config)), flat(dataclasses.asdict(TrainConfig()))
    return [
        (name, value, paper[name])
        for name, value in ours.items()
        if value != paper[name] and name != "recipe"
    ]


def flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings under dotted names."""
    result: dict[str, Any] = {}
    for name, value in settings.items():
        result |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return result


def shown(value: Any) -> str:
    """A setting in words: numbers short, lists with commas."""
    if isinstance(value, tuple | list):
        return ", ".join(map(shown, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def spoken(name: str) -> str:
    """red_striped_disc as "red striped disc"."""
    return readable(name).replace("_", " ")


def minutes(seconds: float) -> str:
    """74.2 as "1 min 14 s"."""
    whole = round(seconds)
    return f"{whole // 60} min {whole % 60} s" if whole >= 60 else f"{whole} s"
