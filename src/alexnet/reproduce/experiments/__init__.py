"""The experiments: a file each. A new one is a file here, and its name in the order below."""

from alexnet.reproduce.experiment import Experiment
from alexnet.reproduce.experiments import (
    augmentation_is_free,
    colour,
    crops_and_mirrors,
    depth,
    dropout,
    ensemble,
    hierarchy,
    initialisation,
    kernels,
    lrn,
    overlapping_pooling,
    relu_vs_tanh,
    similar,
    speed,
    summary,
    ten_views,
    two_towers,
    weight_decay,
)

ORDER = (
    *(relu_vs_tanh, lrn, dropout, crops_and_mirrors, overlapping_pooling, depth, two_towers, colour, weight_decay),
    *(ten_views, ensemble, similar, kernels, hierarchy, initialisation, augmentation_is_free, speed, summary),
)
"""The largest claims first."""
EXPERIMENTS: dict[str, Experiment] = {each.EXPERIMENT.name: each.EXPERIMENT for each in ORDER}
"""By name."""
