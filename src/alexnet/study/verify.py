"""Check that a store or a run is complete and undamaged, and that a run's network is trained."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from alexnet.config import TrainConfig, load_config
from alexnet.data.classes import read_classes
from alexnet.data.loader import in_order
from alexnet.data.store.reader import Store
from alexnet.data.store.verify import verify_store
from alexnet.files.arrays import read_array
from alexnet.files.json_file import mismatch, parse_json
from alexnet.files.regular import reason
from alexnet.files.text import read_text
from alexnet.model.network import AlexNet
from alexnet.ranges import UsageError, values_of
from alexnet.study.matching import check_size, open_split, run_labels
from alexnet.study.random_weights import (
    CONSTANT,
    GUESSING,
    above_guessing,
    inspect_conv1,
    outputs_over_noise,
    random_weights,
)
from alexnet.study.scores import image_probabilities, percent
from alexnet.study.trained import load
from alexnet.training.checkpoint import checkpoints
from alexnet.training.checkpoint_file import Checkpoint
from alexnet.training.metrics import LARGEST, form_of
from alexnet.training.run_folder import check_settings


def verify(path: Path, *, trained: bool = False, data: Path | None = None) -> dict[str, Any]:
    """Check a store (checksums, counts, that its images decode) or a run (see `verify_run`); with `trained`, or `data`
    (see `verify_trained`), also that the run's network has no random weights.

    Returns what was found, with `kind` "store" or "run". Raises ValueError naming the first file that is wrong, and
    where the network has random weights.
    """
    if (path / "store.json").exists():
        if trained or data:
            raise UsageError(f"{path} is a store; --trained and --data are for a run.")
        return {"kind": "store", "path": str(path)} | verify_store(path)
    if (path / "config.json").exists():
        found = {"kind": "run", "path": str(path)} | verify_run(path)
        return found | ({"trained": verify_trained(path, data)} if trained or data else {})
    raise ValueError(f"{path} is neither a store (no store.json) nor a run (no config.json).")


def verify_run(run: Path) -> dict[str, Any]:
    """Check a run's configuration, classes, mean image, checkpoints and metrics: that they can be read, fit each other
    and are finite.

    Returns `classes`, `size`, `parameters`, `checkpoints` (`step`, `epoch`) and, from `metrics.jsonl`, the numbers of
    `steps` and `evaluations`. Raises ValueError naming the first file that is wrong.
    """
    config = load_config(run / "config.json")
    with values_of(run / "config.json"), torch.device("meta"):
        network = AlexNet(config.network)
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}

    classes = read_classes(run / "classes.json")
    if len(classes) != config.network.classes:
        raise ValueError(
            f"{run / 'classes.json'} has {len(classes)} classes, config.json says {config.network.classes}."
        )

    size = verify_mean(run / "mean.npy", config.network.input_size)
    found = checkpoints(run)
    if not found:
        raise ValueError(f"{run} has no checkpoint; train it with: alexnet train STORE {run}")
    steps, evaluations = verify_metrics(run / "metrics.jsonl")
    return {
        "classes": len(classes),
        "size": size,
        "parameters": sum(int(np.prod(shape)) for shape in shapes.values()),
        "checkpoints": [verify_checkpoint(checkpoint, config, shapes, run) for checkpoint in found],
        "steps": steps,
        "evaluations": evaluations,
    }


def verify_trained(run: Path, data: Path | None = None) -> dict[str, Any]:
    """Check that the network of `run` is trained: by its weights, by its outputs over noise, and by its errors on the
    validation images (centre view) of the store `data`.

    Returns `conv1` and `learned`, standard deviations of the weights and of what was learned from random weights (None
    where the initial weights are not known), `noise`, the total variation of outputs over noise, and, with `data`,
    `images`, `top1_error` and `above_guessing` (standard deviations). Raises ValueError where one of them is that of
    random weights.
    """
    net = load(run)
    conv1, why = inspect_conv1(net), random_weights(net)
    noise = outputs_over_noise(net)
    if why is None and noise < CONSTANT:
        why = f"the outputs are the same for all noise images (total variation {noise:.1g})"
    found: dict[str, Any] = {"checkpoint": str(net.checkpoint), "conv1": round(conv1.weights, 1)}
    found |= {"learned": round(conv1.learned, 1) if np.isfinite(conv1.learned) else None, "noise": round(noise, 6)}
    if data is not None and why is None:
        store = Store(data)
        check_size(net, store, run)
        images, labels = open_split(store, "val"), run_labels(store, net.classes, run)
        guesses = np.concatenate([image_probabilities(net, batch, 1).argmax(1) for batch, *_ in in_order(images, 64)])
        truths = labels.numpy()[images.labels]
        above = above_guessing(guesses, truths, len(net.classes))
        found |= {"images": len(truths), "top1_error": float((guesses != truths).mean())}
        found["above_guessing"] = round(above, 1)
        if above < GUESSING:
            why = (
                f"its answers and the labels of {len(truths)} images of {data} agree as often as by chance (top-1 "
                f"error {percent(found['top1_error'])}, {above:.1f} standard deviations above guessing)"
            )
    if why is not None:
        raise ValueError(f"{run} IS NOT TRAINED: {why}. Train it, or find the weights that belong here.")
    return found


def verify_mean(path: Path, crop: int) -> int:
    """Height and width of the mean image in pixels. ValueError unless it is square, RGB, finite and at least `crop`."""
    try:
        mean = read_array(path)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read: {reason(error)}") from None
    side = mean.shape[0] if mean.ndim == 3 else 0
    if mean.shape != (side, side, 3) or side < crop or not np.isfinite(mean).all():
        raise ValueError(f"{path} is not the mean image of a store: finite, [S, S, 3] with S at least {crop}.")
    return side


def verify_checkpoint(
    checkpoint: Checkpoint, config: TrainConfig, shapes: dict[str, tuple[int, ...]], run: Path
) -> dict[str, Any]:
    """Step and epoch of a checkpoint.

    Raises ValueError when it is damaged, was trained with other settings, or its weights do not have `shapes`.
    """
    checkpoint.check()
    state = checkpoint.state()
    check_settings(config, state, run)
    weights = checkpoint.weights()
    for name, value in weights.items():
        if shapes.get(name) != tuple(value.shape):
            raise ValueError(
                f"{checkpoint.path / 'weights.safetensors'}: {name} is {list(value.shape)}, the network of config.json "
                f"has {list(shapes[name]) if name in shapes else 'none of that name'}."
            )
    if missing := shapes.keys() - weights.keys():
        raise ValueError(f"{checkpoint.path / 'weights.safetensors'} has no {min(missing)}.")
    return {"step": checkpoint.step, "epoch": state["epoch"]}


def verify_metrics(path: Path) -> tuple[int, int]:
    """Number of steps and of evaluations. ValueError naming the line that cannot be read."""
    steps = evaluations = 0
    if not path.exists():
        return 0, 0
    for number, text in enumerate(io.StringIO(read_text(path, LARGEST)), start=1):
        try:
            line = parse_json(text)
        except ValueError:
            line = {}
        if problem := mismatch(line, form_of(line)):
            raise ValueError(f"{path}, line {number}, is neither a step nor an evaluation: {problem}.")
        evaluations += "evaluation" in line
        steps = max(steps, line["step"])
    return steps, evaluations


def render(result: dict[str, Any]) -> RenderableType:
    """The result for a terminal."""
    table = Table(show_header=False)
    table.add_column()
    table.add_column(overflow="fold")
    for key, value in result.items():
        if key not in ("kind", "path"):
            table.add_row(key.replace("_", " "), Text(signs(value) if key == "trained" else plain(value)))
    well = "complete, undamaged and trained" if "trained" in result else "complete and undamaged"
    return Group(Text(f"{result['path']}: the {result['kind']} is {well}", style="bold"), table)


def signs(found: dict[str, Any]) -> str:
    """What `verify_trained` measured, a line for each sign; it counts standard deviations from random weights."""
    lines = [f"conv1: {found['conv1']:g} standard deviations from random weights"]
    if found["learned"] is not None:
        lines.append(f"what conv1 has learned: {found['learned']:g} standard deviations")
    lines.append(f"outputs over noise images: total variation {found['noise']:.3g}")
    if "images" in found:
        above = f"{found['above_guessing']:g} standard deviations above guessing"
        lines.append(f"top-1 error of {found['images']:,} images: {percent(found['top1_error'])}, {above}")
    return "\n".join(lines)


def plain(value: Any) -> str:
    """A JSON value as a person would write it: "step 6, epoch 2"."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {plain(inner)}" for key, inner in value.items())
    if isinstance(value, list):
        return "\n".join(plain(inner) for inner in value)
    return f"{value:,}" if isinstance(value, int) else f"{value:g}" if isinstance(value, float) else str(value)
