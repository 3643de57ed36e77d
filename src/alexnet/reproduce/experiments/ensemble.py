"""Section 6: averaging five networks lowers the error, and seven, two of them pre-trained on more classes, more."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.figure import Figure

from alexnet.reproduce.arms import BASE, Arm
from alexnet.reproduce.experiment import Comparison, Evidence, Experiment, Found, Planned, Side, Values, images_of
from alexnet.reproduce.figures import dots
from alexnet.reproduce.scales import Scale
from alexnet.study.scores import errors, top1_top5_credits

MEMBER = BASE.measured("ten_views", "outputs")
SIXTH = MEMBER.but("with a sixth convolution", network__sixth_conv=True)
PRETRAINED = Arm("pre-trained on more classes", "wider", measures=()).but("pre-trained", network__sixth_conv=True)
FINETUNED_SEEDS = (0, 1)
Group = Sequence[tuple[Arm, int]]


def finetuned(scale: Scale) -> Arm:
    """The pre-trained network, all layers but fc8, at a tenth of the learning rate for as many epochs."""
    rate = round(scale.bases["images"].optim.lr / 10, 10)
    arm = SIXTH.but("pre-trained and fine-tuned", optim__lr=rate)
    return Arm(arm.label, arm.data, arm.changes, PRETRAINED, arm.measures)


def sixths(scale: Scale, roles: frozenset[str]) -> Arm:
    """The arm of the two members with a sixth convolution: pre-trained where there are images of more classes."""
    return finetuned(scale) if "wider" in roles else SIXTH


def arms(scale: Scale, evidence: Evidence) -> list[Planned]:
    return [Planned(MEMBER, range(scale.members)), Planned(sixths(scale, evidence.roles), FINETUNED_SEEDS)]


def averaged(evidence: Evidence, group: Group) -> Mapping[int, float] | None:
    """Top-k error in per cent, for k = 1 and 5, of the averaged outputs; None where a member is missing."""
    outputs, truths = [], None
    for arm, seed in group:
        if seed not in evidence.of(arm) or evidence.of(arm)[seed]["diverged"]:
            return None
        outputs.append(evidence.array(arm, seed, "outputs", 2).astype(np.float64))
        own = evidence.array(arm, seed, "truths", 1).astype(np.int64)
        truths = own if truths is None else truths
        fits = outputs[-1].shape == outputs[0].shape and len(own) == len(outputs[0]) and np.array_equal(own, truths)
        if not fits or own.min() < 0 or own.max() >= outputs[0].shape[1]:
            path = evidence.results.path(evidence.runs[arm, seed])
            raise ValueError(f"The outputs beside {path} do not fit each other: delete it to measure the run again.")
    if truths is None:
        return None
    scores = torch.from_numpy(np.mean(outputs, axis=0))
    found = errors(top1_top5_credits(scores, torch.from_numpy(truths)))
    return {k: 100 * found[f"top{k}_error"] for k in (1, 5)}


def groups(evidence: Evidence) -> tuple[Group, Group]:
    """The members of the two ensembles."""
    five = [(MEMBER, seed) for seed in range(evidence.scale.members)]
    return five, [*five, *((sixths(evidence.scale, evidence.roles), seed) for seed in FINETUNED_SEEDS)]


def pretraining(evidence: Evidence) -> str:
    """How the two networks with a sixth convolution began."""
    for result in evidence.of(PRETRAINED).values():
        images = result["data"]
        return f"pre-trained on {images['train']:,} images of {images['classes']} classes, and fine-tuned"
    return "not pre-trained: there were no images of more classes"


def against_members(evidence: Evidence, group: Group, k: int = 1) -> Values:
    """The error of the ensemble, beside each single network's."""
    found = averaged(evidence, group)
    return dict.fromkeys(range(evidence.scale.members), found[k]) if found else {}


def find(evidence: Evidence) -> Found:
    five, seven = groups(evidence)
    top1, top5 = (
        Comparison(
            f"top-{k} error, ten views",
            "points",
            Side(f"{len(five)} networks", against_members(evidence, five, k)),
            Side("one network", evidence.error(MEMBER, k=k)),
            [Side(f"{len(seven)} networks", against_members(evidence, seven, k))],
            images_of(evidence, MEMBER),
        )
        for k in (1, 5)
    )
    notes = [
        "The ensemble is one; the interval is over the single networks that it is compared with.",
        f"The two networks with a sixth convolution were {pretraining(evidence)}.",
    ]
    return Found(top1, [top5], {}, notes)


def draw(evidence: Evidence, found: Found) -> Figure | None:
    return dots([found.main, *found.also])


EXPERIMENT = Experiment(
    name="ensemble",
    title="Several networks do better than one",
    section="section 6",
    claim="Averaging the outputs of five networks lowers top-1 error from 40.7 % to 38.1 %; with two more, pre-trained "
    "on all of ImageNet and fine-tuned, to 36.7 %.",
    paper="40.7 % to 38.1 % (five), 36.7 % (seven)",
    original="40.664 for one network; 39.100 and 38.990 for the pre-trained ones alone",
    differs="Ten classes, fewer images and epochs.",
    arms=arms,
    find=find,
    draw=draw,
    caption="Error of each single network, of five averaged and of seven.",
)
