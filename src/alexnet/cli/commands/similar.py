"""`alexnet similar`."""

from pathlib import Path

from alexnet.cli.options import Answer, Device, Flag, MoreImages
from alexnet.ranges import Count


def similar(
    run: Path,
    image: Path,
    more: MoreImages = (),
    /,
    *,
    data: Path,
    split: str = "train",
    count: Count = 6,
    layer: str = "",
    panel: Path | None = None,
    out: Path | None = None,
    device: Device = "auto",
    force: Flag = False,
) -> Answer:
    """Find the images of a store that are nearest to an image in fc7.

    Near means a small Euclidean distance between activations.

    Example:
      alexnet similar runs/imagenette dog.jpg --data stores/imagenette --panel similar.png

    Args:
        run: Run folder made by alexnet train. The activations of the store are computed once and kept.
        image: Image file, or folder of images.
        data: Store to search.
        split: Split of the store: train or val.
        count: How many images to find for each image.
        layer: Layer whose activations are compared; without it relu7, which is fc7 after its ReLU.
        panel: Also draw the images and their nearest, as in figure 4 (right) of the paper, to this .png, .pdf or .svg.
        out: Folder for the activations of the store; without it, RUN/index.
        force: Overwrite files that are there.
    """
    from alexnet.study import similar as module

    result = module.similar(
        run,
        (image, *more),
        data,
        split=split,
        count=count,
        layer=layer,
        panel=panel,
        out=out,
        device=device,
        force=force,
    )
    return result, module.render
