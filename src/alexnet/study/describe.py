"""Describe a network: its layers, shapes, parameters and multiply-adds, and how and why it differs from the paper's."""

import dataclasses
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from alexnet.config import TrainConfig, load_config
from alexnet.model.layers import Layer, layers_of
from alexnet.networks import NETWORKS, Network, network
from alexnet.recipes import RECIPES, recipe


def describe(name: str) -> dict[str, Any]:
    """Describe the network called `name`, that of a recipe, or that of a run folder.

    Returns `name`, `about`, `input_size`, `parameters`, `multiply_adds` (per image, forward), `layers` (`name`,
    `kind`, `kernel_size`, `stride`, `padding`, `groups`, `output_shape`, `parameters`, `multiply_adds`), `differences`
    from the paper's network (`setting`, `value`, `paper`, `reason`) and, for a recipe or a run, `training`: how its
    training differs (`setting`, `value`, `paper`).

    Raises ValueError for a name that is neither a network nor a recipe nor a run folder.
    """
    run = Path(name)
    training: TrainConfig | None = None
    if (run / "config.json").is_file():
        training = load_config(run / "config.json")
        known = Network(f"The network of the run {name}.", training.network)
    elif name in RECIPES and name not in NETWORKS:
        training = recipe(name)
        known = Network(f"The network of the recipe {name}.", training.network)
    elif run.is_dir():
        raise ValueError(f"{name} is not a run folder: it has no config.json.")
    else:
        training = recipe(name) if name in RECIPES else None
        known = network(name)
    layers = layers_of(known.config)
    return {
        "name": name,
        "about": known.about,
        "input_size": known.config.input_size,
        "parameters": sum(layer.parameters for layer in layers),
        "multiply_adds": sum(layer.multiply_adds for layer in layers),
        "layers": [described(layer) for layer in layers],
        "differences": differences(known),
        "training": training_differences(training) if training else [],
    }


def described(layer: Layer) -> dict[str, Any]:
    """One layer as JSON values."""
    values = dataclasses.asdict(layer)
    shown = ("name", "kind", "kernel_size", "stride", "padding", "groups")
    return {key: values[key] for key in shown} | {
        "output_shape": list(layer.outputs),
        "parameters": layer.parameters,
        "multiply_adds": layer.multiply_adds,
    }


def differences(known: Network) -> list[dict[str, Any]]:
    """The settings of a network that differ from the paper's: `setting`, `value`, `paper`, `reason` ("" if unknown)."""
    reasons = known.reasons or reasons_of(known)
    found = changes(known.config, TrainConfig().network)
    return [entry | {"reason": reasons.get(entry["setting"], "")} for entry in found]


def reasons_of(known: Network) -> dict[str, str]:
    """Reasons for the settings of a run: where a named network has the same value, its reason."""
    found = {"classes": "the classes of its store"}
    for other in NETWORKS.values():
        if other.config.architecture != known.config.architecture:
            continue
        for setting, reason in other.reasons.items():
            if getattr(other.config, setting) == getattr(known.config, setting):
                found.setdefault(setting, reason)
    return found


def training_differences(config: TrainConfig) -> list[dict[str, Any]]:
    """The settings of a training that differ from the paper's, in augmentation, update and schedule."""
    paper = TrainConfig()
    found = []
    for field in dataclasses.fields(TrainConfig):
        mine, theirs = getattr(config, field.name), getattr(paper, field.name)
        if field.name in ("augment", "optim", "schedule"):
            found += [entry | {"setting": f"{field.name}.{entry['setting']}"} for entry in changes(mine, theirs)]
        elif field.name in ("epochs", "batch_size", "start_from") and mine != theirs:
            found.append({"setting": field.name, "value": mine, "paper": theirs})
    return found


def changes(mine: Any, theirs: Any) -> list[dict[str, Any]]:
    """The fields in which two instances of one dataclass differ."""
    pairs = [(f.name, getattr(mine, f.name), getattr(theirs, f.name)) for f in dataclasses.fields(mine)]
    return [{"setting": name, "value": a, "paper": b} for name, a, b in pairs if a != b]


def render(result: dict[str, Any]) -> RenderableType:
    """Tables for a terminal."""
    layers = Table("layer", "type")
    for column in ("output", "parameters", "multiply-adds"):
        layers.add_column(column, justify="right")
    size = result["input_size"]
    layers.add_row("", "image, mean removed", shape([3, size, size]), "", "")
    for layer in result["layers"]:
        numbers = [f"{layer[key]:,}" if layer[key] else "" for key in ("parameters", "multiply_adds")]
        layers.add_row(layer["name"], type_of(layer), shape(layer["output_shape"]), *numbers)
    layers.add_section()
    layers.add_row("total", "", "", f"{result['parameters']:,}", f"{result['multiply_adds']:,}")
    parts: list[RenderableType] = [Text(result["about"], style="bold"), layers]
    network, training = result["differences"], result["training"]
    if network:
        parts += [Text("Differences from the paper's network", style="bold"), difference_table(network, True)]
    elif not training:
        parts.append(Text("This is the paper's network."))
    if training:
        parts += [Text("Differences from the paper's training", style="bold"), difference_table(training, False)]
    return Group(*parts)


def difference_table(entries: list[dict[str, Any]], reasons: bool) -> Table:
    """Setting, value and the paper's value; with `reasons`, also the reason."""
    table = Table("setting", "here", "paper", *(["reason"] if reasons else []), show_lines=True)
    for column in table.columns:
        column.overflow = "fold"
    for entry in entries:
        words = [entry["setting"], plain(entry["value"]), plain(entry["paper"])]
        table.add_row(*map(Text, words + ([entry["reason"]] if reasons else [])))
    return table


def plain(value: Any) -> str:
    """A setting's value as a person would write it."""
    if isinstance(value, tuple | list):
        return " ".join(map(plain, value)) or "-"
    return f"{value:g}" if isinstance(value, float) else str(value)


def type_of(layer: dict[str, Any]) -> str:
    """What a layer computes, in words."""
    size, groups = layer["kernel_size"], f", {layer['groups']} groups" if layer["groups"] > 1 else ""
    stride = f", stride {layer['stride']}" if layer["stride"] > 1 else ""
    padding = f", pad {layer['padding']}" if layer["padding"] else ""
    match layer["kind"]:
        case "conv":
            return f"convolution {size}x{size}{stride}{padding}{groups}"
        case "local":
            return f"unshared kernels {size}x{size}{padding}"
        case "fc":
            return f"fully connected{groups}"
        case "pool":
            return f"max pool {size}x{size}{stride}"
        case "pad":
            return f"{layer['padding']} zeros right and below"
        case "norm":
            return f"response normalisation over {size}{', per tower' if groups else ''}"
        case "spatial norm":
            return f"normalisation within maps, {size}x{size}"
        case "activation":
            return "tanh" if layer["name"].startswith("tanh") else "ReLU"
    return layer["kind"]


def shape(sizes: list[int]) -> str:
    """96 x 55 x 55."""
    return " x ".join(map(str, sizes))
