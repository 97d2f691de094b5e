"""A task of another package, from its entry point to its table on the page."""

import json
from importlib.metadata import entry_points

import pytest
from click.testing import CliRunner

from benchmark.cli import main
from medim.common.errors import UserError
from tasks import task_named, task_names

CODE = """
from tasks.metrics.statistics.additive import Additive
from tasks.protocols import Prediction
from tasks.scoring.scores import aligned, coverage_of, make_score, reports_of
from tasks.task import Anchor, Task

class Naming(Task):
    name = "colour-naming"
    title = "Naming of colours"
    intro = "An image is given; its colour is named."
    needs = ("report",)
    headline_metrics = ("colours named",)
    order = 15

    def generate(self, generator, cases, seeds):
        reports = generator.generate_reports([case.image for case in cases], seeds=seeds)
        return [Prediction(case.id, report=report) for case, report in zip(cases, reports, strict=True)]

    def anchors(self, cases, train, reconstructs, seed):
        return [Anchor("real", [Prediction(case.id, report=case.report) for case in cases])]

    def score(self, cases, predictions, context, population=None):
        reports = reports_of(aligned(cases, predictions))
        hits = [bool(case.findings & set((report or "").split())) for case, report in zip(cases, reports, strict=True)]
        share = Additive.proportion(hits, [case.patient for case in cases])
        score = make_score("colours named", share.value(), context, len(cases), coverage_of(reports), True, additive=share)
        return [score], [{"named": float(hit)} for hit in hits]

class Nameless:
    pass
"""
METADATA = "Metadata-Version: 2.1\nName: colours-for-medim\nVersion: 0.3\n"
ENTRIES = "[medim.tasks]\ncolour-naming = colours_for_medim:Naming\nnameless = colours_for_medim:Nameless\n"


@pytest.fixture(autouse=True)
def installed(monkeypatch, tmp_path):
    site = tmp_path / "site"
    info = site / "colours_for_medim-0.3.dist-info"
    info.mkdir(parents=True)
    (site / "colours_for_medim.py").write_text(CODE)
    (info / "METADATA").write_text(METADATA)
    (info / "entry_points.txt").write_text(ENTRIES)
    monkeypatch.syspath_prepend(site)
    yield
    task_named.cache_clear()


def test_it_is_run_scored_and_shown(monkeypatch, tmp_path, model, dataset):
    monkeypatch.setattr("medim.data.loading.load_dataset", lambda name: dataset)
    monkeypatch.setattr("benchmark.run.command.open_model", lambda *_: model)

    def call(*arguments):
        result = CliRunner().invoke(main, [str(argument) for argument in arguments])
        assert result.exit_code == 0, result.output
        return result.output

    out, page = tmp_path / "out", tmp_path / "page"
    printed = call("run", "colour-naming", "--model", "painter", "--data", "colours", "--out", out, "--cache", "none")
    assert "colour-naming    colours named" in printed
    card = json.loads((out / "manifest.json").read_text())["cards"]["colour-naming"]
    assert (card["title"], card["headline_metrics"], card["order"]) == ("Naming of colours", ["colours named"], 15)
    call("leaderboard", "build", out, "--out", page)
    html = (page / "index.html").read_text()
    assert "Naming of colours" in html
    assert "An image is given; its colour is named." in html
    scored = call(
        "score",
        "colour-naming",
        "--predictions",
        out / "samples/colour-naming/painter",
        "--data",
        "colours",
        "--out",
        tmp_path / "scored",
        "--cache",
        "none",
    )
    assert "colour-naming    colours named" in scored


def test_names_are_known_and_what_is_no_task_is_refused():
    assert task_names()[-2:] == ["colour-naming", "nameless"] == sorted(entry_points(group="medim.tasks").names)
    assert task_named("colour-naming").order == 15
    with pytest.raises(UserError, match="did you mean 'colour-naming'"):
        task_named("color-naming")
    with pytest.raises(
        UserError, match=r"task .nameless. \(colours_for_medim:Nameless\): TypeError: gave <.*no tasks.task.Task"
    ):
        task_named("nameless")
