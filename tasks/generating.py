"""One batch through a generator: asked, timed, and checked to be complete."""

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from medim.common.errors import UserError
from tasks.protocols import Accounts

Output = TypeVar("Output")


def timed_batch(
    generate: Callable[[], Sequence[Output]], name: str, what: str, count: int, system: object = None
) -> tuple[Sequence[Output], dict[str, float]]:
    """The outputs of one batch, and the cost of each: its share of the batch's wall time in seconds.

    Args:
        system: what generated; where it `Accounts` for its calls, what it tells is added.

    Raises:
        UserError: another number of outputs than was asked for.
    """
    start = time.perf_counter()
    outputs = generate()
    seconds = time.perf_counter() - start
    if len(outputs) != count:
        raise UserError(f"generator '{name}' gave {len(outputs)} {what} for {count} cases")
    told = dict(system.cost()) if isinstance(system, Accounts) else {}
    return outputs, {"seconds": seconds / count, **told}


def check_seeds(cases: Sequence[object], seeds: Sequence[int]) -> None:
    """Raises ValueError unless there is one seed per case."""
    if len(cases) != len(seeds) or not cases:
        raise ValueError(f"{len(cases)} cases but {len(seeds)} seeds")
