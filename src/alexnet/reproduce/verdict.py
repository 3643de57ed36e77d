"""The rule by which a claim is judged, in one function: `judge`.

Both arms were trained with the same seeds: with the same initial weights where shapes agree, on the same images in the
same order. So each seed gives one difference, and the interval is that of the mean of the differences (paired t).
"""

import math
from collections.abc import Sequence
from statistics import mean, stdev
from typing import NamedTuple

FEWEST_SEEDS = 3
"""With fewer seeds there is no verdict."""
CONFIDENCE = 0.95

CONFIRMED, CONTRADICTED, UNRESOLVED = "confirmed", "contradicted", "not resolved at this scale"
TOO_FEW, UNMEASURED = "too few seeds", "not measured"
NOT_JUDGED = "for comparison"
"""Of a number that stands beside the paper's and proves or disproves nothing."""
VERDICTS = (CONFIRMED, CONTRADICTED, UNRESOLVED, TOO_FEW, UNMEASURED, NOT_JUDGED)


class Judged(NamedTuple):
    """What `judge` finds."""

    effect: float | None
    """Mean of the differences, other minus better; None without a seed."""
    interval: tuple[float, float] | None
    """Its 95 % interval; None with fewer than `FEWEST_SEEDS`."""
    verdict: str
    """One of `VERDICTS`."""


def judge(better: Sequence[float], other: Sequence[float]) -> Judged:
    """Judge the claim that the first arm is better. Values of the same seed stand at the same index; lower is better.

    The claim is confirmed where the whole interval of other minus better lies above zero, contradicted where it lies
    below, and else not resolved.
    """
    differences = [theirs - ours for ours, theirs in zip(better, other, strict=True)]
    if not differences:
        return Judged(None, None, UNMEASURED)
    effect = mean(differences)
    if len(differences) < FEWEST_SEEDS:
        return Judged(effect, None, TOO_FEW)
    spread = stdev(differences) / math.sqrt(len(differences))
    reach = student_quantile((1 + CONFIDENCE) / 2, len(differences) - 1) * spread
    low, high = effect - reach, effect + reach
    return Judged(effect, (low, high), CONFIRMED if low > 0 else CONTRADICTED if high < 0 else UNRESOLVED)


def student_quantile(probability: float, degrees: int) -> float:
    """The quantile of Student's t distribution with a whole number of degrees of freedom, for 0.5 <= probability < 1.

    With t = sqrt(degrees) tan(angle), the distribution function is a finite sum of powers of cos(angle), which grows
    with the angle (Abramowitz and Stegun, 26.7.3 and 26.7.4). So the angle is found by halving an interval.
    """
    low, high = 0.0, math.pi / 2
    for _ in range(100):
        angle = (low + high) / 2
        if 0.5 + _within(angle, degrees) / 2 < probability:
            low = angle
        else:
            high = angle
    return math.sqrt(degrees) * math.tan((low + high) / 2)


def _within(angle: float, degrees: int) -> float:
    """The probability of an absolute value of at most sqrt(degrees) tan(angle)."""
    odd = degrees % 2
    term, total = (math.cos(angle), 0.0) if odd else (1.0, 0.0)
    for k in range(odd + 1, degrees, 2):
        total += term
        term *= k / (k + 1) * math.cos(angle) ** 2
    return 2 / math.pi * (angle + math.sin(angle) * total) if odd else math.sin(angle) * total
