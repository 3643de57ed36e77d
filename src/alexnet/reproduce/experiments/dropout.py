"""Section 4.2: without dropout the network overfits; with it, it takes about twice the iterations to converge."""

from statistics import mean

from matplotlib.figure import Figure

from alexnet.reproduce.arms import BASE, Arm
from alexnet.reproduce.experiment import (
    Comparison,
    Evidence,
    Experiment,
    Found,
    Planned,
    Side,
    Values,
    errors_compared,
    gap_compared,
    seeds,
)
from alexnet.reproduce.figures import learning_curves
from alexnet.reproduce.scales import Scale

WITHOUT = BASE.but("without dropout", network__dropout=0.0)
LABELS = ("with dropout", "without")


def arms(scale: Scale, evidence: Evidence) -> list[Planned]:
    return [Planned(arm, seeds(scale)) for arm in (BASE, WITHOUT)]


def epochs_to_best(evidence: Evidence, arm: Arm) -> Values:
    """Epochs done at the lowest validation error."""
    found = {}
    for seed, result in evidence.of(arm).items():
        errors = result["curves"]["top1_error"]
        if errors and not result["diverged"]:
            found[seed] = result["curves"]["epochs"][errors.index(min(errors))]
    return found


def find(evidence: Evidence) -> Found:
    with_, without = (epochs_to_best(evidence, arm) for arm in (BASE, WITHOUT))
    time = Comparison(
        "epochs to the lowest validation error", "epochs", Side("without dropout", without), Side("with", with_)
    )
    notes, measured = [], {}
    if with_ and without:
        measured["ratio"] = mean(with_.values()) / max(mean(without.values()), 1e-9)
        notes.append(
            f"Epochs to the lowest validation error: {mean(with_.values()):.1f} with dropout, "
            f"{mean(without.values()):.1f} without, {measured['ratio']:.1f} times as many (paper: about twice)."
        )
    errors = errors_compared(evidence, BASE, WITHOUT, LABELS)
    return Found(gap_compared(evidence, BASE, WITHOUT, LABELS), [errors, time], measured, notes)


def draw(evidence: Evidence, found: Found) -> Figure | None:
    return learning_curves(evidence, dict(zip(LABELS, (BASE, WITHOUT), strict=True)))


EXPERIMENT = Experiment(
    name="dropout",
    title="Dropout prevents overfitting",
    section="section 4.2",
    claim="Without dropout the network exhibits substantial overfitting; dropout roughly doubles the iterations "
    "required to converge.",
    paper="no number for overfitting; about twice the iterations",
    original="",
    differs="Ten classes, fewer images and epochs. Overfitting is the gap between the errors on validation and on "
    "training images, both from the centre view and without dropout. The learning rate drops at fixed epochs, which "
    "also decides when the error is lowest.",
    arms=arms,
    find=find,
    draw=draw,
    caption="Error on training batches (dashed; with dropout it acts on them too) and on validation images (solid), "
    "with and without dropout; one line for each seed.",
)
