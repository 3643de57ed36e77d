"""Section 4.1: the transformed images cost nothing, since they are made while the previous batch is trained on."""

from statistics import mean

from matplotlib.figure import Figure

from alexnet.reproduce.experiment import Comparison, Evidence, Experiment, Found, Planned, Side
from alexnet.reproduce.figures import dots
from alexnet.reproduce.scales import Scale
from alexnet.reproduce.timing import Timing

MARGIN = 1.03
"""How much slower still counts as free."""


def arms(scale: Scale, evidence: Evidence) -> list[Planned]:
    return []


def find(evidence: Evidence) -> Found:
    timing = evidence.timings.get("augmentation")
    with_, without = [list(each) for each in timing["seconds_per_image"].values()] if timing else ([], [])
    main = Comparison(
        "milliseconds of training for an image",
        "ms",
        Side("with crops, mirroring and colour noise", {i: 1000 * each for i, each in enumerate(with_)}),
        Side("without, and 3 % more", {i: 1000 * MARGIN * each for i, each in enumerate(without)}),
    )
    if timing is None:
        return Found(main)
    ratio = mean(with_) / mean(without)
    notes = [f"A step with augmentation takes {ratio:.3f} of the time of one without ({_where(timing)})."]
    return Found(main, (), {"ratio": ratio, "machine": timing["machine"]}, notes)


def _where(timing: Timing) -> str:
    busy = timing["others"]
    beside = f"; other programs kept {busy:.1f} cores busy" if busy > 0.1 else ""
    return f"{timing['machine']['processor'] or timing['device']}, {timing['dtype']}{beside}"


def draw(evidence: Evidence, found: Found) -> Figure | None:
    return dots([found.main])


EXPERIMENT = Experiment(
    name="augmentation-is-free",
    title="Augmentation costs no time",
    section="section 4.1",
    claim="The transformed images are made by the CPU while the GPUs train on the previous batch, so they are in "
    "effect free.",
    paper="computationally free",
    original="",
    differs="On a CPU that trains too, nothing is free: the same cores do both. Free means at most 3 % slower. The "
    "values are of rounds, not of seeds.",
    arms=arms,
    find=find,
    draw=draw,
    caption="Time of training for an image, fed by the loader with and without augmentation; lines join the "
    "measurements of a round.",
    timings=("augmentation",),
)
