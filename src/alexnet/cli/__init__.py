"""The command line: one function per command.

A command's signature is its options (tyro reads it), its docstring its help. It returns the result, a plain
dict, with the function that renders it for people. What it needs is imported inside it, so that
`alexnet --help` does not wait for torch. What all commands share is in `command_line`.
"""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import arg

from alexnet.cli.command_line import Answer, Flag, run_command
from alexnet.cli.train_line import parse_train
from alexnet.config import TrainConfig
from alexnet.networks import NETWORKS

Device = Annotated[str, arg(help="auto (cuda, then mps, then cpu), cpu, cuda, cuda:1 or mps.")]
MoreRuns = Annotated[tuple[Path, ...], arg(metavar="[RUN ...]", help="More run folders: their ensemble.")]
Measured = Literal["train", "infer", "load", "prepare", "kernels"]
MoreImages = Annotated[tuple[Path, ...], arg(metavar="[IMAGE ...]", help="More images.")]


def demo(*, out: Path = Path("demo"), seed: int = 0, workers: int = 0) -> Answer:
    """Draw labelled images, prepare, train, evaluate and report: no data needed.

    Started again after an interruption, it goes on where it was.

    Example:
      alexnet demo --out demo

    Args:
        out: Folder for the images, the store, the run and report.html.
        seed: The images and the training are functions of this number.
        workers: Processes that draw and rescale; 0 means one per processor core.
    """
    from alexnet.demo import demo as study

    return study.demo(out, seed=seed, workers=workers), study.render


def prepare(
    source: Path,
    store: Path,
    /,
    *,
    size: int = 256,
    workers: int = 0,
    val_fraction: float | None = None,
    seed: int = 0,
    max_bad: float = 0.01,
    quality: int = 95,
    honour_exif: Flag = False,
) -> Answer:
    """Turn images from any supported source into a store.

    A source is a folder train/CLASS/* with val/CLASS/*, a folder of class folders, the ILSVRC-2012 tars,
    the Kaggle layout of ImageNet, or Parquet files with image and label; told apart by looking. Started
    again after an interruption, it goes on where it was.

    Example:
      alexnet prepare imagenette2-160 stores/imagenette
      alexnet prepare holiday-images stores/holidays --val-fraction 0.2

    Args:
        source: Folder or file with the images.
        store: Folder to write the store to.
        size: Height and width of the stored images, in pixels.
        workers: Processes that decode and rescale; 0 means one per processor core.
        val_fraction: Part of each class that becomes the validation split, where the source has none (0.1).
        seed: Which images these are is a function of this number.
        max_bad: Stop when more than this part of the images cannot be read.
        quality: JPEG quality of the stored images, up to 100.
        honour_exif: Turn images as their EXIF data says (AlexNet's authors did not).
    """
    from alexnet.data.prepare import prepare as data

    summary = data.prepare(
        source,
        store,
        size=size,
        workers=workers,
        val_fraction=val_fraction,
        seed=seed,
        max_bad=max_bad,
        quality=quality,
        honour_exif=honour_exif,
    )
    return summary, data.render


def train(store: Path, run: Path, /, *, config: Annotated[TrainConfig, arg(name="")]) -> Answer:
    """Train a network on a store, or continue a run where it stopped.

    Every setting is an option; --recipe NAME chooses the defaults (paper, original, small, finetune, caffe, cifar,
    demo), --network NAME another network for the recipe (alexnet describe lists them), --from RUN a trained run to
    start from, --checkpoint-every 500 (steps) or 10m (minutes) writes more checkpoints than one each epoch. For a run
    that exists its own config.json gives the defaults, so that alexnet train STORE RUN alone continues it. --parallel
    shares the work of torchrun's processes.

    Example:
      alexnet train stores/imagenette runs/imagenette --recipe small
      alexnet train stores/imagenette runs/slower --recipe small --optim.lr 0.005 --epochs 40
      alexnet train stores/flowers runs/flowers --recipe small --from runs/imagenette --optim.lr 0.001
      torchrun --nproc-per-node 2 -m alexnet train stores/imagenet runs/paper --parallel towers

    Args:
        store: Store made by alexnet prepare.
        run: Folder for checkpoints, metrics.jsonl and config.json.
    """
    from alexnet.training import loop

    return loop.train(store, run, config), loop.render


