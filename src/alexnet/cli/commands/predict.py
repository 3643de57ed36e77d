"""`alexnet predict`."""

from pathlib import Path

from alexnet.cli.options import Answer, Device, Flag, MoreImages


def predict(
    run: Path,
    image: Path,
    more: MoreImages = (),
    /,
    *,
    views: int = 10,
    device: Device = "auto",
    panel: Path | None = None,
    force: Flag = False,
) -> Answer:
    """Classify images: the five most probable labels of each.

    A file that cannot be read is named and left out.

    Example:
      alexnet predict runs/imagenette dog.jpg church.jpg --panel predictions.png

    Args:
        run: Run folder made by alexnet train.
        image: Image file, or folder of images.
        views: 10 (corners, centre and their mirror images, as in the paper) or 1 (centre).
        panel: Also draw the images with their labels, as in figure 4 (left) of the paper, to this .png, .pdf or .svg.
        force: Overwrite files that are there.
    """
    from alexnet.study import predict as module

    return module.predict(run, (image, *more), views=views, device=device, panel=panel, force=force), module.render
