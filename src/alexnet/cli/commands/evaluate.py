"""`alexnet evaluate`."""

from pathlib import Path

from alexnet.cli.options import Answer, Device, MoreRuns
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
) -> Answer:
    """Measure top-1 and top-5 error of one run, or of several and their ensemble.

    Example:
      alexnet evaluate runs/imagenette --data stores/imagenette --views 10

    Args:
        run: Run folder made by alexnet train.
        data: Store made by alexnet prepare.
        split: Split of the store: val or train.
        views: 10 (corners, centre and their mirror images, as in the paper) or 1 (centre).
        batch_size: Images per batch.
        weights: Weight of each run in the ensemble's average; without it, all are equal.
    """
    from alexnet.study import evaluate as module

    result = module.evaluate(
        (run, *more), data, split=split, views=views, batch_size=batch_size, device=device, weights=weights
    )
    return result, module.render
