"""Section 5: biases of 1 speed up the early stages of learning."""

from statistics import mean

from matplotlib.figure import Figure

from alexnet.reproduce.arms import BASE, Arm
from alexnet.reproduce.experiment import Comparison, Evidence, Experiment, Found, Planned, Side, Values, seeds
from alexnet.reproduce.figures import loss_curves
from alexnet.reproduce.scales import Scale

LABELS = ("biases of 1", "biases of 0")


def first(scale: Scale, label: str, **changes: object) -> Arm:
    """The first epochs of a training, before the learning rate drops."""
    few = scale.first_epochs
    return BASE.measured().but(label, epochs=few, schedule__drop_epochs=(), evaluate_every=few, **changes)


def pair(scale: Scale) -> tuple[Arm, Arm]:
    return first(scale, LABELS[0]), first(scale, LABELS[1], network__initial_bias=(0,) * 8)


def papers_weights(scale: Scale) -> Arm:
    return first(scale, "weights of 0.01 everywhere", network__initial_std=(0.01,) * 8)


def arms(scale: Scale, evidence: Evidence) -> list[Planned]:
    return [Planned(arm, seeds(scale)) for arm in (*pair(scale), papers_weights(scale))]


def loss(evidence: Evidence, arm: Arm) -> Values:
    """Mean training loss over the first epochs; a run that diverged counts with the loss of guessing or its own."""
    found = {}
    for seed, result in evidence.of(arm).items():
        if result["curves"]["train_loss"]:
            found[seed] = mean(result["curves"]["train_loss"])
    return found


def find(evidence: Evidence) -> Found:
    ones, zeros = pair(evidence.scale)
    main = Comparison(
        f"mean training loss of the first {evidence.scale.first_epochs} epochs",
        "nats",
        Side(LABELS[0], loss(evidence, ones)),
        Side(LABELS[1], loss(evidence, zeros)),
        [Side("biases of 1, weights of 0.01 everywhere", loss(evidence, papers_weights(evidence.scale)))],
    )
    return Found(main)


def draw(evidence: Evidence, found: Found) -> Figure | None:
    shown = {arm.label: arm for arm in (*pair(evidence.scale), papers_weights(evidence.scale))}
    return loss_curves(evidence, shown)


EXPERIMENT = Experiment(
    name="initialisation",
    title="Biases of 1 speed up the first steps",
    section="section 5",
    claim="Initial biases of 1 in conv2, conv4, conv5, fc6 and fc7 speed up the early stages of learning, since they "
    "give the ReLUs positive inputs.",
    paper="no number",
    original="the program started conv3, conv4 and conv5 with 0.03, not 0.01",
    differs="Ten classes and few images: at the smaller scales, weights of 0.01 everywhere take long to learn at all, "
    "so conv3, conv4 and conv5 start with 0.03, as in the program.",
    arms=arms,
    find=find,
    draw=draw,
    caption="Training loss over the first epochs; one line for each seed.",
)
