"""The random numbers of a sample: from its own seed, whatever batch it stands in."""

from collections.abc import Sequence

import numpy as np
import torch


def noise(seeds: Sequence[int], rounds: int, positions: int) -> torch.Tensor:
    """Uniform numbers (rounds, 2, B, positions), each sample's from its own seed: the same in any batch."""
    streams = [np.random.Generator(np.random.Philox(np.random.SeedSequence([seed]))) for seed in seeds]
    draws = np.stack([stream.random((rounds, 2, positions), dtype=np.float32) for stream in streams], axis=2)
    return torch.from_numpy(draws)
