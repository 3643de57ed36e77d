"""The model card: README.md with the metadata that the Hugging Face hub reads, from what is known of the network."""

import json
from pathlib import Path
from typing import Any

from alexnet.files.words import counted
from alexnet.study.describe import plain
from alexnet.study.scores import percent


def card(known: dict[str, Any], to: str, use: str, checked: dict[str, Any]) -> str:
    """The card as Markdown. `known` as in `facts`; `to` the format; `use` how to use the files, in Markdown."""
    difference = f"{checked['largest_difference']:.1g}"
    return "\n".join(
        [
            *front_matter(known, to),
            f"# AlexNet ({known['network'] or 'own settings'}), {counted(known['classes'], 'class', 'classes')}",
            "",
            "A convolutional neural network for images, after Krizhevsky, Sutskever and Hinton (2012).",
            "",
            *([f"**This network is not trained: {known['random_weights']}.**", ""] if known["random_weights"] else []),
            "## Use",
            "",
            use,
            "",
            f"Compared with the network it was exported from, on {checked['images']} reference images in "
            f"{checked['with']}: the same five best classes, outputs equal to {difference} of the largest.",
            "",
            "## Network",
            "",
            f"{known['parameters']:,} parameters. What differs from the paper's network:",
            "",
            *rows(("setting", "here", "paper", "reason"), known["differences"]),
            "",
            "## Data and training",
            "",
            *(f"- {line}" for line in training(known)),
            "",
            *training_differences(known),
            "## Errors",
            "",
            errors(known["errors"]),
            "",
            "## Licence",
            "",
            "To fill in, here and in the first lines of this file. The licence of the training images decides.",
            "",
        ]
    )


def front_matter(known: dict[str, Any], to: str) -> list[str]:
    """The lines between which the hub reads its metadata, as YAML (texts as JSON, which YAML includes)."""
    lines = ["---", "license:  # to fill in", "pipeline_tag: image-classification", "tags:", "- alexnet", f"- {to}"]
    if known["errors"]:
        name = json.dumps(known["run"])
        lines += ["model-index:", f"- name: {name}", "  results:", "  - task:", "      type: image-classification"]
        lines += ["    dataset:", f"      name: {name}", "      type: imagefolder", "    metrics:"]
        for k in (1, 5):
            accuracy = 1 - known["errors"][f"top{k}_error"]
            lines += ["    - type: accuracy", f"      name: top-{k} accuracy", f"      value: {accuracy:.4f}"]
    return [*lines, "---", ""]


def rows(columns: tuple[str, ...], entries: list[dict[str, Any]]) -> list[str]:
    """A table of settings; "none" where nothing differs."""
    if not entries:
        return ["none"]
    keys = {"here": "value"}
    cells = [[plain(entry.get(keys.get(column, column), "")) for column in columns] for entry in entries]
    return ["| " + " | ".join(line) + " |" for line in [list(columns), ["---"] * len(columns), *cells]]


def training(known: dict[str, Any]) -> list[str]:
    """Where the weights come from."""
    if origin := known["imported"]:
        return [
            f"imported, not trained here: {Path(origin['file']).name}",
            f"known as: {origin['known'] or 'no published file'}",
            f"SHA-256 of that file: `{origin['sha256']}`",
            f"images: {origin['preprocessing']}",
            f"SHA-256 of the weights as imported: `{known['weights_sha256']}`",
            f"exported by {known['program']} on {known['date']}",
        ]
    return [
        f"data: a store with {known['classes']} classes, fingerprint `{known['store'] or 'unknown'}`",
        f"recipe `{known['recipe']}`, seed {known['seed']}",
        f"checkpoint `{known['checkpoint']}`: step {known['step']}, epoch {known['epoch']:g}",
        f"SHA-256 of its weights: `{known['weights_sha256']}`",
        f"exported by {known['program']} on {known['date']}",
    ]


def training_differences(known: dict[str, Any]) -> list[str]:
    """How the training differs from the paper's; nothing for weights that were trained elsewhere."""
    if known["imported"]:
        return []
    table = rows(("setting", "here", "paper"), known["training_differences"])
    return ["What differs from the paper's training:", "", *table, ""]


def errors(measured: dict[str, Any] | None) -> str:
    """The errors in a sentence."""
    if measured is None:
        return "Not measured."
    top1, top5 = percent(measured["top1_error"]), percent(measured["top5_error"])
    images = f"{counted(measured['images'], 'image')}" if measured["images"] else "the images"
    views = "ten views" if measured["views"] == 10 else "the centre view"
    return f"Top-1 error {top1}, top-5 error {top5}, on {images} of the validation split, from {views}."
