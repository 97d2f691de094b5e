from importlib.metadata import EntryPoint

import pytest

from benchmark.choosing import choose
from benchmark.systems import open_model
from medim.data.phantom.dataset import PhantomDataset
from medim.errors import UserError


def registered(monkeypatch, factory):
    entry = EntryPoint("theirs", "package:factory", "medim.generators")
    monkeypatch.setattr(EntryPoint, "load", lambda self: factory)
    monkeypatch.setattr("benchmark.systems.entry_points", lambda group: [entry] if group == "medim.generators" else [])


def test_an_entry_point_names_a_generator(monkeypatch, model):
    asked = []
    registered(monkeypatch, lambda argument, device, settings: asked.append((argument, device, settings)) or model)
    assert open_model("theirs:large", "cpu", {"steps": "3"}) is model
    assert open_model("theirs", "cpu", {}) is model
    assert asked == [("large", "cpu", {"steps": "3"}), (None, "cpu", {})]


def test_an_entry_point_of_something_else_is_refused(monkeypatch):
    registered(monkeypatch, lambda argument, device, settings: object())
    with pytest.raises(UserError, match=r"generator 'theirs' of the group medim\.generators is no generator"):
        open_model("theirs", "cpu", {})


def test_a_baseline_draws_on_the_data_set():
    system = open_model("baseline:constant", "cpu", {"training": "8"}, PhantomDataset(32))
    assert system.generate_reports([None], seeds=[0])[0]
    with pytest.raises(UserError, match="draws on a data set"):
        open_model("baseline:constant", "cpu", {})


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("baseline", "--model baseline needs more: baseline:nearest-neighbour"),
        ("diffusers:", "--model diffusers: needs more: diffusers:FOLDER-or-hub-id"),
        ("transformers", "needs more: transformers:FOLDER"),
        ("phantom-tinny", "did you mean 'phantom-tiny'"),
    ],
)
def test_names_that_mean_nothing_are_answered(name, message):
    with pytest.raises(UserError, match=message):
        open_model(name, "cpu", {}, PhantomDataset(32))


def test_a_task_may_refuse_a_system(colour_tasks, model, dataset, monkeypatch):
    task = colour_tasks["joint-generation"]
    monkeypatch.setattr(task, "refuses", lambda system: f"{system.name} has no likelihood", raising=False)
    chosen, skipped = choose(["all"], colour_tasks, model, dataset)
    assert [task.name for task in chosen] == ["image-generation", "report-generation"]
    assert skipped == {"joint-generation": "painter has no likelihood"}
    with pytest.raises(UserError, match="'painter' cannot do joint-generation: painter has no likelihood"):
        choose(["joint-generation", "all"], colour_tasks, model, dataset)


def test_a_system_that_can_do_nothing_is_refused(colour_tasks, model, dataset, monkeypatch):
    monkeypatch.setattr(model, "cannot", lambda task: "it is asleep", raising=False)
    with pytest.raises(UserError, match="'painter' can do no task: image-generation: it is asleep; report"):
        choose(["all"], colour_tasks, model, dataset)
