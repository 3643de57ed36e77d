"""Describe a network: its layers, shapes, parameters and multiply-adds, and how and why it differs from the paper's."""

import dataclasses
import math
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from alexnet.config import TrainConfig, load_config
from alexnet.model.fields import fields_of
from alexnet.model.layers import Layer, layers_of
from alexnet.networks import NETWORKS, Network, network
from alexnet.ranges import values_of
from alexnet.recipes import RECIPES, recipe
from alexnet.study.tables import heading, table

PAPER_NEURONS = {
    "conv1": 253_440,
    "conv2": 186_624,
    "conv3": 64_896,
    "conv4": 64_896,
    "conv5": 43_264,
    "fc6": 4096,
    "fc7": 4096,
    "fc8": 1000,
}
"""Section 3.5 of the paper."""
CONV1 = (
    "conv1 has 55 x 55 x 96 = 290,400 outputs, the 55 x 55 x 48 for each tower of the paper's figure 2. Its text "
    "counts 253,440, which is 55 x 48 x 96: no other size in the paper fits that."
)
"""Why the first number of neurons is another one."""


PAPER_LAYERS = [(name, "fc" if name.startswith("fc") else "conv") for name in PAPER_NEURONS]
"""Name and kind."""
CONVOLUTIONS = ("conv", "local")
PER_LAYER = {
    "initial_std": (*CONVOLUTIONS, "fc"),
    "initial_bias": (*CONVOLUTIONS, "fc"),
    "channels": CONVOLUTIONS,
    "padding": CONVOLUTIONS,
}
"""The settings that have a number for each layer of some kinds."""


def describe(name: str) -> dict[str, Any]:
    """Describe the network called `name`, that of a recipe, or that of a run folder.

    Returns `name`, `about`, `input_size`, `parameters`, `multiply_adds` (per image, forward), `neurons` (outputs of the
    layers with weights), `layers` (`name`, `kind`, `kernel_size`, `stride`, `padding`, `groups`, `output_shape`,
    `parameters`, `multiply_adds`, `neurons`, `receptive_field` in pixels), `paper_neurons` (the paper's count for each
    layer), `differences` from the paper's network (`setting`, `value`, `paper`, `reason`) and, for a recipe or a run,
    `training`: how its training differs (`setting`, `value`, `paper`).

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
    with values_of(run / "config.json") if training is not None and run.is_dir() else nullcontext():
        layers = layers_of(known.config)
    fields, size = fields_of(layers), known.config.input_size
    return {
        "name": name,
        "about": known.about,
        "input_size": known.config.input_size,
        "parameters": sum(layer.parameters for layer in layers),
        "multiply_adds": sum(layer.multiply_adds for layer in layers),
        "neurons": sum(neurons(layer) for layer in layers),
        "layers": [described(layer) | {"receptive_field": fields[layer.name].side(size)} for layer in layers],
        "paper_neurons": PAPER_NEURONS if known.config.architecture == "eight-layer" else {},
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
        "neurons": neurons(layer),
    }


def neurons(layer: Layer) -> int:
    """Outputs of a layer with weights, as the paper counts neurons (section 3.5); 0 for the other stages."""
    return math.prod(layer.outputs) if layer.weight_shape else 0


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
    layers = table("layer", "type", "output", "parameters", "multiply-adds", texts=2)
    size = result["input_size"]
    layers.add_row("", "image, mean removed", shape([3, size, size]), "", "")
    for layer in result["layers"]:
        numbers = [f"{layer[key]:,}" if layer[key] else "" for key in ("parameters", "multiply_adds")]
        layers.add_row(layer["name"], type_of(layer), shape(layer["output_shape"]), *numbers)
    layers.add_section()
    layers.add_row("total", "", "", f"{result['parameters']:,}", f"{result['multiply_adds']:,}")
    parts: list[RenderableType] = [Text(result["about"], style="bold"), layers, *neuron_table(result)]
    network, training = result["differences"], result["training"]
    weighted = [(layer["name"], layer["kind"]) for layer in result["layers"] if layer["neurons"]]
    if network:
        parts += [
            Text("Differences from the paper's network", style="bold"),
            difference_table(network, weighted, True),
        ]
    elif not training:
        parts.append(Text("This is the paper's network."))
    if training:
        parts += [
            Text("Differences from the paper's training", style="bold"),
            difference_table(training, weighted, False),
        ]
    return Group(*parts)


def neuron_table(result: dict[str, Any]) -> list[RenderableType]:
    """Neurons and receptive field of each layer with weights, beside the paper's count."""
    known = result["paper_neurons"]
    numbers = table("layer", "neurons", *(["in the paper"] if known else []), "receptive field")
    for layer in result["layers"]:
        if layer["neurons"]:
            paper = [f"{known.get(layer['name'], 0):,}" if layer["name"] in known else ""] if known else []
            field = layer["receptive_field"]
            where = "whole image" if layer["kind"] == "fc" else f"{field} x {field}"
            numbers.add_row(layer["name"], f"{layer['neurons']:,}", *paper, where)
    numbers.add_section()
    numbers.add_row("total", f"{result['neurons']:,}", *(["650,000"] if known else []), "")
    parts: list[RenderableType] = [heading("Neurons and receptive fields (pixels)"), numbers]
    if any(layer["name"] == "conv1" and layer["neurons"] == 290_400 for layer in result["layers"]) and known:
        parts.append(Text(CONV1))
    return parts


def difference_table(entries: list[dict[str, Any]], layers: Sequence[tuple[str, str]], reasons: bool) -> Table:
    """Setting, value and the paper's value; with `reasons`, also the reason. `layers` are name and kind of those with
    weights."""
    headings = ["setting", "here", "paper", *(["reason"] if reasons else [])]
    shown = table(*headings, texts=len(headings))
    shown.show_lines = True
    for entry in entries:
        kinds = PER_LAYER.get(entry["setting"], ())
        words = [entry["setting"]]
        for value, there in ((entry["value"], layers), (entry["paper"], PAPER_LAYERS)):
            words.append(plain(value, [name for name, of in there if of in kinds]))
        shown.add_row(*map(Text, words + ([entry["reason"]] if reasons else [])))
    return shown


def plain(value: Any, layers: Sequence[str] = ()) -> str:
    """A setting's value as a person would write it; `layers` are those that its numbers are for, if any."""
    if isinstance(value, tuple | list) and value and len(value) == len(layers):
        of_value: dict[Any, list[str]] = {}
        for layer, number in zip(layers, value, strict=True):
            of_value.setdefault(number, []).append(layer)
        if len(of_value) == 1:
            return f"{plain(value[0])} in all layers"
        return "; ".join(f"{plain(number)} in {', '.join(names)}" for number, names in of_value.items())
    if isinstance(value, tuple | list):
        return ", ".join(map(plain, value)) or "-"
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
