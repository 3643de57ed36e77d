"""Section 4.1: without random crops and mirroring, the network overfits."""

from functools import cache

import numpy as np
from matplotlib.figure import Figure

from alexnet.config import AugmentConfig
from alexnet.data.augment import draw_epoch
from alexnet.reproduce.arms import BASE
from alexnet.reproduce.experiment import (
    Evidence,
    Experiment,
    Found,
    Planned,
    errors_compared,
    gap_compared,
    seeds,
)
from alexnet.reproduce.figures import learning_curves
from alexnet.reproduce.scales import Scale

WITHOUT = BASE.but("without crops and mirroring", augment__random_crop=False, augment__mirror=False)
LABELS = ("with crops and mirroring", "without")


def arms(scale: Scale, evidence: Evidence) -> list[Planned]:
    return [Planned(arm, seeds(scale)) for arm in (BASE, WITHOUT)]


@cache
def variants(size: int = 256, crop: int = 224, images: int = 100_000) -> int:
    """How many different crops and mirrorings an epoch of so many images draws."""
    draws = draw_epoch(AugmentConfig(), images, size, crop, seed=0, epoch=0)
    return len(np.unique(np.column_stack([draws.offsets, draws.mirrored]), axis=0))


def find(evidence: Evidence) -> Found:
    centre = errors_compared(evidence, BASE, WITHOUT, LABELS, views=1)
    ten = errors_compared(evidence, BASE, WITHOUT, LABELS)
    count = variants()
    notes = [
        f"Counted in the program: {count:,} different crops and mirrorings of an image of 256 pixels (paper: 2,048)."
    ]
    return Found(centre, [gap_compared(evidence, BASE, WITHOUT, LABELS), ten], {"variants": count}, notes)


def draw(evidence: Evidence, found: Found) -> Figure | None:
    return learning_curves(evidence, dict(zip(LABELS, (BASE, WITHOUT), strict=True)))


EXPERIMENT = Experiment(
    name="crops-and-mirrors",
    title="Random crops and mirroring prevent overfitting",
    section="section 4.1",
    claim="Random crops and mirrored images make 2,048 training images of each one; without them the network suffers "
    "from substantial overfitting.",
    paper="no number: substantial overfitting without them",
    original="",
    differs="Ten classes, fewer images and epochs. Crops of the smaller scales leave fewer offsets.",
    arms=arms,
    find=find,
    draw=draw,
    caption="Error on training batches (dashed) and on validation images (solid) over the epochs, with and without "
    "random crops and mirroring; one line for each seed.",
)
