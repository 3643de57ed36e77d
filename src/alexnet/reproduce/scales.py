"""The scales: which images, which network and how many epochs and seeds the claims are measured with.

A scale is data, like a recipe. Each base states only where it differs from the paper, and why.
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from alexnet.config import AugmentConfig, NetworkConfig, OptimConfig, ScheduleConfig, TrainConfig, suggestion
from alexnet.networks import NETWORKS
from alexnet.ranges import UsageError
from alexnet.recipes import recipe
from alexnet.reproduce.arms import Data

LARGER_STD = (0.01, 0.01, 0.03, 0.03, 0.03, 0.01, 0.01, 0.01)
"""Initial weights as in the original program: with 0.01 everywhere, few images take long to get past the first plateau
(recipe `small`)."""


@dataclass(frozen=True)
class Scale:
    """How large everything is."""

    name: str
    about: str
    """One line for the help text and the report."""
    sets: Mapping[Data, str]
    """The data set that has each role. Those that `--data` does not name leave their experiments unmeasured."""
    bases: dict[Data, TrainConfig]
    """The configuration that the arms of each role differ from."""
    experiments: tuple[str, ...] = ()
    """Those that it is for; empty: all."""
    seeds: int = 3
    members: int = 5
    """Networks of the ensemble without pre-training; two more make seven."""
    relu_rates: tuple[float, ...] = ()
    tanh_rates: tuple[float, ...] = ()
    """The learning rates that figure 1 chooses from."""
    relu_epochs: int = 0
    tanh_epochs: int = 0
    """Epochs of figure 1: enough to come to 25 % training error."""
    figure1_target: float = 0.25
    """The training error that figure 1 waits for."""
    figure1_batch: int = 64
    """Images per step of figure 1. Smaller batches come to 25 % in fewer epochs, with both nonlinearities."""
    first_epochs: int = 3
    """Epochs of the comparison of initial biases."""
    train_images: int = 2000
    """Training images on which the training error is measured in the end."""
    one_thread: bool = False
    """Compute with one thread: small networks are hardly faster with two, and much slower beside other programs."""
    timing_rounds: int = 15
    speed_network: NetworkConfig = field(default_factory=NetworkConfig)
    """The network whose throughput gives the time for the paper's training."""
    speed_batch: int = 128

    @property
    def is_papers(self) -> bool:
        """Whether the images are the paper's."""
        return self.sets["images"] == "imagenet"


def tiny() -> Scale:
    """Synthetic images and networks of a few kernels: shows in a minute that everything works. It measures nothing."""
    short = ScheduleConfig(kind="epochs", drop_epochs=(), warmup_steps=0)
    network = NetworkConfig(input_size=44, width=0.05, initial_std=(0.02, *[0.1] * 7))
    images = TrainConfig(
        recipe="tiny", epochs=1, batch_size=8, network=network, schedule=short, optim=OptimConfig(lr=0.003)
    )
    four = dataclasses.replace(NETWORKS["four-layer"].config, width=0.125)
    cifar10 = dataclasses.replace(cifar(four, epochs=1), batch_size=8, recipe="tiny")
    return Scale(
        "tiny",
        "synthetic images, networks of a few kernels: a minute, to see that everything works; it measures nothing",
        sets={"cifar10": "synthetic", "images": "synthetic", "wider": "synthetic"},
        bases={"cifar10": cifar10, "images": images, "wider": images},
        relu_rates=(0.001, 0.002),
        tanh_rates=(0.001, 0.002),
        relu_epochs=1,
        tanh_epochs=1,
        figure1_batch=8,
        first_epochs=1,
        train_images=12,
        one_thread=True,
        timing_rounds=3,
        speed_network=network,
        speed_batch=8,
    )


