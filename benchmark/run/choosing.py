"""Which tasks a system is asked: those named, in the registry's order; what it cannot do is refused, or skipped under `all`."""

from collections.abc import Sequence
from typing import Any

from medim.common.errors import UserError
from medim.data.dataset import PairDataset
from tasks import all_tasks, task_named
from tasks.cases import has_images
from tasks.protocols import Answered, Generator, Limited
from tasks.task import Task

ALL = "all"


def choose(names: Sequence[str], model: Generator | Answered, dataset: PairDataset) -> tuple[list[Task], dict[str, str]]:
    """The tasks to be done, and those that `all` would have had and this system cannot do, with the reason.

    Raises:
        UserError: an unknown name, a task named that the system or the data cannot do, or none that they can.
    """
    if ALL in names:
        candidates = list(all_tasks().values())
    else:
        candidates = sorted(map(task_named, dict.fromkeys(names)), key=lambda task: (task.order, task.name))
    chosen: list[Task] = []
    skipped: dict[str, str] = {}
    for task in candidates:
        reason = reason_against(task, model, dataset)
        if reason is None:
            chosen.append(task)
        elif task.name in names:
            raise UserError(f"'{model.name}' cannot do {task.name}: {reason}")
        else:
            skipped[task.name] = reason
    if not chosen:
        raise UserError(f"'{model.name}' can do no task: {'; '.join(f'{name}: {reason}' for name, reason in skipped.items())}")
    return chosen, skipped


def reason_against(task: Task, model: Any, dataset: PairDataset) -> str | None:
    """Why this task cannot be done by this system on this data; None where it can."""
    reports_suffice = task.needs == ("report",)
    if not has_images(dataset) and not (reports_suffice and isinstance(model, Answered)):
        what = "only a folder of predictions can be scored" if reports_suffice else "an image is needed of every case"
        return f"data set '{dataset.name}' holds reports alone: {what}"
    reason = task.refuses(model)
    if reason is None:
        reason = task.refuses_data(dataset)
    if reason is None and isinstance(model, Limited):
        reason = model.cannot(task)
    return reason
