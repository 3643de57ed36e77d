"""`alexnet prepare`."""

from pathlib import Path

from alexnet.cli.options import Answer, Flag, lists
from alexnet.data.sources import KINDS
from alexnet.ranges import Fraction, FractionOfSome, Quality, Seed, StoredPixels, Threads


@lists("Sources", {kind.name: kind.looks for kind in KINDS})
def prepare(
    source: Path,
    store: Path,
    /,
    *,
    labels: Path | None = None,
    size: StoredPixels = 256,
    workers: Threads = 0,
    val_fraction: FractionOfSome | None = None,
    seed: Seed = 0,
    max_bad: Fraction = 0.01,
    quality: Quality = 95,
    honour_exif: Flag = False,
    image_column: str | None = None,
    label_column: str | None = None,
) -> Answer:
    """Turn images from any supported source into a store.

    Which kind of source it is, is detected; --labels gives a folder of images a table of their labels. After an
    interruption, the same command resumes.

    Example:
      alexnet prepare imagenette2-160 stores/imagenette
      alexnet prepare holiday-images stores/holidays --val-fraction 0.2
      alexnet prepare leaves stores/leaves --labels leaves.csv --label-column species

    Args:
        source: Folder or file with the images.
        store: Folder to write the store to.
        labels: CSV, TSV, JSON lines, or lines of PATH LABEL, for the images of the folder SOURCE.
        size: Height and width of the stored images, in pixels.
        workers: Processes that decode and rescale; 0: one per processor core.
        val_fraction: Fraction of each class for the validation split, where the source has none; without it, 0.1.
        seed: Seed of the choice of the validation images.
        max_bad: Stop when more than this fraction of the images, rounded up, cannot be read.
        quality: JPEG quality of the stored images, 1 to 100.
        honour_exif: Rotate images as their EXIF data says. (AlexNet's authors did not.)
        image_column: Column of the images in a table or Parquet files, where it has no usual name.
        label_column: Column of the labels in a table, Parquet or .json files, where it has no usual name; fine or
            coarse in CIFAR-100.
    """
    from alexnet.data.prepare import prepare as module
    from alexnet.data.prepare.summary import render

    summary = module.prepare(
        source,
        store,
        size=size,
        workers=workers,
        val_fraction=val_fraction,
        seed=seed,
        max_bad=max_bad,
        quality=quality,
        honour_exif=honour_exif,
        image_column=image_column,
        label_column=label_column,
        labels=labels,
    )
    return summary, render
