"""Of many steps of a training: means of neighbouring ones, and where the learning rate falls."""

import numpy as np


def smoothed(rows: np.ndarray, points: int) -> np.ndarray:
    """Means of neighbouring rows [N, K], about `points` of them; of fewer rows, the rows. Where a value is missing in
    all of them, NaN."""
    width = max(1, len(rows) // points)
    whole = len(rows) // width * width
    return rows[:whole].reshape(-1, width, rows.shape[1]).mean(1)


def drops(epochs: np.ndarray, rates: np.ndarray) -> list[tuple[float, float]]:
    """(epoch, new learning rate) where it falls to less than three quarters from one step to the next; both [N]."""
    fell = np.flatnonzero(rates[1:] < 0.75 * rates[:-1])
    return [(float(epochs[i]), float(rates[i + 1])) for i in fell]
