"""`alexnet figures`."""

from pathlib import Path

from alexnet.cli.options import Answer, Device
from alexnet.ranges import Seed


def figures(
    run: Path,
    /,
    *,
    data: Path | None = None,
    image: Path | None = None,
    layer: str = "conv1",
    split: str = "val",
    device: Device = "auto",
    seed: Seed = 0,
) -> Answer:
    """Draw conv1 kernels, learning curves, activation maps and panels of a run.

    Example:
      alexnet figures runs/imagenette --data stores/imagenette
      alexnet figures runs/imagenette --image dog.jpg --layer conv3,pool5

    Args:
        run: Run folder made by alexnet train. The figures go to its folder figures.
        data: Store with the images for the panels.
        image: Image whose activation maps are drawn; without it, one of the store.
        layer: Layer whose activation maps are drawn, or several, separated by commas.
        split: Split of the store for the panels: val or train.
        seed: Seed of the choice of images for the panels.
    """
    from alexnet.study import figures as module

    return module.figures(run, data, image=image, layer=layer, split=split, device=device, seed=seed), module.render
