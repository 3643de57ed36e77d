"""`alexnet describe`."""

from alexnet.cli.options import Answer, lists
from alexnet.networks import NETWORKS


@lists("Networks", {name: network.about for name, network in NETWORKS.items()})
def describe(name: str = "paper", /) -> Answer:
    """Show a network's layers, shapes, parameters and multiply-adds, and how it differs from the paper's.

    Example:
      alexnet describe original
      alexnet describe runs/imagenette

    Args:
        name: Network, recipe or run folder.
    """
    from alexnet.study import describe as module

    return module.describe(name), module.render
