"""Section 4.1: noise along the principal components of colour lowers top-1 error by over one point."""

from matplotlib.figure import Figure

from alexnet.reproduce.arms import BASE
from alexnet.reproduce.experiment import (
    Comparison,
    Evidence,
    Experiment,
    Found,
    Planned,
    Side,
    errors_compared,
    images_of,
    seeds,
)
from alexnet.reproduce.figures import dots
from alexnet.reproduce.scales import Scale

WITH = BASE.measured("ten_views", "light")
WITHOUT = WITH.but("without colour noise", augment__colour_noise=0.0)
LABELS = ("with colour noise", "without")


def arms(scale: Scale, evidence: Evidence) -> list[Planned]:
    return [Planned(arm, seeds(scale)) for arm in (WITH, WITHOUT)]


def find(evidence: Evidence) -> Found:
    under = [
        Side(label, {seed: 100 * error for seed, error in evidence.measure(arm, "light", "top1_error").items()})
        for label, arm in zip(LABELS, (WITH, WITHOUT), strict=True)
    ]
    what = "top-1 error under changed light, centre view"
    light = Comparison(what, "points", under[0], under[1], images=images_of(evidence, WITH))
    return Found(errors_compared(evidence, WITH, WITHOUT, LABELS), [light])


def draw(evidence: Evidence, found: Found) -> Figure | None:
    return dots([found.main, *found.also])


EXPERIMENT = Experiment(
    name="colour",
    title="Colour noise lowers the error",
    section="section 4.1",
    claim="Adding random multiples of the principal components of colour to each training image lowers top-1 error by "
    "over one point: an object stays the same under light of another brightness and colour.",
    paper="over 1 point of top-1",
    original="",
    differs="Ten classes, fewer images and epochs. Changed light: red, green and blue of each validation image are "
    "multiplied by 0.6 to 1.4 at random, the same for every network.",
    arms=arms,
    find=find,
    draw=draw,
    caption="Errors of each seed with and without colour noise, on the validation images and under changed light.",
)