def evaluate(
    run: Path,
    more: MoreRuns = (),
    /,
    *,
    data: Path,
    split: str = "val",
    views: int = 10,
    batch_size: int = 64,
    device: Device = "auto",
    weights: tuple[float, ...] | None = None,
) -> Answer:
    """Measure top-1 and top-5 error of one run, or of several and their ensemble.

    Example:
      alexnet evaluate runs/imagenette --data stores/imagenette --views 10

    Args:
        run: Run folder made by alexnet train.
        data: Store made by alexnet prepare.
        split: Split of the store: val or train.
        views: 10 (four corners, centre, their mirrors: as in the paper) or 1 (centre).
        batch_size: Images at a time.
        weights: One weight per run in the ensemble's average; without it all count the same.
    """
    from alexnet.study import evaluate as study

    result = study.evaluate(
        (run, *more), data, split=split, views=views, batch_size=batch_size, device=device, weights=weights
    )
    return result, study.render


def predict(
    run: Path,
    image: Path,
    more: MoreImages = (),
    /,
    *,
    views: int = 10,
    device: Device = "auto",
    panel: Path | None = None,
) -> Answer:
    """Name the five most probable classes of images.

    Example:
      alexnet predict runs/imagenette dog.jpg church.jpg --panel predictions.png

    Args:
        run: Run folder made by alexnet train.
        image: LabelledImage file, or a folder of them.
        views: 10 (four corners, centre, their mirrors: as in the paper) or 1 (centre).
        panel: Also draw the images with their labels, as figure 4 (left) of the paper, to this file.
    """
    from alexnet.study import predict as study

    return study.predict(run, (image, *more), views=views, device=device, panel=panel), study.render


def features(
    run: Path,
    source: Path,
    out: Path,
    /,
    *,
    layer: str = "fc7",
    split: str | None = None,
    device: Device = "auto",
    batch_size: int = 64,
) -> Answer:
    """Write the activations of any layer to a .npy file, the images' names beside it.

    OUT.keys.txt gets the names, a line for each row, and OUT.wnids.txt the classes where they are known.

    Example:
      alexnet features runs/imagenette stores/imagenette fc7.npy --split val
      alexnet features runs/imagenette holiday-images pool5.npy --layer pool5

    Args:
        run: Run folder made by alexnet train.
        source: A store, any source that alexnet prepare reads, a folder of images, or an image.
        out: The .npy file to write.
        layer: conv1, relu1, norm1, pool1 ... pool5, fc6, relu6, fc7, relu7 or fc8; or several, with commas.
        split: Only this split of the source; without it all, one after the other.
        batch_size: Images at a time.
    """
    from alexnet.study import features as study

    result = study.features(run, source, out, layer=layer, split=split, device=device, batch_size=batch_size)
    return result, study.render


def similar(
    run: Path,
    image: Path,
    more: MoreImages = (),
    /,
    *,
    data: Path,
    split: str = "train",
    count: int = 6,
    layer: str = "",
    panel: Path | None = None,
    device: Device = "auto",
) -> Answer:
    """Find the images of a store that are nearest to an image in fc7.

    Example:
      alexnet similar runs/imagenette dog.jpg --data stores/imagenette --panel similar.png

    Args:
        run: Run folder made by alexnet train; the index of the store is made once and kept there.
        image: LabelledImage file, or a folder of them.
        data: Store to search.
        split: Split of the store: train or val.
        count: Nearest images to show for each image.
        layer: Layer whose outputs are compared (Euclidean distance); without it relu7, which is fc7 after its ReLU.
        panel: Also draw the images with their nearest, as figure 4 (right) of the paper, to this file.
    """
    from alexnet.study import similar as study

    result = study.similar(run, (image, *more), data, split=split, count=count, layer=layer, panel=panel, device=device)
    return result, study.render


