"""`alexnet features`."""

from pathlib import Path

from alexnet.cli.options import Answer, Device, Flag
from alexnet.ranges import BatchSize


def features(
    run: Path,
    source: Path,
    out: Path,
    /,
    *,
    layer: str = "fc7",
    split: str | None = None,
    device: Device = "auto",
    batch_size: BatchSize = 64,
    force: Flag = False,
) -> Answer:
    """Write the activations of any layer to a .npy file, with the names of the images beside it.

    OUT.keys.txt has the name of each image, one line per row; OUT.wnids.txt the classes, where they are known. The row
    of an image that cannot be read is NaN.

    Example:
      alexnet features runs/imagenette stores/imagenette fc7.npy --split val
      alexnet features runs/imagenette holiday-images pool5.npy --layer pool5

    Args:
        run: Run folder made by alexnet train.
        source: A store, any source that alexnet prepare reads, a folder of images, or an image.
        out: The .npy file to write.
        layer: conv1, relu1, norm1, pool1 ... pool5, fc6, relu6, fc7, relu7 or fc8; or several, separated by commas.
        split: Split of the source; without it all, one after the other.
        batch_size: Images per batch.
        force: Overwrite files that are there.
    """
    from alexnet.study import features as module

    result = module.features(
        run, source, out, layer=layer, split=split, device=device, batch_size=batch_size, force=force
    )
    return result, module.render
