"""The random numbers of a sample: from its own seed, whatever batch it stands in."""

from collections.abc import Sequence

import numpy as np
import torch

from medim.common.streams import stream

GRID = 2.0**-24
"""Step of a float32 in [0, 1). Of 262,000 ids that share 0.001, hardly one in twenty holds a point of such a grid."""


def noise(seeds: Sequence[int], rounds: int, positions: int) -> torch.Tensor:
    """Uniform numbers (rounds, 3, B, positions), each sample's from its own seed: the same in any batch.

    Those of a round are for the tokens, for the order, and what those for the tokens lack below `GRID` (see `fine`).
    """
    first = [np.random.Generator(np.random.Philox(np.random.SeedSequence([seed]))) for seed in seeds]
    draws = np.stack([own.random((rounds, 2, positions), dtype=np.float32) for own in first], axis=2)
    below = np.stack([stream(seed, 6).random((rounds, 1, positions), dtype=np.float32) for seed in seeds], axis=2)
    return torch.from_numpy(np.concatenate([draws, below], axis=1))


def fine(uniform: torch.Tensor) -> torch.Tensor:
    """The numbers for the tokens of one round, float64, of `noise` (3, ...); they lie on a grid of 2^-48."""
    return wide(uniform[0]) + GRID * wide(uniform[2])


def wide(numbers: torch.Tensor) -> torch.Tensor:
    """In float64; on the CPU where the device has none."""
    return (numbers.cpu() if numbers.device.type == "mps" else numbers).double()
