"""Image positions in an order that spreads each new few of them evenly (Besnier et al. 2025, arXiv 2503.17076)."""

from functools import cache

import numpy as np


def radical_inverse(index: np.ndarray, base: int) -> np.ndarray:
    """The digits of each index in `base`, mirrored at the point: a number in [0, 1)."""
    result, scale, rest = np.zeros(len(index)), 1.0, index.copy()
    while rest.any():
        scale /= base
        result += scale * (rest % base)
        rest //= base
    return result


@cache
def halton_order(side: int) -> tuple[int, ...]:
    """Every position of a `side` x `side` raster once, as the Halton sequence (bases 2, 3) first meets it."""
    order: dict[int, None] = {}
    start = 1
    while len(order) < side * side:
        index = np.arange(start, start + 4 * side * side)
        row = np.floor(radical_inverse(index, 2) * side).astype(int)
        column = np.floor(radical_inverse(index, 3) * side).astype(int)
        order.update(dict.fromkeys((row * side + column).tolist()))
        start += len(index)
    return tuple(order)
