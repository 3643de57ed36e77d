"""Section 5: weight decay is not only a regulariser, it also lowers the training error."""

from matplotlib.figure import Figure

from alexnet.reproduce.arms import BASE
from alexnet.reproduce.experiment import Comparison, Evidence, Experiment, Found, Planned, Side, errors_compared, seeds
from alexnet.reproduce.figures import dots
from alexnet.reproduce.scales import Scale

WITHOUT = BASE.but("without weight decay", optim__weight_decay=0.0)
LABELS = ("weight decay 0.0005", "none")


def arms(scale: Scale, evidence: Evidence) -> list[Planned]:
    return [Planned(arm, seeds(scale)) for arm in (BASE, WITHOUT)]


def find(evidence: Evidence) -> Found:
    error, loss = (
        Comparison(
            f"{what} on training images, centre view",
            unit,
            Side(LABELS[0], evidence.training(BASE, number)),
            Side(LABELS[1], evidence.training(WITHOUT, number)),
            images=evidence.scale.train_images,
        )
        for what, unit, number in (("top-1 error", "points", "top1_error"), ("loss", "nats", "loss"))
    )
    return Found(error, [loss, errors_compared(evidence, BASE, WITHOUT, LABELS)])


def draw(evidence: Evidence, found: Found) -> Figure | None:
    return dots([found.main, *found.also])


EXPERIMENT = Experiment(
    name="weight-decay",
    title="Weight decay lowers the training error too",
    section="section 5",
    claim="The small weight decay of 0.0005 is not only a regulariser: it lowers the training error.",
    paper="no number: it was important for the model to learn",
    original="",
    differs="Ten classes, fewer images and epochs: far fewer steps for the weights to shrink in.",
    arms=arms,
    find=find,
    draw=draw,
    caption="Error and loss on training images, and error on validation images, with and without weight decay.",
)
