"""What is known of a trained network: its weights, its training, its measured errors. For cards and metadata."""

import dataclasses
import json
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypedDict

from alexnet.files.checksums import checksum
from alexnet.files.json_file import read_json
from alexnet.files.regular import reason
from alexnet.networks import NETWORKS
from alexnet.study.describe import describe
from alexnet.study.evaluate import evaluate
from alexnet.study.trained import TrainedAlexNet
from alexnet.training.checkpoint_file import WEIGHTS, Checkpoint

RECORD = "import.json"
"""In a run that was imported: where its weights come from."""


class Origin(TypedDict):
    """What the card tells of it."""

    file: str
    sha256: str
    known: str | None
    preprocessing: str


def facts(run: Path, net: TrainedAlexNet, data: Path | None = None) -> dict[str, Any]:
    """What is known of the network of `run`, as JSON values.

    `imported` is what `alexnet import` recorded, None for a run that was trained here. `errors` are None where nothing
    was measured. With the store `data` they are measured now, from ten views of each validation image; otherwise they
    are those of the checkpoint, measured in training from the centre view.
    """
    described = describe(str(run))
    state = Checkpoint(net.checkpoint).state()
    return {
        "program": f"alexnet {version('alexnet')}",
        "date": datetime.now(UTC).date().isoformat(),
        "run": run.resolve().name,
        "checkpoint": net.checkpoint.name,
        "weights_sha256": checksum(net.checkpoint / WEIGHTS),
        "network": network_name(net),
        "network_settings": json.loads(json.dumps(dataclasses.asdict(net.network))),
        "differences": described["differences"],
        "parameters": described["parameters"],
        "imported": import_record(run),
        "recipe": net.config.recipe,
        "training_differences": described["training"],
        "seed": net.config.seed,
        "step": state["step"],
        "epoch": state["epoch"],
        "store": state["store"],
        "classes": len(net.classes),
        "errors": measured(run, data) if data else recorded(state["top1_error"], state["top5_error"]),
    }


def import_record(run: Path) -> Origin | None:
    """What `alexnet import` recorded; None for a run that was trained here. ValueError for a damaged file."""
    try:
        return read_json(run / RECORD, Origin)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ValueError(f"{run / RECORD} cannot be used ({reason(error)}).") from None


def network_name(net: TrainedAlexNet) -> str | None:
    """The name of the network with these settings; None where it has none."""
    for name, known in NETWORKS.items():
        if dataclasses.replace(known.config, classes=net.network.classes) == net.network:
            return name
    return None


def measured(run: Path, data: Path) -> dict[str, Any]:
    """Errors on the validation split of a store: ten views."""
    found = evaluate([run], data, views=10, device="cpu")
    return {key: found[key] for key in ("top1_error", "top5_error", "views", "images", "split", "store")}


def recorded(top1: float | None, top5: float | None) -> dict[str, Any] | None:
    """Errors as training measured them; how many images that were is not recorded."""
    if top1 is None:
        return None
    return {"top1_error": top1, "top5_error": top5, "views": 1, "images": None, "split": "val", "store": None}