def figures(
    run: Path,
    /,
    *,
    data: Path | None = None,
    image: Path | None = None,
    layer: str = "conv1",
    split: str = "val",
    device: Device = "auto",
    seed: int = 0,
) -> Answer:
    """Draw the conv1 kernels, the learning curves, activation maps and panels of a run.

    Example:
      alexnet figures runs/imagenette --data stores/imagenette
      alexnet figures runs/imagenette --image dog.jpg --layer conv3,pool5

    Args:
        run: Run folder made by alexnet train; the figures go to its folder figures.
        data: Store whose images the panels show.
        image: LabelledImage whose activation maps are drawn; without it one of the store.
        layer: Layer whose activation maps are drawn, or several separated by commas.
        split: Split of the store that the panels show: val or train.
        seed: Which images the panels show is a function of this number.
    """
    from alexnet.study import figures as study

    drawn = study.figures(run, data, image=image, layer=layer, split=split, device=device, seed=seed)
    return drawn, study.render


def verify(path: Path, /) -> Answer:
    """Check a store or a run: checksums, counts, and that it loads.

    Example:
      alexnet verify stores/imagenette
      alexnet verify runs/imagenette

    Args:
        path: Store or run folder.
    """
    from alexnet.study import verify as study

    return study.verify(path), study.render


def describe(name: str = "paper", /) -> Answer:
    """Show a network: layers, shapes, parameters, multiply-adds, and what differs from the paper and why.

    Networks: NETWORKS.

    Example:
      alexnet describe original
      alexnet describe runs/imagenette

    Args:
        name: Network, recipe or run folder.
    """
    from alexnet.study import describe as study

    return study.describe(name), study.render


assert describe.__doc__ is not None
describe.__doc__ = describe.__doc__.replace("NETWORKS", ", ".join(NETWORKS))


def bench(
    what: Annotated[Measured, arg(metavar="[{train,infer,load,prepare,kernels}]")] = "train",
    /,
    *,
    network: str = "paper",
    batch_size: int | None = None,
    dtype: Literal["auto", "float32", "bfloat16"] = "auto",
    rounds: int = 5,
    store: Path | None = None,
    source: Path | None = None,
    device: Device = "auto",
) -> Answer:
    """Measure how fast this machine trains, labels, loads or prepares, beside what it could do at most.

    The limit is measured in the same run: products alone for train and infer, libjpeg-turbo alone for load
    and prepare, a copy of as many bytes for kernels (the memory-bound layers).

    Example:
      alexnet bench
      alexnet bench infer --batch-size 1 --dtype float32
      alexnet bench load --store stores/imagenette
      alexnet bench train --store stores/imagenette

    Args:
        what: train (steps on one batch), infer (centre views, and ten views of one image), load (batches
            from a store), prepare (a source into a store), or kernels.
        network: Network for train and infer: paper, original, ...
        batch_size: Images at a time (train and load 128, infer and kernels 64).
        dtype: Number format of activations and products; auto is the fastest one here.
        rounds: How often each form is measured; the median counts.
        store: Store for load; without it images are drawn. With train, also measure steps that it feeds.
        source: Folder of JPEG files for prepare; without it they are drawn.
    """
    from alexnet.bench import bench as measured

    result = measured.bench(
        what,
        network_name=network,
        batch_size=batch_size,
        dtype=dtype,
        rounds=rounds,
        store=store,
        source=source,
        device=device,
    )
    return result, measured.render


COMMANDS = {
    command.__name__: command
    for command in (demo, prepare, train, evaluate, predict, similar, features, figures, bench, verify, describe)
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    return run_command(COMMANDS, argv, parsers={"train": functools.partial(parse_train, train)})
