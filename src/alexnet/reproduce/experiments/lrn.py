"""Section 3.3: local response normalisation lowers the error."""

import dataclasses

from matplotlib.figure import Figure

from alexnet.reproduce.arms import BASE, FOUR_LAYERS
from alexnet.reproduce.experiment import Evidence, Experiment, Found, Planned, errors_compared, seeds
from alexnet.reproduce.figures import dots
from alexnet.reproduce.scales import Scale

SMALL_WITHOUT = FOUR_LAYERS.but("without normalisation", network__lrn="none")
WITHOUT = BASE.but("without normalisation", network__lrn="none")
ORIGINALS = BASE.but("the program's constants", network__lrn_alpha=1e-4 / 5)


def arms(scale: Scale, evidence: Evidence) -> list[Planned]:
    small = [Planned(arm, seeds(scale)) for arm in (FOUR_LAYERS, SMALL_WITHOUT)]
    large = [Planned(arm, seeds(scale)) for arm in (BASE, WITHOUT, ORIGINALS)]
    return [*small, *large]


def find(evidence: Evidence) -> Found:
    on_cifar10 = errors_compared(evidence, FOUR_LAYERS, SMALL_WITHOUT, ("with normalisation", "without"))
    small = dataclasses.replace(on_cifar10, what="top-1 error on CIFAR-10, ten views")
    large = [
        errors_compared(evidence, arm, WITHOUT, (f"{whose} constants", "without normalisation"), k)
        for arm, whose in ((BASE, "the paper's"), (ORIGINALS, "the program's"))
        for k in (1, 5)
    ]
    return Found(large[0], [*large[1:], small]) if evidence.scale.is_papers else Found(small, large)


def draw(evidence: Evidence, found: Found) -> Figure | None:
    return dots([found.main, *found.also])


EXPERIMENT = Experiment(
    name="lrn",
    title="Local response normalisation lowers the error",
    section="section 3.3",
    claim="Local response normalisation lowers top-1 and top-5 error by 1.4 and 1.2 points on ImageNet, and the error "
    "of a four-layer network on CIFAR-10 from 13 % to 11 %.",
    paper="1.4 / 1.2 points on ImageNet; 2 points on CIFAR-10",
    original="42.034 / 19.362 without it, 40.664 / 18.210 with it: 1.4 / 1.2 points (definitions 148 and 145)",
    differs="CIFAR-10 comes first here: it is the paper's own data set. The four-layer network has half its width and "
    "trains for fewer epochs than 470. The eight-layer network trains on ten classes. The program divides alpha by the "
    "size of the window, so that a fifth of the paper's is left; its numbers are the paper's.",
    arms=arms,
    find=find,
    draw=draw,
    caption="Top-1 and top-5 error of each seed, with and without normalisation; lines join the runs of a seed.",
)
