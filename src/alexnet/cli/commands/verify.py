"""`alexnet verify`."""

from pathlib import Path

from alexnet.cli.options import Answer, Flag


def verify(path: Path, /, *, trained: Flag = False, data: Path | None = None) -> Answer:
    """Check a store or a run: checksums, counts, that it loads, and that the network is trained.

    Example:
      alexnet verify stores/imagenette
      alexnet verify runs/imagenette --trained --data stores/imagenette

    Args:
        path: Store or run folder.
        trained: Also fail for a run whose network has random weights: by conv1, and by its outputs over noise.
        data: Store whose validation images the network must classify better than by chance; implies --trained.
    """
    from alexnet.study import verify as module

    return module.verify(path, trained=trained, data=data), module.render
