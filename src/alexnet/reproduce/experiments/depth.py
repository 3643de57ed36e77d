"""Section 7: removing any of the middle layers loses about two points of top-1."""

from collections.abc import Sequence
from statistics import mean

from matplotlib.figure import Figure

from alexnet.model.layers import REMOVABLE, layers_of
from alexnet.reproduce.arms import BASE, changed
from alexnet.reproduce.experiment import (
    Comparison,
    Evidence,
    Experiment,
    Found,
    Planned,
    Side,
    Values,
    errors_compared,
    images_of,
    seeds,
)
from alexnet.reproduce.figures import dots
from alexnet.reproduce.scales import Scale

WITHOUT = {layer: BASE.but(f"without {layer}", network__without_layers=(layer,)) for layer in REMOVABLE}


def arms(scale: Scale, evidence: Evidence) -> list[Planned]:
    return [Planned(arm, seeds(scale)) for arm in (BASE, *WITHOUT.values())]


def mean_of(sides: Sequence[Values]) -> Values:
    """The mean over the layers, for each seed of which all are there."""
    common = set.intersection(*(set(each) for each in sides))
    return {seed: mean(each[seed] for each in sides) for seed in sorted(common)}


def find(evidence: Evidence) -> Found:
    errors = {layer: evidence.error(arm) for layer, arm in WITHOUT.items()}
    main = Comparison(
        "top-1 error, ten views",
        "points",
        Side("all eight layers", evidence.error(BASE)),
        Side("without one layer, mean of six", mean_of(list(errors.values()))),
        [Side(f"without {layer}", values) for layer, values in errors.items()],
        images_of(evidence, BASE),
    )
    also = [errors_compared(evidence, BASE, arm, ("all eight layers", arm.label)) for arm in WITHOUT.values()]
    base = evidence.scale.bases["images"]
    counts = {}
    for layer, arm in (("none", BASE), *WITHOUT.items()):
        counts[layer] = sum(each.parameters for each in layers_of(changed(base, arm.changes).network))
    own = {layer: counts["none"] - count for layer, count in counts.items() if layer != "none"}
    words = ", ".join(f"{layer} {1e-3 * saved:,.0f} thousand" for layer, saved in own.items())
    return Found(
        main, also, {"parameters": counts}, [f"Parameters that go with a layer: {words} of {counts['none']:,}."]
    )


def draw(evidence: Evidence, found: Found) -> Figure | None:
    return dots([found.main])


EXPERIMENT = Experiment(
    name="depth",
    title="Every layer counts",
    section="section 7",
    claim="Removing any of the middle layers loses about two points of top-1.",
    paper="about 2 points of top-1",
    original="",
    differs="Ten classes, fewer images and epochs. The layers after a removed one start from other random weights, so "
    "that only order, crops and colours are the same for a seed. Taking out fc6 or a convolution before pool5 changes "
    "the size of the layer behind it.",
    arms=arms,
    find=find,
    draw=draw,
    caption="Top-1 error of each seed with all layers and with one removed; lines join the runs of a seed.",
)
