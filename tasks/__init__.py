"""Tasks of the benchmark, found by name: built in, or registered by another package."""

from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING

from medim.common.errors import foreign, unknown

if TYPE_CHECKING:
    from tasks.task import Task

ENTRY_POINTS = "medim.tasks"
BUILT_IN = {
    "image-generation": "tasks.generation.image:ImageGeneration",
    "report-generation": "tasks.generation.report:ReportGeneration",
    "joint-generation": "tasks.generation.joint.task:JointGeneration",
    "likelihood": "tasks.likelihood:Likelihood",
    "memorisation": "tasks.memorisation.task:Memorisation",
    "long-form": "tasks.generation.long_form.task:LongForm",
    "fine-detail": "tasks.fine_detail.task:FineDetail",
    "editing": "tasks.editing.task:Editing",
    "editing-removal": "tasks.editing.task:EditingRemoval",
    "inpainting": "tasks.editing.task:Inpainting",
}
AUGMENTATION = "augmentation"
"""The task that trains models and stands alone in its folder (`benchmark.augmentation`); it is no part of "all"."""


def task_names() -> list[str]:
    """Returns the names of all tasks, those of other packages last; imports none of them."""
    return [*BUILT_IN, *sorted(_registered())]


@cache
def task_named(name: str) -> "Task":
    """Returns the task of this name.
    Raises UserError: an unknown name (the nearest is named), or a package's task that is none."""
    if name in BUILT_IN:
        module, _, attribute = BUILT_IN[name].partition(":")
        return getattr(import_module(module), attribute)()
    entry = _registered().get(name)
    if entry is None:
        raise unknown("task", name, task_names())
    from tasks.task import Task  # lazy: start-up

    with foreign(f"task '{name}' ({entry.value})"):
        task = entry.load()()
        if not isinstance(task, Task) or task.name != name:
            raise TypeError(f"gave {task!r}, which is no tasks.task.Task of this name")
    return task


def all_tasks() -> dict[str, "Task"]:
    """Returns every task by name, in their order."""
    return {task.name: task for task in sorted(map(task_named, task_names()), key=lambda task: (task.order, task.name))}


def task_version(name: str) -> str | None:
    """Returns what scores of another package's task depend on beside this code; None for a built-in task."""
    entry = _registered().get(name)
    return None if entry is None else f"{entry.value} {entry.dist.version if entry.dist is not None else ''}"


def _registered() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=ENTRY_POINTS) if entry.name not in BUILT_IN}
