"""Section 3.2: two towers against a network of one tower, and against towers that never exchange activations."""

from matplotlib.figure import Figure

from alexnet.reproduce.arms import BASE, settings_of
from alexnet.reproduce.experiment import Evidence, Experiment, Found, Planned, Side, errors_compared, seeds
from alexnet.reproduce.figures import dots
from alexnet.reproduce.scales import Scale

ONE = BASE.but("one tower", **settings_of("half", "towers", "channels"))
APART = BASE.but("towers that never exchange", **settings_of("no-exchange", "exchange", "channels", "fc_units"))


def arms(scale: Scale, evidence: Evidence) -> list[Planned]:
    return [Planned(arm, seeds(scale)) for arm in (BASE, ONE, APART)]


def find(evidence: Evidence) -> Found:
    labels = ("two towers", "one tower, half the kernels")
    top1, top5 = (
        errors_compared(evidence, BASE, ONE, labels, k, [Side("never exchanging", evidence.error(APART, k=k))])
        for k in (1, 5)
    )
    apart = errors_compared(evidence, BASE, APART, ("two towers", "never exchanging"))
    return Found(top1, [top5, apart])


def draw(evidence: Evidence, found: Found) -> Figure | None:
    return dots([found.main, found.also[0]])


EXPERIMENT = Experiment(
    name="two-towers",
    title="Two towers do better than one of half the size",
    section="section 3.2",
    claim="Two towers on two GPUs lower top-1 and top-5 error by 1.7 and 1.2 points against a network of half the "
    "kernels on one.",
    paper="1.7 / 1.2 points",
    original="39.168 / 18.229 with one tower, 37.473 / 16.999 with two (ILSVRC-2010): 1.7 / 1.2 points; "
    "41.828 / 19.330 for towers that never exchange, against 40.664 / 18.210 (ILSVRC-2012, definition 150)",
    differs="Ten classes, fewer images and epochs, on one device: the two towers are groups of channels. Layers of "
    "other shapes start from other random weights, so that only order, crops and colours are the same for a seed.",
    arms=arms,
    find=find,
    draw=draw,
    caption="Errors of each seed with two towers, with one tower of half the kernels, and with two towers that meet "
    "only in fc8.",
)
