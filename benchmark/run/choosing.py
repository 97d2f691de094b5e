"""Which tasks a system is asked: those named, in the registry's order; what it cannot do is refused, or skipped under `all`."""

from collections.abc import Mapping, Sequence
from typing import Any

from medim.common.errors import UserError, unknown
from medim.data.dataset import PairDataset
from tasks.cases import has_images
from tasks.protocols import Answered, Generator, Limited
from tasks.task import Particular, Selective, Task

ALL = "all"
TEXT_ONLY = ("report-generation",)  # tasks that a set of reports alone can score


def choose(
    names: Sequence[str], registry: Mapping[str, Task], model: Generator | Answered, dataset: PairDataset
) -> tuple[list[Task], dict[str, str]]:
    """The tasks to be done, and those that `all` would have had and this system cannot do, with the reason.

    Raises:
        UserError: an unknown name, a task named that the system or the data cannot do, or none that they can.
    """
    for name in names:
        if name != ALL and name not in registry:
            raise unknown("task", name, [*registry, ALL])
    chosen: list[Task] = []
    skipped: dict[str, str] = {}
    for name, task in registry.items():
        if name not in names and ALL not in names:
            continue
        reason = reason_against(task, model, dataset)
        if reason is None:
            chosen.append(task)
        elif name in names:
            raise UserError(f"'{model.name}' cannot do {name}: {reason}")
        else:
            skipped[name] = reason
    if not chosen:
        raise UserError(f"'{model.name}' can do no task: {'; '.join(f'{name}: {reason}' for name, reason in skipped.items())}")
    return chosen, skipped


def reason_against(task: Task, model: Any, dataset: PairDataset) -> str | None:
    """Why this task cannot be done by this system on this data; None where it can."""
    if not has_images(dataset) and (task.name not in TEXT_ONLY or not isinstance(model, Answered)):
        what = (
            "an image is needed of every case" if task.name not in TEXT_ONLY else "only a folder of predictions can be scored"
        )
        return f"data set '{dataset.name}' holds reports alone: {what}"
    if isinstance(task, Selective) and (reason := task.refuses(model)) is not None:
        return reason
    if isinstance(task, Particular) and (reason := task.refuses_data(dataset)) is not None:
        return reason
    return model.cannot(task.name) if isinstance(model, Limited) else None
