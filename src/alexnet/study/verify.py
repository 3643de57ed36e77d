"""Check that a store or a run is complete and undamaged."""

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
from alexnet.data.store.verify import verify_store
from alexnet.files.arrays import read_array
from alexnet.files.json_file import mismatch, parse_json
from alexnet.files.text import read_text
from alexnet.model.network import AlexNet
from alexnet.training.checkpoint import checkpoints
from alexnet.training.checkpoint_file import Checkpoint
from alexnet.training.metrics import LARGEST, form_of
from alexnet.training.run_folder import check_settings


def verify(path: Path) -> dict[str, Any]:
    """Check a store (checksums, counts, that its images decode) or a run (see `verify_run`).

    Returns what was found, with `kind` "store" or "run". Raises ValueError naming the first file that is wrong.
    """
    if (path / "store.json").exists():
        return {"kind": "store", "path": str(path)} | verify_store(path)
    if (path / "config.json").exists():
        return {"kind": "run", "path": str(path)} | verify_run(path)
    raise ValueError(f"{path} is neither a store (no store.json) nor a run (no config.json).")


def verify_run(run: Path) -> dict[str, Any]:
    """Check a run's configuration, classes, mean image, checkpoints and metrics: that they can be read, fit each other
    and are finite.

    Returns `classes`, `size`, `parameters`, `checkpoints` (`step`, `epoch`) and, from `metrics.jsonl`, the numbers of
    `steps` and `evaluations`. Raises ValueError naming the first file that is wrong.
    """
    config = load_config(run / "config.json")
    with torch.device("meta"):
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


def verify_mean(path: Path, crop: int) -> int:
    """Height and width of the mean image in pixels. ValueError unless it is square, RGB, finite and at least `crop`."""
    try:
        mean = read_array(path)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from None
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
            table.add_row(key.replace("_", " "), Text(plain(value)))
    return Group(Text(f"{result['path']}: the {result['kind']} is complete and undamaged", style="bold"), table)


def plain(value: Any) -> str:
    """A JSON value as a person would write it: "step 6, epoch 2"."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {plain(inner)}" for key, inner in value.items())
    if isinstance(value, list):
        return "\n".join(plain(inner) for inner in value)
    return f"{value:,}" if isinstance(value, int) else f"{value:g}" if isinstance(value, float) else str(value)
