"""Tasks of the benchmark: what a system is asked for, and how its answer is scored.

`TASKS` maps a task's name to the task. It is built at its first use: scoring needs the extra `scoring`,
the protocols of this package do not.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tasks.task import Task

    TASKS: dict[str, Task]


def __getattr__(name: str) -> Any:
    if name != "TASKS":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from tasks.editing.task import EDITING, INPAINTING, REMOVAL
    from tasks.fine_detail.task import FineDetail
    from tasks.image_generation import ImageGeneration
    from tasks.joint.task import JointGeneration
    from tasks.likelihood.task import Likelihood
    from tasks.long_form.task import LongForm
    from tasks.memorisation.task import Memorisation
    from tasks.report_generation import ReportGeneration

    edits = (EDITING, REMOVAL, INPAINTING)
    every = (
        ImageGeneration(),
        ReportGeneration(),
        JointGeneration(),
        Likelihood(),
        Memorisation(),
        LongForm(),
        FineDetail(),
        *edits,
    )
    tasks = {task.name: task for task in every}
    globals()["TASKS"] = tasks
    return tasks
