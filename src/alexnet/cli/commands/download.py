"""`alexnet download`."""

from pathlib import Path
from typing import Literal

from alexnet.cli.options import Answer, lists
from alexnet.data.download.archives import ARCHIVES


@lists("Data sets", {name: f"{each.about}; {each.length / 1e6:,.0f} MB" for name, each in ARCHIVES.items()})
def download(
    name: Literal["cifar10", "imagenette", "imagenette-320", "imagenette-full", "tiny-imagenet"],
    folder: Path = Path("data"),
    /,
    *,
    url: str | None = None,
) -> Answer:
    """Download a public data set, and unpack it into a folder that alexnet prepare reads.

    The archive's checksum is compared before it is unpacked. After an interruption, the same command resumes. Each
    data set has terms of use of its own: see its page.

    Example:
      alexnet download imagenette
      alexnet download cifar10 data

    Args:
        name: Data set.
        folder: Folder that gets the data set's folder.
        url: Another address of the same archive, such as a mirror.
    """
    from alexnet.data.download import download as module

    return module.download(name, folder, url=url), module.render
