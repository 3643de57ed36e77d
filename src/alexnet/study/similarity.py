"""How alike two layers see the same images: linear CKA without bias, and representational similarity analysis (RSA).

Both compare what two layers say about pairs of images, so the layers may have any number of units. From the products
of all pairs of rows, K = X X^T [N, N], each measure makes one vector of the N (N - 1) / 2 pairs, of length 1; the
similarity of two layers is the scalar product of theirs:

| measure | vector |
|---|---|
| `cka` | K, U-centred: K_ij - r_i - r_j + c without its diagonal (Szekely and Rizzo 2014); the scalar product is then |
| | HSIC_1 (Song et al. 2012), and their ratio CKA (Kornblith et al. 2019), without the bias of few images |
| `rsa_correlation` | ranks of 1 - the correlation of two rows: Spearman's correlation of two RDMs (Kriegeskorte 2008) |
| `rsa_cosine` | ranks of 1 - the cosine of two rows |
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from alexnet.files.rows import RowFile

MEASURES = {
    "cka": "linear CKA, unbiased",
    "rsa_correlation": "RSA, correlation distance",
    "rsa_cosine": "RSA, cosine distance",
}
"""What is measured, by name."""
FEWEST = 4
"""Images that the unbiased estimate needs."""
COLUMNS = 8192
"""Columns of features that are multiplied at a time in float32; their products are summed in float64."""
PAIRS_AT_ONCE = 1 << 19


@dataclass(frozen=True)
class Gram:
    """What all measures need of N rows of D features."""

    products: np.ndarray
    """X X^T, float64 [N, N]."""
    means: np.ndarray
    """The mean of each row, float64 [N]."""
    width: int
    """D."""


def product(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """x y^T of float32 [n, D] and [m, D]: float64 [n, m]."""
    total = np.zeros((len(x), len(y)))
    for first in range(0, x.shape[1], COLUMNS):
        total += x[:, first : first + COLUMNS] @ y[:, first : first + COLUMNS].T
    return total


def gram(x: np.ndarray) -> Gram:
    """Of features float32 [N, D]."""
    return Gram(product(x, x), x.mean(1, dtype=np.float64), x.shape[1])


def vectors(found: Gram) -> Iterator[tuple[str, np.ndarray]]:
    """The vector of each of `MEASURES`: float64 [N (N - 1) / 2]; NaN where all pairs are the same, as in a layer whose
    units are dead."""
    yield "cka", unit(u_centred(found.products))
    for name, distances in (("rsa_correlation", correlation_distances(found)), ("rsa_cosine", cosine_distances(found))):
        rank(distances)
        distances -= distances.mean()
        yield name, unit(distances)


def unit(vector: np.ndarray) -> np.ndarray:
    """A vector divided by its length, in place; NaN for one that is only rounding errors long."""
    length = float(np.linalg.norm(vector))
    return np.divide(vector, length if length > 0 else np.nan, out=vector)


def pairs(matrix: np.ndarray) -> np.ndarray:
    """The entries above the diagonal of [N, N], row by row, as `scipy.spatial.distance.squareform` orders them."""
    n = len(matrix)
    found = np.empty(n * (n - 1) // 2)
    first = 0
    for row in range(n - 1):
        found[first : first + n - 1 - row] = matrix[row, row + 1 :]
        first += n - 1 - row
    return found


def u_centred(products: np.ndarray) -> np.ndarray:
    """The pairs of the U-centred matrix of products [N, N]: float64 [N (N - 1) / 2]."""
    n = len(products)
    assert n >= FEWEST
    rows = products.sum(1) - products.diagonal()
    total = rows.sum() / ((n - 1) * (n - 2))
    rows = rows / (n - 2)
    found = pairs(products)
    scale = largest(found)
    first = 0
    for row in range(n - 1):
        found[first : first + n - 1 - row] += total - rows[row] - rows[row + 1 :]
        first += n - 1 - row
    if largest(found) <= 1e-6 * scale:  # the same features for all images, but for rounding
        found[:] = 0
    return found


def largest(values: np.ndarray) -> float:
    """The largest absolute value, without a copy."""
    return max(float(values.max()), -float(values.min()))


def correlation_distances(found: Gram) -> np.ndarray:
    """1 - the correlation of two rows, for all pairs: float64 [N (N - 1) / 2]. 1 for a row without variation."""
    return _distances(found.products, found.means * np.sqrt(found.width))


def cosine_distances(found: Gram) -> np.ndarray:
    """1 - the cosine of two rows, for all pairs: float64 [N (N - 1) / 2]. 1 for a row of zeros."""
    return _distances(found.products, np.zeros(len(found.products)))


def _distances(products: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """1 - the cosines of rows whose products are K_ij - s_i s_j."""
    squares = products.diagonal() - shift**2
    # What is left of the squares by rounding alone is no length.
    lengths = np.sqrt(np.where(squares > 1e-6 * products.diagonal(), squares, np.inf))
    found = pairs(products)
    first, n = 0, len(products)
    for row in range(n - 1):
        part = found[first : first + n - 1 - row]
        part -= shift[row] * shift[row + 1 :]
        part /= lengths[row] * lengths[row + 1 :]
        first += n - 1 - row
    return np.subtract(1, found, out=found)


def rank(values: np.ndarray) -> None:
    """Put in place of each value, float64 [N], its rank, from 1; equal values share the mean of theirs.

    In parts of their order, and each in place of the value that it is of: for 10,000 images every copy takes 400 MB.
    """
    order = np.argsort(values)
    first = 0
    while first < len(order):
        end = first + PAIRS_AT_ONCE
        while end < len(order) and values[order[end]] == values[order[end - 1]]:  # equal values stay together
            same = values[order[end : end + PAIRS_AT_ONCE]] == values[order[end - 1]]
            end += len(same) if same.all() else int(same.argmin())
        part = order[first:end]
        ordered = values[part]
        starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
        counts = np.diff(np.append(starts, len(ordered)))
        values[part] = np.repeat(first + starts + (counts + 1) / 2, counts)
        first = end


def scalar_products(files: Sequence[RowFile]) -> np.ndarray:
    """The scalar products of vectors on disk [P], all with all: float64 [files, files]. Reads each once, in parts."""
    total = np.zeros((len(files), len(files)))
    for first in range(0, len(files[0]), PAIRS_AT_ONCE):
        part = np.stack([file.read(first, first + PAIRS_AT_ONCE) for file in files]).astype(np.float64)
        total += part @ part.T
    return total


def similarity(x: np.ndarray, y: np.ndarray) -> Mapping[str, float]:
    """Each of `MEASURES` for features of the same N images: float32 [N, D] and [N, E]; N is at least `FEWEST`."""
    return {name: float(a @ b) for (name, a), (_, b) in zip(vectors(gram(x)), vectors(gram(y)), strict=True)}
