"""`alexnet evaluate`."""

from pathlib import Path

from alexnet.cli.options import Answer, Device, Flag, MoreRuns
from alexnet.ranges import BatchSize, NotNegative


def evaluate(
    run: Path,
    more: MoreRuns = (),
    /,
    *,
    data: Path,
    split: str = "val",
    views: int = 10,
    batch_size: BatchSize = 64,
    device: Device = "auto",
    weights: tuple[NotNegative, ...] | None = None,
    csv: Path | None = None,
    panel: Path | None = None,
    figure: Path | None = None,
    force: Flag = False,
) -> Answer:
    """Measure top-1 and top-5 error of one run, or of several and their ensemble.

    Example:
      alexnet evaluate runs/imagenette --data stores/imagenette --views 10
      alexnet evaluate runs/imagenette --data stores/imagenette --csv images.csv --figure confusions.png

    Args:
        run: Run folder made by alexnet train.
        more: More run folders, for their ensemble.
        data: Store made by alexnet prepare.
        split: Split of the store: val, train, or test where there is one.
        views: 10 (corners, centre and their mirror images, as in the paper) or 1 (centre).
        batch_size: Images per batch.
        weights: Weight of each run in the ensemble's average; without it, all are equal.
        csv: Also write a table to this .csv: a row for each image, with its true and its most probable label.
        panel: Also draw the images with the surest wrong labels to this .png, .pdf or .svg.
        figure: Also draw the confusion matrix of all classes to this .png, .pdf or .svg.
        force: Overwrite files that are there.
    """
    from alexnet.study import evaluate as module

    result = module.evaluate(
        (run, *more),
        data,
        split=split,
        views=views,
        batch_size=batch_size,
        device=device,
        weights=weights,
        csv=csv,
        panel=panel,
        figure=figure,
        force=force,
    )
    return result, module.render
