"""One batch through a generator: asked, timed, and checked to be complete."""

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from medim.errors import UserError

Output = TypeVar("Output")


def timed_batch(
    generate: Callable[[], list[Output]], name: str, what: str, count: int
) -> tuple[list[Output], dict[str, float]]:
    """The outputs of one batch, and the cost of each: its share of the batch's wall time in seconds.

    Raises:
        UserError: another number of outputs than was asked for.
    """
    start = time.perf_counter()
    outputs = generate()
    seconds = time.perf_counter() - start
    if len(outputs) != count:
        raise UserError(f"generator '{name}' gave {len(outputs)} {what} for {count} cases")
    return outputs, {"seconds": seconds / count}


def check_seeds(cases: Sequence[object], seeds: Sequence[int]) -> None:
    """Raises ValueError unless there is one seed per case."""
    if len(cases) != len(seeds) or not cases:
        raise ValueError(f"{len(cases)} cases but {len(seeds)} seeds")
