"""`alexnet compare`."""

from pathlib import Path
from typing import Literal

from alexnet.cli.options import Answer, Device, Flag, MoreRuns
from alexnet.ranges import BatchSize, CountOrNone, Seed


def compare(
    run: Path,
    more: MoreRuns = (),
    /,
    *,
    data: Path,
    against: tuple[Path, ...] = (),
    layer: str = "",
    split: str = "val",
    images: CountOrNone = 1000,
    seed: Seed = 0,
    views: int = 1,
    out: Path | None = None,
    format: Literal["png", "pdf", "svg"] = "png",
    device: Device = "auto",
    batch_size: BatchSize = 64,
    force: Flag = False,
) -> Answer:
    """Compare networks: agreement, difference of errors, CKA and RSA of all layers.

    Two runs, one run (its layers with each other), or all pairs of several. With --against, the runs are two sides:
    pairs across are set beside pairs within each side, which show how far seeds alone go.

    Example:
      alexnet compare runs/imagenette runs/other --data stores/imagenette --out compared
      alexnet compare runs/seed1 runs/seed2 --against runs/wide1 runs/wide2 --data stores/imagenette

    Args:
        run: Run folder made by alexnet train.
        more: Runs to compare it with.
        data: Store with the images.
        against: Runs of the other side.
        layer: Layers to compare, separated by commas, or all; without it each activation and the last layer.
        split: Split of the store: val or train.
        images: Images on which layers are compared; 0 for all. (Errors and agreement are of all.)
        seed: Seed of the choice of these images.
        views: 1 (centre) or 10, for errors and agreement.
        out: Folder for compare.json and the figure.
        format: Of the figure, png (300 dots per inch), pdf or svg.
        batch_size: Images per batch.
        force: Overwrite files that are in OUT.
    """
    from alexnet.study import compare as module

    result = module.compare(
        (run, *more),
        data,
        against=against,
        layer=layer,
        split=split,
        images=images,
        seed=seed,
        views=views,
        out=out,
        format=format,
        device=device,
        batch_size=batch_size,
        force=force,
    )
    return result, module.render
