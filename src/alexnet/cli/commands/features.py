"""`alexnet features`."""

from pathlib import Path
from typing import Literal

from alexnet.cli.options import Answer, Device, Flag
from alexnet.ranges import BatchSize, Seed


def features(
    run: Path,
    source: Path,
    out: Path,
    /,
    *,
    layer: str = "fc7",
    split: str | None = None,
    resize: Literal["crop", "centre", "squash"] = "crop",
    bad: Literal["nan", "skip"] = "nan",
    checkpoint: str = "best",
    random_weights: Seed | None = None,
    device: Device = "auto",
    batch_size: BatchSize = 64,
    force: Flag = False,
) -> Answer:
    """Write the activations of any layers to a .npy, .npz or .h5 file, with a description beside it.

    OUT.keys.txt has the name of each image, one line per row; OUT.wnids.txt the classes, where they are known; OUT.json
    the run, its weights, the layers, the preprocessing and the images.

    Example:
      alexnet features runs/imagenette stores/imagenette fc7.npy --split val
      alexnet features runs/imagenette stimuli layers.h5 --layer conv1,relu5,fc7 --resize centre
      alexnet features runs/imagenette stimuli control.npz --layer all --random-weights 1

    Args:
        run: Run folder made by alexnet train.
        source: A store, any source that alexnet prepare reads, a folder of images, an image, or a .txt list of images.
        out: File to write. Several layers in .npy are a file each, OUT.conv5.npy and so on.
        layer: conv1, relu1, norm1, pool1 ... pool5, fc6, relu6, fc7, relu7 or fc8; several, separated by commas; or
            all.
        split: Split of the source; without it all, one after the other.
        resize: crop, as the run was tested (a border is not seen); centre (all of the central square); squash (all of
            the image, distorted to a square).
        bad: The row of an image that cannot be read: nan, or skip to leave it out.
        checkpoint: best, last, or a step.
        random_weights: Seed of fresh initial weights for the same network, instead of its own: a control.
        batch_size: Images per batch.
        force: Overwrite files that are there.
    """
    from alexnet.study import features as module

    result = module.features(
        run,
        source,
        out,
        layer=layer,
        split=split,
        resize=resize,
        bad=bad,
        checkpoint=checkpoint,
        random_weights=random_weights,
        device=device,
        batch_size=batch_size,
        force=force,
    )
    return result, module.render