def small() -> Scale:
    """CIFAR-10 at 32 pixels, Imagenette at 112 and half the width: an evening on two cores.

    - Half the width and half the resolution: a sixteenth of the multiplications. The four-layer network has half its
      width too.
    - Batches of 64, a warm-up and larger initial weights in conv3, conv4 and conv5: see recipe `small`.
    - Fewer epochs than the paper's 90, with drops of the learning rate at fixed ones.
    """
    images = recipe("small", epochs=20)
    images = dataclasses.replace(
        images,
        recipe="reproduce-small",
        network=NetworkConfig(input_size=112, width=0.5, initial_std=LARGER_STD),
        augment=AugmentConfig(),
        optim=OptimConfig(),
    )
    half = dataclasses.replace(NETWORKS["four-layer"].config, width=0.5)
    return Scale(
        "small",
        "CIFAR-10 at 32 pixels and Imagenette at 112, half the width: an evening on two cores",
        sets={"cifar10": "cifar10", "images": "imagenette", "wider": "tiny-imagenet"},
        bases={"cifar10": cifar(half, epochs=20), "images": images, "wider": images},
        relu_rates=(0.0005, 0.001, 0.002, 0.004),
        tanh_rates=(0.001, 0.002, 0.004, 0.008, 0.016),
        relu_epochs=16,
        tanh_epochs=48,
    )


def lesson() -> Scale:
    """Figure 1 alone, for a lesson: CIFAR-10, a quarter of the width; minutes on a laptop.

    One or two epochs come nowhere near 25 % training error, so the curves are compared at 60 %. Both nonlinearities
    have the same learning rate; it is not searched for.
    """
    narrow = dataclasses.replace(NETWORKS["four-layer"].config, width=0.25)
    return dataclasses.replace(
        small(),
        name="lesson",
        about="figure 1 on CIFAR-10 with a quarter of the width, at 60 % instead of 25 % training error: minutes",
        bases=small().bases | {"cifar10": cifar(narrow, epochs=4)},
        experiments=("relu-vs-tanh",),
        relu_rates=(0.005,),
        tanh_rates=(0.005,),
        relu_epochs=1,
        tanh_epochs=2,
        figure1_target=0.6,
        one_thread=True,
        figure1_batch=32,
    )


def imagenette() -> Scale:
    """CIFAR-10, and Imagenette with the whole network at 224 pixels: nights on a CPU, less on a GPU."""
    images = recipe("small", epochs=40)
    images = dataclasses.replace(
        images,
        recipe="reproduce-imagenette",
        network=NetworkConfig(initial_std=LARGER_STD),
        augment=AugmentConfig(),
        optim=OptimConfig(),
    )
    return dataclasses.replace(
        small(),
        name="imagenette",
        about="CIFAR-10, and Imagenette with the whole network at 224 pixels: nights on a CPU, less on a GPU",
        bases={"cifar10": cifar(NETWORKS["four-layer"].config, epochs=60), "images": images, "wider": images},
        tanh_epochs=60,
        relu_epochs=16,
    )


def imagenet() -> Scale:
    """The paper itself: CIFAR-10 and ILSVRC-2012 at full size. The learning rate drops where the program's did."""
    images = dataclasses.replace(
        recipe("paper"),
        recipe="reproduce-imagenet",
        schedule=ScheduleConfig(kind="epochs", drop_epochs=(25, 51, 79)),
    )
    return dataclasses.replace(
        small(),
        name="imagenet",
        about="the paper itself: CIFAR-10 and ILSVRC-2012 at full size; without stores it prints the plan",
        sets={"cifar10": "cifar10", "images": "imagenet", "wider": "imagenet22k"},
        bases={"cifar10": cifar(NETWORKS["four-layer"].config, epochs=470), "images": images, "wider": images},
        tanh_epochs=60,
        relu_epochs=20,
        figure1_batch=128,
        train_images=50_000,
    )


def cifar(network: NetworkConfig, epochs: int) -> TrainConfig:
    """Recipe `cifar` in fewer epochs, its two drops at the same fractions of them as far as they are whole batches."""
    made = recipe("cifar")
    drops = (450, 460) if epochs >= made.epochs else (round(0.8 * epochs, 2), round(0.925 * epochs, 2))
    schedule = ScheduleConfig(kind="epochs", drop_epochs=drops)
    return dataclasses.replace(made, epochs=epochs, evaluate_every=2 if epochs > 2 else 1, network=network,
                               schedule=schedule, recipe="reproduce-cifar")  # fmt: skip


SCALES: dict[str, Callable[[], Scale]] = {each.__name__: each for each in (tiny, lesson, small, imagenette, imagenet)}


def scale(name: str) -> Scale:
    """The scale called `name`. ValueError, suggesting the nearest name, when there is none."""
    if name not in SCALES:
        raise UsageError(f"There is no scale '{name}'; {suggestion(name, SCALES)}")
    return SCALES[name]()
