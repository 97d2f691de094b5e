"""From what a checker says of probes to the smallest size that it sees; and how large a spot in a picture is."""

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_laplace

from tasks.metrics.statistics.additive import combiner

LEVEL = 0.8  # sensitivity from which a lesion counts as seen
SCALES = 28  # diameters among which a spot's is chosen, in even ratios
SMALLEST = 2.0  # pixels


def monotone(shares: np.ndarray) -> np.ndarray:
    """The non-decreasing sequence nearest in squares to each row of (R, S), of equal weights: isotonic regression.
    y_i = max_{j <= i} min_{k >= i} mean(x_j .. x_k) (Robertson, Wright and Dykstra 1988, theorem 1.4.4)"""
    count = shares.shape[1]
    sums = np.concatenate([np.zeros((len(shares), 1)), shares.cumsum(axis=1)], axis=1)
    result = np.empty_like(shares, dtype=np.float64)
    for i in range(count):
        means = [[(sums[:, k + 1] - sums[:, j]) / (k + 1 - j) for k in range(i, count)] for j in range(i + 1)]
        result[:, i] = np.max(np.min(means, axis=1), axis=0)
    return result


def crossing(shares: np.ndarray, sizes: Sequence[float], level: float = LEVEL) -> np.ndarray:
    """The size at which each row of sensitivities (R, S) reaches `level`: (R,), NaN where it does not.
    Rows are made monotone; between two sizes it is linear in the logarithm of size. Where the smallest size is seen already, it
    is the answer: the limit is no larger."""
    rising, logs = monotone(shares) + 1e-12, np.log(np.asarray(sizes, dtype=np.float64))
    reached = rising >= level
    first = reached.argmax(axis=1)
    rows = np.arange(len(rising))
    before = np.maximum(first - 1, 0)
    low, high = rising[rows, before], rising[rows, first]
    share = np.where(first > 0, (level - low) / np.where(high > low, high - low, 1.0), 1.0)
    found = np.exp(logs[before] + share * (logs[first] - logs[before]))
    return np.where(reached.any(axis=1), found, np.nan)


@combiner("smallest-seen", smooth=False)
def smallest_seen(sums: np.ndarray, *, sizes: Sequence[float], level: float) -> np.ndarray:
    """Hits at each size and the number of probes, (R, S + 1) -> the size at which `level` is reached, (R,).
    A resample that does not reach it counts as the largest size: the interval is censored there."""
    found = crossing(sums[:, :-1] / np.maximum(sums[:, -1:], 1.0), sizes, level)
    return np.where(np.isnan(found), sizes[-1], found)


def area_under_curve(present: np.ndarray, absent: np.ndarray) -> float:
    """AUC of P positives against N negatives: the chance that a positive ranks higher, ties half (Mann and Whitney 1947)."""
    more = (present[:, None] > absent[None]).mean()
    return float(more + 0.5 * (present[:, None] == absent[None]).mean())


def spot_diameter(image: Image.Image, box: tuple[float, float, float, float]) -> float:
    """Diameter of the most marked bright spot in a box, as a share of the picture's side. A disc of diameter d answers most to
    the scale-normalised Laplacian of a Gaussian of sigma = d / (2 sqrt(2)) (Lindeberg 1998). Diameters from `SMALLEST` pixels
    to a quarter of the side are tried. `box`: left, top, right, bottom, in units of the side; the spot's centre is within."""
    grey = np.asarray(image.convert("L"), dtype=np.float64)
    side = grey.shape[0]
    left, top, right, bottom = (round(edge * side) for edge in box)
    best = (-math.inf, SMALLEST)
    for diameter in np.geomspace(SMALLEST, side / 4, SCALES):
        sigma = diameter / (2 * math.sqrt(2))
        answer = -(sigma**2) * gaussian_laplace(grey, sigma)[top:bottom, left:right].min()
        best = max(best, (float(answer), float(diameter)))
    return best[1] / side
