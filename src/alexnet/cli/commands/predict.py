"""`alexnet predict`."""

from pathlib import Path

from alexnet.cli.options import Answer, Device, Flag, MoreImages
from alexnet.ranges import Count


def predict(
    run: Path,
    image: Path,
    more: MoreImages = (),
    /,
    *,
    views: int = 10,
    top: Count = 5,
    device: Device = "auto",
    csv: Path | None = None,
    panel: Path | None = None,
    force: Flag = False,
) -> Answer:
    """Classify images: the most probable labels of each.

    A file that cannot be read is named and left out; all others are done, and the exit code is 1.

    Example:
      alexnet predict runs/imagenette dog.jpg church.jpg --panel predictions.png
      alexnet predict runs/imagenette holiday-images --csv labels.csv --views 1

    Args:
        run: Run folder made by alexnet train.
        image: Image file, or folder of images.
        views: 10 (corners, centre and their mirror images, as in the paper) or 1 (centre).
        top: Labels of each image, or all classes where there are fewer.
        csv: Also write a table to this .csv: a row for each image, for pandas or a spreadsheet.
        panel: Also draw the images with their labels, as in figure 4 (left) of the paper, to this .png, .pdf or .svg.
        force: Overwrite files that are there.
    """
    from alexnet.study import predict as module

    result = module.predict(run, (image, *more), views=views, top=top, device=device, csv=csv, panel=panel, force=force)
    return result, module.render
