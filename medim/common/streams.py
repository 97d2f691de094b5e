"""Random numbers by name: what is drawn depends on the key alone, not on process, batch or what was drawn before."""

import numpy as np

GOLDEN = 0.6180339887498949
"""frac(k * GOLDEN) is a low-discrepancy sequence: any consecutive draws, hence any global batch, cover [0, 1] evenly."""


def stream(seed: int, *key: int) -> np.random.Generator:
    """A generator that depends on the key alone."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, *key])))
