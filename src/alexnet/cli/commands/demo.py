"""`alexnet demo`."""

from pathlib import Path

from alexnet.cli.options import Answer
from alexnet.ranges import Seed, Threads


def demo(*, out: Path = Path("demo"), seed: Seed = 0, workers: Threads = 0) -> Answer:
    """Try everything without data: draw images, train a small AlexNet on them, write a report.

    The images are synthetic and labelled. After an interruption, the same command resumes.

    Example:
      alexnet demo --out demo

    Args:
        out: Folder for the images, the store, the run and report.html.
        seed: Seed of the images and of the training.
        workers: Processes that draw and rescale images; 0: one per processor core.
    """
    from alexnet.demo import demo as module

    return module.demo(out, seed=seed, workers=workers), module.render
