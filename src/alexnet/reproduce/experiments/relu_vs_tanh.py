"""Section 3.1, figure 1: with ReLU a four-layer network comes to 25 % training error on CIFAR-10 six times sooner.

As in the paper, the learning rate is chosen for each nonlinearity independently, to make training as fast as possible,
and nothing regularises: no weight decay, no dropout, no augmentation. The learning rates are compared by shorter runs
with a seed of their own, which judges nothing.
"""

from collections.abc import Sequence
from statistics import mean
from typing import Any

from matplotlib.figure import Figure

from alexnet.reproduce.arms import FOUR_LAYERS, Arm
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
from alexnet.reproduce.figures import training_error_curves
from alexnet.reproduce.results import Result
from alexnet.reproduce.scales import Scale

BOTH, LABELS = ("relu", "tanh"), ("ReLU", "tanh")
SEARCH_SEED = 100
"""The seed of the runs that only choose a learning rate."""


def rates(scale: Scale, which: str) -> Sequence[float]:
    return scale.relu_rates if which == "relu" else scale.tanh_rates


def epochs(scale: Scale, which: str) -> int:
    return scale.relu_epochs if which == "relu" else scale.tanh_epochs


def search_epochs(scale: Scale, which: str) -> int:
    """Epochs after which the learning rates are compared."""
    return max(1, epochs(scale, which) // 4)


def arm(scale: Scale, which: str, lr: float, *, search: bool = False) -> Arm:
    """The four-layer network without any regularisation, at one learning rate."""
    count = search_epochs(scale, which) if search else epochs(scale, which)
    return FOUR_LAYERS.measured().but(
        "ReLU" if which == "relu" else "tanh",
        network__activation=which,
        network__lrn="none",
        optim__weight_decay=0.0,
        optim__lr=lr,
        augment__random_crop=False,
        augment__mirror=False,
        schedule__drop_epochs=(),
        batch_size=scale.figure1_batch,
        epochs=count,
        evaluate_every=count,
    )


def fastest(evidence: Evidence, which: str) -> float | None:
    """The learning rate with the lowest training error after the epochs of the search; None before all are tried. Where
    the scale has only one, that."""
    if len(rates(evidence.scale, which)) == 1:
        return rates(evidence.scale, which)[0]
    found = searched(evidence, which)
    return min(found, key=lambda lr: found[lr]) if len(found) == len(rates(evidence.scale, which)) else None


def searched(evidence: Evidence, which: str) -> dict[float, float]:
    """The training error after the epochs of the search, by learning rate, as far as they have been tried."""
    results = {lr: evidence.of(arm(evidence.scale, which, lr, search=True)) for lr in rates(evidence.scale, which)}
    return {lr: last(found[SEARCH_SEED]) for lr, found in results.items() if SEARCH_SEED in found}


def epochs_to(result: Result, target: float) -> float:
    """Epochs until the training error, the mean over the last three tenths of an epoch, is at the target; infinite
    where it never is."""
    if result["diverged"]:
        return float("inf")
    for number, error in enumerate(smooth(result["curves"]["train_top1_error"]), start=1):
        if error <= target:
            return number / result["curves"]["parts"]
    return float("inf")


def smooth(values: Sequence[float]) -> list[float]:
    """Each value's mean with the two before it."""
    return [mean(values[max(0, i - 2) : i + 1]) for i in range(len(values))]


def last(result: Result) -> float:
    """The training error in the end; 1 for a run that diverged."""
    return 1.0 if result["diverged"] else smooth(result["curves"]["train_top1_error"])[-1]


def arms(scale: Scale, evidence: Evidence) -> list[Planned]:
    search = [
        Planned(arm(scale, which, lr, search=True), [SEARCH_SEED])
        for which in BOTH
        for lr in rates(scale, which)
        if len(rates(scale, which)) > 1
    ]
    final = []
    for which in BOTH:
        lr = fastest(evidence, which)
        if lr is None:
            final.append(Planned(arm(scale, which, rates(scale, which)[0]), seeds(scale), epochs(scale, which)))
        else:
            final.append(Planned(arm(scale, which, lr), seeds(scale)))
    return [*search, *final]


def curves_of(evidence: Evidence, which: str) -> dict[int, Result]:
    """The results that judge, by seed."""
    lr = fastest(evidence, which)
    if lr is None:
        return {}
    return {seed: each for seed, each in evidence.of(arm(evidence.scale, which, lr)).items() if seed != SEARCH_SEED}


def times(evidence: Evidence, which: str) -> Values:
    """Epochs to the target; where a run never came to it, the epochs that it was trained for."""
    return {
        seed: min(epochs_to(result, evidence.scale.figure1_target), float(epochs(evidence.scale, which)))
        for seed, result in curves_of(evidence, which).items()
    }


def find(evidence: Evidence) -> Found:
    target = evidence.scale.figure1_target
    relu, tanh = (Side(label, times(evidence, which)) for label, which in zip(LABELS, BOTH, strict=True))
    main = Comparison(
        f"epochs to {target:.0%} training error".replace("%", " %"),
        "epochs",
        relu,
        tanh,
        images=_training_images(evidence),
    )
    measured: dict[str, Any] = {
        "training_error_by_learning_rate": {
            which: {f"{lr:g}": round(error, 4) for lr, error in searched(evidence, which).items()} for which in BOTH
        },
        "learning_rate": {which: fastest(evidence, which) for which in BOTH},
    }
    notes = []
    if relu.values and tanh.values and max(relu.values.values()) < epochs(evidence.scale, "relu"):
        ratio = mean(tanh.values.values()) / mean(relu.values.values())
        measured["ratio"] = ratio
        never = [s for s, each in curves_of(evidence, "tanh").items() if epochs_to(each, target) == float("inf")]
        least = "at least " if never else ""
        notes.append(f"ReLU is {least}{ratio:.1f} times faster (paper: six times).")
        if never:
            notes.append(
                f"With tanh, {len(never)} of {len(tanh.values)} runs did not come to it in the epochs they had; "
                "these epochs are counted, so that the true difference is larger."
            )
    return Found(main, measured=measured, notes=notes)


def _training_images(evidence: Evidence) -> int:
    """Images that the training error is a mean over: three tenths of an epoch."""
    found = [each for which in BOTH for each in curves_of(evidence, which).values()]
    return round(0.3 * found[0]["data"]["train"]) if found else images_of(evidence)


def draw(evidence: Evidence, found: Found) -> Figure | None:
    curves = {
        which: [each["curves"] for each in curves_of(evidence, which).values() if not each["diverged"]]
        for which in BOTH
    }
    if not all(curves.values()):
        return None
    labels = {which: f"{name}, learning rate {fastest(evidence, which):g}" for which, name in
              (("relu", "ReLU"), ("tanh", "tanh"))}  # fmt: skip
    return training_error_curves(curves, labels, evidence.scale.figure1_target)


EXPERIMENT = Experiment(
    name="relu-vs-tanh",
    title="ReLU trains several times faster than tanh",
    section="section 3.1, figure 1",
    claim="A four-layer network comes to 25 % training error on CIFAR-10 six times sooner with ReLU than with tanh.",
    paper="six times sooner",
    original="",
    differs="The network sees the central 24 of 32 pixels; at scale small it has half the width, and batches are "
    "smaller, which makes all epochs fewer. A few learning rates are tried for each nonlinearity, by shorter runs with "
    "another seed. The training error is that of the training batches, averaged over three tenths of an epoch.",
    arms=arms,
    find=find,
    draw=draw,
    caption="Training error on CIFAR-10 with ReLU (solid) and with tanh (dashed), as figure 1 of the paper: the mean, "
    "and each seed in grey.",
    lesson="Both networks are alike but for one function. Look where the two curves cross the horizontal line.",
)
