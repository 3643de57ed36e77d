"""Figure 3: the kernels of one tower are colour-agnostic, those of the other colour-specific, in every run."""

import numpy as np
from matplotlib.figure import Figure

from alexnet.reproduce.arms import BASE
from alexnet.reproduce.experiment import Comparison, Evidence, Experiment, Found, Planned, Side, seeds
from alexnet.reproduce.scales import Scale
from alexnet.study import plots
from alexnet.study.tiles import colourfulness

ARM = BASE.measured("ten_views", "kernels")
SPLITS = 500
"""Random halves of the kernels that the towers are compared with."""


def arms(scale: Scale, evidence: Evidence) -> list[Planned]:
    return [Planned(ARM, seeds(scale))]


def apart(colours: np.ndarray) -> tuple[float, float]:
    """How far the mean colourfulness of the two towers is apart, and that of two random halves, on average; from
    float64 [K], one tower after the other. In points."""
    half = len(colours) // 2
    random = np.random.default_rng(0)
    shuffled = [random.permutation(colours) for _ in range(SPLITS)]
    halves = [abs(each[:half].mean() - each[half:].mean()) for each in shuffled]
    return 100 * abs(colours[:half].mean() - colours[half:].mean()), 100 * float(np.mean(halves))


def find(evidence: Evidence) -> Found:
    towers, halves, measured = {}, {}, {}
    for seed, result in evidence.of(ARM).items():
        if result["diverged"]:
            continue
        colours = colourfulness(evidence.array(ARM, seed, "kernels", 4))
        real, random = apart(colours)
        towers[seed], halves[seed] = 100 - real, 100 - random
        half = len(colours) // 2
        measured[str(seed)] = [round(float(each.mean()), 4) for each in (colours[:half], colours[half:])]
    main = Comparison(
        "100 minus the difference in colourfulness",
        "points",
        Side("between the towers", towers),
        Side("between random halves of the same kernels", halves),
    )
    words = "; ".join(f"seed {seed}: {100 * one:.0f} % and {100 * two:.0f} %" for seed, (one, two) in measured.items())
    notes = [f"Colourfulness of the two towers, the part of a kernel that is not grey: {words}."] if measured else []
    return Found(main, (), {"colourfulness": measured}, notes)


def draw(evidence: Evidence, found: Found) -> Figure | None:
    there = [seed for seed, result in evidence.of(ARM).items() if not result["diverged"]]
    if not there:
        return None
    return plots.kernels(evidence.array(ARM, there[0], "kernels", 4).astype(np.float32), 2)


EXPERIMENT = Experiment(
    name="kernels",
    title="One tower learns colour, the other does not",
    section="section 6.1, figure 3",
    claim="The kernels of conv1 specialise: those of one tower are largely colour-agnostic, those of the other "
    "colour-specific, in every run, whatever the initial weights.",
    paper="figure 3; no number",
    original="",
    differs="Ten classes, fewer images and epochs. Colourfulness is our measure: the part of a kernel's energy that is "
    "not grey. The towers are compared with random halves of the same kernels, which differ by chance.",
    arms=arms,
    find=find,
    draw=draw,
    caption="The kernels of conv1 of the first seed, one tower above the other, as figure 3 of the paper.",
)
