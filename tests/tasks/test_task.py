"""Tasks by name, and what a batch cost: its share of the wall time, and what the system itself counts."""

import pytest

from medim.common.errors import UserError
from tasks import all_tasks, task_named, task_names
from tasks.task import timed_batch


def test_tasks_by_name_and_in_order():
    assert list(all_tasks())[:4] == ["image-generation", "report-generation", "joint-generation", "likelihood"]
    assert sorted(all_tasks()) == sorted(task_names())
    assert all(name == task.name and task.title and task.intro and task.headline_metrics for name, task in all_tasks().items())
    with pytest.raises(UserError, match="unknown task 'inpaint'"):
        task_named("inpaint")


class Counts:
    def cost(self) -> dict[str, float]:
        return {"forwards": 3, "flops": 7.0}


def test_a_system_that_accounts_for_its_work_is_asked_after_it():
    outputs, cost = timed_batch(lambda: ["a", "b"], "x", "reports", 2, Counts())
    assert outputs == ["a", "b"]
    assert cost == {"seconds": cost["seconds"], "forwards": 3, "flops": 7.0}
    assert cost["seconds"] > 0


def test_any_other_has_seconds_alone():
    assert set(timed_batch(lambda: ["a"], "x", "reports", 1, object())[1]) == {"seconds"}


def test_too_few_outputs_are_an_error():
    with pytest.raises(UserError, match="generator 'x' gave 1 reports for 2 cases"):
        timed_batch(lambda: ["a"], "x", "reports", 2, Counts())
