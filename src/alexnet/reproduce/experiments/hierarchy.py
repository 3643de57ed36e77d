"""First layers see edges and colours, later ones parts and objects: the strongest patches of each layer's kernels."""

from matplotlib.figure import Figure

from alexnet.reproduce.arms import BASE
from alexnet.reproduce.experiment import (
    Comparison,
    Evidence,
    Experiment,
    Found,
    Planned,
    Side,
    Values,
    images_of,
    seeds,
)
from alexnet.reproduce.figures import dots
from alexnet.reproduce.measures import LOOKED_AT
from alexnet.reproduce.scales import Scale

ARM = BASE.measured("ten_views", "strongest")


def arms(scale: Scale, evidence: Evidence) -> list[Planned]:
    return [Planned(ARM, seeds(scale))]


def find(evidence: Evidence) -> Found:
    def mixed(layer: str) -> Values:
        return {seed: 100 * value for seed, value in evidence.measure(ARM, "strongest", layer).items()}

    main = Comparison(
        "strongest patches that are not of their kernel's most frequent class",
        "points",
        Side("conv5", mixed("conv5")),
        Side("conv1", mixed("conv1")),
        [Side(layer, mixed(layer)) for layer in ("conv2", "conv3", "conv4")],
        images=min(LOOKED_AT, images_of(evidence, ARM)),
    )
    path = evidence.panel(ARM, "strongest")
    caption = (
        "For eight kernels of each convolution, the nine patches of validation images that they answer most to, each "
        "as large as what the kernel sees (its receptive field), at most the whole view."
    )
    return Found(main, panels={path: caption} if path else {})


def draw(evidence: Evidence, found: Found) -> Figure | None:
    return dots([found.main])


EXPERIMENT = Experiment(
    name="hierarchy",
    title="Later layers see what images are of",
    section="section 6.1, figures 3 and 4",
    claim="The first layer learns edges and colours (figure 3), the last ones what an image is of (figure 4).",
    paper="figures 3 and 4; no number",
    original="",
    differs="The number is ours: how mixed the classes of the nine strongest patches of a kernel are. A kernel that "
    "answers to edges answers to all classes.",
    arms=arms,
    find=find,
    draw=draw,
    caption="How mixed the classes of a kernel's strongest patches are, from conv5 to conv1, mean over kernels.",
)
