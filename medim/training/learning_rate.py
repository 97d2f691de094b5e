"""The paper's learning rate: warm-up, then cosine cycles that restart, each twice as long as the one before."""

import math


def cosine_with_doubling_restarts(step: int, warmup: int, first: int) -> float:
    """Factor of the peak rate at an optimiser step.

    Linear from 0 over `warmup` steps; then (1 + cos(pi r)) / 2 with r the share of the current cycle that has passed. Cycles
    last `first`, 2 `first`, 4 `first`, ... steps (SGDR with T_mult = 2, Loshchilov and Hutter 2017).

    >>> [round(cosine_with_doubling_restarts(step, 10, 100), 3) for step in (0, 5, 10, 60, 109, 110, 210, 309, 310)]
    [0.0, 0.5, 1.0, 0.5, 0.0, 1.0, 0.5, 0.0, 1.0]
    """
    if step < warmup:
        return step / warmup
    step -= warmup
    cycle = int(math.log2(step // first + 1))
    start, length = first * (2**cycle - 1), first * 2**cycle
    return (1 + math.cos(math.pi * (step - start) / length)) / 2
