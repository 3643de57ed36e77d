"""Two networks on the same images: how often they agree, and by how much their errors differ.

The errors of two networks on the same images are not independent, so the interval of their difference is that of the
difference image by image: the normal interval, after half an image was added to each of the four cells right/right,
right/wrong, wrong/right and wrong/wrong (Agresti and Min 2005). So it keeps its 95 % with few images, and is not 0 wide
for networks that never differ.
"""

import math
from typing import Any

import numpy as np

from alexnet.training.metrics import interval

Z = 1.959964


def difference(a: np.ndarray, b: np.ndarray) -> tuple[float, tuple[float, float]]:
    """The error of B minus that of A, and its 95 % interval, from credits of the same images, float64 [N] from 0 to
    1."""
    d, n = a - b, len(a) + 2  # two images more: half a one in each cell
    mean = float(d.sum()) / n
    variance = (float((d**2).sum()) + 1) / n - mean**2
    spread = Z * math.sqrt(variance / n)
    return float(d.mean()), (max(-1.0, mean - spread), min(1.0, mean + spread))


def mcnemar(only_a: int, only_b: int) -> float:
    """The probability that of the images that one network alone gets right, a share as uneven as this is due to chance:
    McNemar's exact test, two-sided."""
    n, fewer = only_a + only_b, min(only_a, only_b)
    if n == 0 or 2 * fewer == n:
        return 1.0
    logs = (math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) for k in range(fewer + 1))
    return min(1.0, 2 * math.fsum(math.exp(each - n * math.log(2)) for each in logs))


def agreement(a: np.ndarray, b: np.ndarray) -> dict[str, Any]:
    """`agreement`, the share of images to which both networks give the same label, and its 95 % interval (Wilson's
    score interval); guesses are int64 [N]."""
    share = float((a == b).mean())
    return {"agreement": share, "agreement_interval": list(interval(share, len(a)))}


def compare_errors(a: np.ndarray, b: np.ndarray) -> dict[str, Any]:
    """From credits float64 [2, N] (top-1 and top-5): `top1_difference` and `top5_difference`, the errors of B minus
    those of A, with their intervals, the numbers of images that `only_a` and `only_b` get right (top-1), and
    `mcnemar_p`."""
    found: dict[str, Any] = {}
    for row, k in enumerate((1, 5)):
        found[f"top{k}_difference"], low_high = difference(a[row], b[row])
        found[f"top{k}_difference_interval"] = list(low_high)
    only_a, only_b = int((a[0] > b[0]).sum()), int((b[0] > a[0]).sum())
    return found | {"only_a": only_a, "only_b": only_b, "mcnemar_p": mcnemar(only_a, only_b)}
