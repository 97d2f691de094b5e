from importlib.metadata import EntryPoint

import pytest

from benchmark.run.data import Data
from benchmark.run.runner import choose
from benchmark.systems import best_device, joined, model_terms, open_model, withheld
from medim.common.errors import UserError
from medim.data.phantom.worlds import default_world


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


def test_a_trained_model_runs_in_the_type_that_is_asked_for():
    plain, told = open_model("phantom-tiny", "cpu", {}), open_model("phantom-tiny", "cpu", {"dtype": "float32"})
    assert plain.settings() == told.settings()
    assert "dtype" not in plain.settings()
    short = {"sampling.image.steps": "2", "sampling.report.steps": "2"}
    for dtype in ("bfloat16", "float16"):
        model = open_model("phantom-tiny", "cpu", {"dtype": dtype, **short})
        assert model.settings()["dtype"] == str(model.model.dtype).removeprefix("torch.") == dtype
        assert model.fingerprint == plain.fingerprint
        image, report = model.generate_pairs([""], seeds=[0])[0]
        nats = model.log_likelihood([image], [report], draws=1).nats
        assert nats == pytest.approx(plain.log_likelihood([image], [report], draws=1).nats, rel=0.05)
    with pytest.raises(UserError, match="--set dtype=half: one of float32, float16, bfloat16"):
        open_model("phantom-tiny", "cpu", {"dtype": "half"})


def test_a_baseline_draws_on_the_data_set():
    system = open_model("baseline:constant", "cpu", {"training": "8"}, default_world(32))
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
        open_model(name, "cpu", {}, default_world(32))


def test_without_a_device_the_gpu_is_taken_where_there_is_one(monkeypatch, dataset):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    for present, expected in ((True, "cuda:0"), (False, "cpu")):
        monkeypatch.setattr("torch.cuda.is_available", lambda present=present: present)
        assert best_device(None) == expected
        assert Data(dataset, "test", 8, [], seed=0, device=None).context.device == expected
        assert Data(dataset, "test", 8, [], seed=0, device="cpu").context.device == best_device("cpu") == "cpu"


def test_a_task_may_refuse_a_system(colour_tasks, model, dataset, monkeypatch):
    task = colour_tasks["joint-generation"]
    monkeypatch.setattr(task, "refuses", lambda system: f"{system.name} has no likelihood", raising=False)
    chosen, skipped = choose(["all"], model, dataset)
    assert [task.name for task in chosen] == ["image-generation", "report-generation"]
    assert skipped == {"joint-generation": "painter has no likelihood"}
    with pytest.raises(UserError, match="'painter' cannot do joint-generation: painter has no likelihood"):
        choose(["joint-generation", "all"], model, dataset)


def test_a_system_that_can_do_nothing_is_refused(colour_tasks, model, dataset, monkeypatch):
    monkeypatch.setattr(model, "cannot", lambda task: "it is asleep", raising=False)
    with pytest.raises(UserError, match="'painter' can do no task: image-generation: it is asleep; report"):
        choose(["all"], model, dataset)


@pytest.mark.parametrize(
    "terms",
    [
        "PhysioNet Credentialed Health Data License 1.5.0",
        "under a data use agreement",
        "DUA signed",
        "Restricted access",
        "MIMIC-CXR DUA; CC BY 4.0",
        "MIMIC-CXR (DUA)",
        "under a DUA.",
        "VinDr_DUA/2",
        "DUAs",
        "data-use agreement",
        "Data Use\n Agreements",
        "https://physionet.org",
        "restricted-access",
    ],
)
def test_terms_that_restrict_are_known_whatever_stands_beside_them(terms):
    assert withheld(terms)


@pytest.mark.parametrize(
    "terms",
    ["CC BY 4.0", "CC0-1.0 (procedural, synthetic: no patient)", "gradual release, MIT", "", "unrestricted use", "individual"],
)
def test_open(terms):
    assert not withheld(terms)


def test_a_trained_model_tells_what_it_learned_under():
    assert model_terms("phantom-tiny").startswith("CC0-1.0")
    assert model_terms("baseline:constant") is None
    assert model_terms("no/such/folder") is None


def test_terms_are_joined_each_once():
    assert joined("MIMIC-CXR DUA", None, "CC0-1.0; MIMIC-CXR DUA") == "MIMIC-CXR DUA; CC0-1.0"
    assert withheld(joined("CC0-1.0", "MIMIC-CXR DUA"))
