"""Sections 4.1 and 6: averaging the outputs of ten views lowers the error."""

from matplotlib.figure import Figure

from alexnet.reproduce.arms import BASE
from alexnet.reproduce.experiment import Comparison, Evidence, Experiment, Found, Planned, Side, images_of, seeds
from alexnet.reproduce.figures import dots
from alexnet.reproduce.scales import Scale


def arms(scale: Scale, evidence: Evidence) -> list[Planned]:
    return [Planned(BASE, seeds(scale))]


def find(evidence: Evidence) -> Found:
    top1, top5 = (
        Comparison(
            f"top-{k} error",
            "points",
            Side("ten views", evidence.error(BASE, 10, k)),
            Side("centre view", evidence.error(BASE, 1, k)),
            images=images_of(evidence, BASE),
        )
        for k in (1, 5)
    )
    return Found(top1, [top5])


def draw(evidence: Evidence, found: Found) -> Figure | None:
    return dots([found.main, *found.also])


EXPERIMENT = Experiment(
    name="ten-views",
    title="Ten views see more than one",
    section="sections 4.1 and 6",
    claim="Averaging the outputs for ten views of an image lowers the error from 39.0 / 18.3 to 37.5 / 17.0.",
    paper="1.5 / 1.3 points",
    original="39.025 / 18.295 from the centre, 37.473 / 16.999 from ten views (ILSVRC-2010, definition 145)",
    differs="Ten classes, fewer images and epochs. Both errors are of the same networks.",
    arms=arms,
    find=find,
    draw=draw,
    caption="Errors of the same networks from the centre view and from ten.",
)
