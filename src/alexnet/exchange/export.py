"""`alexnet export`: a trained network as a folder of files that other programs read."""

import importlib.util
from pathlib import Path
from typing import Any, Literal

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from alexnet.data.classes import write_classes
from alexnet.exchange import brainscore, card, weight_files
from alexnet.exchange.facts import facts
from alexnet.exchange.folder import whole_folder
from alexnet.files.checksums import checksum
from alexnet.files.folders import check_folder
from alexnet.files.words import counted
from alexnet.ranges import UsageError
from alexnet.study.random_weights import warn_if_random
from alexnet.study.scores import check_views
from alexnet.study.trained import TrainedAlexNet, load

Format = Literal["onnx", "torchvision", "safetensors", "brainscore"]
FILES = {
    "onnx": "model.onnx",
    "torchvision": "model.pth",
    "safetensors": "model.safetensors",
}  # of Brain-Score's several, see `brainscore`
"""The file with the network, by format."""
NEEDS = {"onnx": ("onnx", "onnxruntime")}
"""The packages of the extra `export` that a format needs."""


def export(
    run: Path,
    out: Path,
    *,
    to: Format = "onnx",
    preprocess: bool = False,
    views: int = 1,
    decomposed: bool = False,
    data: Path | None = None,
    force: bool = False,
) -> dict[str, Any]:
    """Write the network of `run` to the folder `out`, in the format `to`, and compare it with ours.

    The folder holds the network, `README.md` (the model card), `classes.json` and `mean.npy`. It appears only when all
    is written and compared. For ONNX: `preprocess` takes images and returns probabilities, averaged over 1 or 10
    `views`; `decomposed` does without the operator LRN. `data`: the store on which the errors for the card are
    measured. `force`: overwrite files of these names that are there.

    Returns `to`, `run`, `checkpoint`, `folder`, `files` (`path`, `bytes`, `sha256`), `checked` and `random_weights`:
    why the network looks untrained, which the card then says first; None where it looks trained. Raises ValueError
    where a package is missing, the format cannot hold the network, or its reader computes something else.
    """
    check_packages(to)
    check_views(views)
    if to != "onnx" and (preprocess or decomposed):
        raise UsageError(f"--preprocess and --decomposed are for --to onnx, not for --to {to}.")
    if views != 1 and not preprocess:
        raise UsageError("--views averages probabilities inside the graph; add --preprocess.")
    check_out(out, force)
    net = load(run, "cpu")
    known = facts(run, net, data) | {"random_weights": warn_if_random(net, run)}
    with whole_folder(out, "export") as folder:
        checked, use = write(net, known, folder, to, preprocess=preprocess, views=views, decomposed=decomposed)
        write_classes(folder / "classes.json", net.classes)
        np.save(folder / "mean.npy", net.preprocess.mean.numpy())
        (folder / "README.md").write_text(card.card(known, to, use, checked), encoding="utf-8")
        names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    return {
        "to": to,
        "run": str(run),
        "checkpoint": str(net.checkpoint),
        "folder": str(out),
        "files": [
            {"path": str(out / name), "bytes": (out / name).stat().st_size, "sha256": checksum(out / name)}
            for name in names
        ],
        "checked": checked,
        "random_weights": known["random_weights"],
    }


def write(
    net: TrainedAlexNet, known: dict[str, Any], folder: Path, to: Format, **options: Any
) -> tuple[dict[str, Any], str]:
    """Write the network. Returns what was compared, and how to use the file, in Markdown."""
    if to == "brainscore":
        return brainscore.write_brainscore(net, known, folder), brainscore.use(known)
    path = folder / FILES[to]
    if to == "torchvision":
        return weight_files.write_torchvision(net, path), weight_files.torchvision_use(net)
    if to == "safetensors":
        return weight_files.write_safetensors(net, path), weight_files.safetensors_use()
    from alexnet.exchange import onnx_file

    return onnx_file.write_onnx(net, known, path, **options), onnx_use(net, options["preprocess"])


def onnx_use(net: TrainedAlexNet, preprocess: bool) -> str:
    """How to run the graph, in Markdown."""
    crop = net.preprocess.crop
    if preprocess:
        takes = "`images`: uint8 [batch, height, width, 3], RGB, any size. Returns `probabilities` [batch, classes]."
    else:
        takes = (
            f"`images`: float32 [batch, 3, {crop}, {crop}], RGB from 0 to 255, minus the centre of the mean image "
            "(`mean.npy`). Returns `logits` [batch, classes]."
        )
    return f"{takes} `classes.json` lists the classes (wnid, name) in the order of the outputs."


def check_packages(to: Format) -> None:
    """ValueError, with what installs them, for packages that `to` needs and that are missing."""
    missing = [name for name in NEEDS.get(to, ()) if importlib.util.find_spec(name) is None]
    if missing:
        raise ValueError(f"--to {to} needs {' and '.join(missing)}: pip install 'alexnet[export]'")


def check_out(out: Path, force: bool) -> None:
    """ValueError for a file, for the name of a file, and for a folder that is not empty unless `force`."""
    if out.suffix in (".onnx", ".pth", ".pt", ".safetensors") and not out.is_dir():
        raise UsageError(f"{out} would be a folder; give a name without {out.suffix}, such as {out.with_suffix('')}.")
    check_folder(out)
    if out.exists() and any(out.iterdir()) and not force:
        raise ValueError(f"{out} is not empty; give another name, or --force to overwrite the files of an export.")


def render(result: dict[str, Any]) -> RenderableType:
    """The files that were written, for a terminal."""
    table = Table("file", "kB")
    for file in result["files"]:
        table.add_row(Text(file["path"]), f"{file['bytes'] / 1e3:,.0f}")
    checked = result["checked"]
    compared = (
        f"compared in {checked['with']} on {counted(checked['images'], 'image')}: "
        f"outputs equal to {checked['largest_difference']:.1g} of the largest, same five best classes"
    )
    return Group(Text(f"{result['run']} as {result['to']}", style="bold"), table, Text(compared))
