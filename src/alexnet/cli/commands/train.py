"""`alexnet train`."""

from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from alexnet.cli.options import Answer, first_line, lists
from alexnet.config import TrainConfig
from alexnet.recipes import RECIPES


@lists("Recipes", {name: first_line(recipe) for name, recipe in RECIPES.items()})
def train(store: Path, run: Path, /, *, config: Annotated[TrainConfig, arg(name="")]) -> Answer:
    """Train a network on a store, or resume a run.

    Every setting of a training is an option, such as --optim.lr 0.005. A recipe gives the defaults. If the run exists,
    its own settings are the defaults, so that alexnet train STORE RUN alone resumes it. Short options:

      --recipe NAME           recipe that gives the defaults
      --network NAME          another network (alexnet describe --help lists all)
      --from RUN              start from the weights of a trained run
      --checkpoint-every 500  steps between checkpoints (10m: ten minutes)

    Under torchrun, --parallel says how the processes share the work.

    Example:
      alexnet train stores/imagenette runs/imagenette --recipe small
      alexnet train stores/imagenette runs/slower --recipe small --optim.lr 0.005 --epochs 40
      alexnet train stores/flowers runs/flowers --recipe small --from runs/imagenette --optim.lr 0.001
      torchrun --nproc-per-node 2 -m alexnet train stores/imagenet runs/paper --parallel towers

    Args:
        store: Store made by alexnet prepare.
        run: Folder for checkpoints, metrics.jsonl and config.json.
    """
    from alexnet.training import loop

    return loop.train(store, run, config), loop.render
