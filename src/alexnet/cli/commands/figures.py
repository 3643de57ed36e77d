"""`alexnet figures`."""

from pathlib import Path
from typing import Literal

from alexnet.cli.options import Answer, Device, Flag
from alexnet.ranges import Seed


def figures(
    run: Path,
    /,
    *,
    data: Path | None = None,
    image: Path | None = None,
    layer: str = "conv1",
    split: str = "val",
    out: Path | None = None,
    format: Literal["png", "pdf", "svg"] = "png",
    device: Device = "auto",
    seed: Seed = 0,
    force: Flag = False,
) -> Answer:
    """Draw conv1 kernels, learning curves, activation maps and panels of a run.

    Example:
      alexnet figures runs/imagenette --data stores/imagenette
      alexnet figures runs/imagenette --image dog.jpg --layer conv3,pool5

    Args:
        run: Run folder made by alexnet train.
        data: Store with the images for the panels.
        image: Image whose activation maps are drawn; without it, one of the store.
        layer: Layer whose activation maps are drawn, or several, separated by commas.
        split: Split of the store for the panels: val or train.
        seed: Seed of the choice of images for the panels.
        out: Folder for the figures; without it, RUN/figures, whose figures are drawn anew.
        format: png (300 dots per inch), pdf or svg.
        force: Overwrite figures that are in OUT.
    """
    from alexnet.study import figures as module

    result = module.figures(
        run,
        data,
        image=image,
        layer=layer,
        split=split,
        out=out,
        format=format,
        device=device,
        seed=seed,
        force=force,
    )
    return result, module.render
