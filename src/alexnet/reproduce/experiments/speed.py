"""Section 1: training took five to six days on two GTX 580."""

from statistics import mean

from matplotlib.figure import Figure

from alexnet.bench.network import EPOCHS, IMAGES
from alexnet.reproduce.experiment import Comparison, Evidence, Experiment, Found, Planned, Side
from alexnet.reproduce.figures import dots
from alexnet.reproduce.scales import Scale

THEN = 5.5
"""Days: five to six."""
SECONDS = 24 * 3600


def arms(scale: Scale, evidence: Evidence) -> list[Planned]:
    return []


def find(evidence: Evidence) -> Found:
    timing = evidence.timings.get("speed")
    rounds = timing["seconds_per_image"]["training"] if timing else []
    days = {i: EPOCHS * IMAGES * seconds / SECONDS for i, seconds in enumerate(rounds)}
    main = Comparison(
        "days for 90 epochs of 1.28 million images",
        "days",
        Side("this machine", days),
        Side("two GTX 580, 2012", dict.fromkeys(days, THEN)),
        judged=False,
    )
    if timing is None:
        return Found(main)
    rate, where = 1 / mean(rounds), timing["machine"]["processor"] or timing["device"]
    whole = evidence.scale.speed_network.width == 1
    notes = [
        f"{rate:,.0f} images per second ({where}, {timing['dtype']})"
        + (
            f": 90 epochs of ImageNet in {mean(days.values()):.1f} days."
            if whole
            else ", of a much smaller network than the paper's: not to be compared."
        )
    ]
    return Found(main, (), {"images_per_second": rate, "machine": timing["machine"]}, notes)


def draw(evidence: Evidence, found: Found) -> Figure | None:
    return dots([found.main])


EXPERIMENT = Experiment(
    name="speed",
    title="Training takes days",
    section="section 1",
    claim="Training for about 90 epochs of 1.2 million images took five to six days on two GTX 580 with 3 GB.",
    paper="5 to 6 days on two GTX 580",
    original="",
    differs="Another machine. The training steps are those of the paper's network at 224 pixels, on one batch.",
    arms=arms,
    find=find,
    draw=draw,
    caption="Days for the paper's training at the speed of each round, beside those of 2012.",
    timings=("speed",),
)
