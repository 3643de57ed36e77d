"""`alexnet explore`."""

from pathlib import Path
from typing import Annotated

from alexnet.cli.options import Answer, Device, Flag, MoreRuns
from alexnet.ranges import Range


def explore(
    run: Path,
    more: MoreRuns = (),
    /,
    *,
    data: Path | None = None,
    port: Annotated[int, Range(0, 65_535)] = 8012,
    host: str = "127.0.0.1",
    device: Device = "auto",
    save: Path | None = None,
    image: tuple[Path, ...] = (),
    force: Flag = False,
) -> Answer:
    """Look inside a network in a browser.

    Shows what it makes of an image, stage by stage, with the arithmetic of each unit; what excites a unit; its kernels;
    a map of the store; the paper's tricks; the training, live. Nothing is fetched from other hosts.

    Needs pip install 'alexnet[explore]'.

    Example:
      alexnet explore runs/imagenette --data stores/imagenette
      alexnet explore runs/imagenette --data stores/imagenette --save page.html --image dog.jpg

    Args:
        run: Run folder made by alexnet train or alexnet import.
        more: More runs, to set beside it.
        data: Store whose images are shown and searched.
        port: Port to listen at; 0: any that is free.
        host: Address to listen at. The default is this machine alone; 0.0.0.0 is everybody.
        save: Write a page of at most 15 MB, which opens from disk, to this .html file instead.
        image: Images of that page; without them, three of the store.
        force: Overwrite a file that is there.
    """
    from alexnet.explore import command

    result = command.explore(
        (run, *more), data, host=host, port=port, device=device, save=save, image=image, force=force
    )
    return result, command.render
