"""`alexnet verify`."""

from pathlib import Path

from alexnet.cli.options import Answer


def verify(path: Path, /) -> Answer:
    """Check a store or a run: checksums, counts, and that it loads.

    Example:
      alexnet verify stores/imagenette
      alexnet verify runs/imagenette

    Args:
        path: Store or run folder.
    """
    from alexnet.study import verify as module

    return module.verify(path), module.render
