"""The report of what is done: tables, plots and records say what lies on disk, and what is not done yet."""

import csv
import json

import pytest
from PIL import Image

from benchmark.ablation import figures
from benchmark.ablation.arms import Arm, load_arm
from benchmark.ablation.changes import OVER_BOTH
from benchmark.ablation.comparison import Row
from benchmark.ablation.outputs import write_report
from benchmark.ablation.plan import Evaluation, Generation, make_plan
from benchmark.ablation.tables import remarks
from leaderboard.build import build
from leaderboard.record import read_records
from medim.common.errors import UserError
from medim.common.files import write_json

SHIFTS = {"full": 0.0, "no-adaln": 7.0, "causal-mask": -3.0}


@pytest.fixture(scope="module")
def out(tmp_path_factory, plan_in, pretend, phantom):
    folder = tmp_path_factory.mktemp("ablation")
    plan = plan_in(folder, ["no-adaln", "causal-mask"], [0, 1])
    pretend(plan, phantom.fingerprint, SHIFTS)
    write_report(plan_in(folder, ["no-adaln", "causal-mask"], [0, 1, 2]), phantom, folder)
    return folder


def test_the_table_says_the_shift_its_verdict_and_the_papers_sign(out):
    with (out / "ablation.csv").open() as stream:
        rows = {(row["arm"], row["metric"]): row for row in csv.DictReader(stream)}
    worse, better = (rows[arm, "nats per pair (joint)"] for arm in ("no-adaln", "causal-mask"))
    assert float(worse["difference"]) == pytest.approx(7.0)
    assert float(better["difference"]) == pytest.approx(-3.0)
    assert (worse["seeds"], worse["test"]) == ("2", OVER_BOTH)
    assert rows["no-adaln", "mFID"]["paper_change"] == "12.28"
    assert float(rows["no-adaln", "report nats per token (report|image)"]["difference"]) == pytest.approx(7 / 20)
    assert float(rows["no-adaln", "image bits per token (image|report)"]["difference"]) == pytest.approx(0.0)
    text = (out / "ablation.md").read_text()
    assert "worse in 7 of 7" in text
    assert "Not done yet: full seed 2, no-adaln seed 2, causal-mask seed 2" in text
    primary, paper = text.split("## The paper's change")
    assert {len(line.replace("\\|", "").split("|")) for line in primary.splitlines() if line.startswith("|")} == {12}
    assert "| +12.3 |" in paper  # what the paper found stands there without samples of ours


def test_one_seed_gives_differences_and_no_verdict(tmp_path, plan_in, pretend, phantom):
    plan = plan_in(tmp_path, ["no-adaln"], [0])
    pretend(plan, phantom.fingerprint, SHIFTS)
    rows = write_report(plan, phantom, tmp_path)
    text = (tmp_path / "ablation.md").read_text()
    assert "Of one training each no verdict is given" in text
    assert "| +7.0 [+7.0, +7.0] | not resolved |" in text
    assert rows[1].signs["nats per pair (joint)"] == "not resolved"


def test_notes_tell_what_is_there_but_not_shown_and_what_is_not_sampled(tmp_path, plan_in, pretend, phantom):
    both = plan_in(tmp_path, ["no-adaln"], [0, 1], Generation(limit=2))
    pretend(both, phantom.fingerprint, SHIFTS)
    write_report(plan_in(tmp_path, ["full"], [0], Generation(limit=2)), phantom, tmp_path)
    text = (tmp_path / "ablation.md").read_text()
    assert "not among --arms and --seeds: full seed 1, no-adaln seed 0, no-adaln seed 1." in text
    assert "Not sampled yet: full seed 0." in text


def test_notes_tell_what_differs_beside_the_choice(tmp_path, plan_in, pretend, phantom):
    plan = plan_in(tmp_path, ["no-adaln"], [0])
    pretend(plan, phantom.fingerprint, SHIFTS)
    smaller = plan.jobs[1].folder / "evaluation.json"
    evaluation = json.loads(smaller.read_text())
    evaluation["training"]["parameters"] = 700_000
    write_json(smaller, evaluation)
    write_report(plan, phantom, tmp_path)
    assert "30% fewer parameters than its base" in (tmp_path / "ablation.md").read_text()


@pytest.mark.parametrize(("setting", "told"), [({}, True), ({"learning_rate": 3e-3}, False)])
def test_notes_tell_of_random_weights_at_the_rates_of_pretrained_ones(tmp_path, setting, told):
    random = Arm(name="random", title="random", overrides={"pretrained": False, **setting})
    plan = make_plan(
        [load_arm("full"), random],
        [0],
        (),
        preset="mini-liquid-diffusion",
        data="phantom",
        out=tmp_path,
        steps=2,
        evaluation=Evaluation(),
        generation=None,
    )
    rows = [Row(arm, (0,), {"parameters": 1}) for arm in plan.arms]
    assert any("random weights at the rates of the pretrained ones" in note for note in remarks(plan, rows, [])) == told


def test_json_holds_the_values_of_single_seeds(out):
    arms = {arm["name"]: arm for arm in json.loads((out / "ablation.json").read_text())["arms"]}
    by_seed = {name: arms[name]["values"]["nats per pair (joint)"]["by_seed"] for name in SHIFTS}
    assert by_seed["no-adaln"]["1"] - by_seed["full"]["1"] == pytest.approx(7.0)
    assert arms["full"]["changes"] == {}
    assert arms["no-adaln"]["cost"]["tokens_seen"] == 896


def test_pictures_are_pictures_and_without_samples_there_is_no_grid(out):
    for name in ("curves.png", "tornado.png"):
        with Image.open(out / name) as image:
            assert image.width > 600
    assert not (out / "grid.png").exists()


def test_curves_of_other_tokens_are_dotted(tmp_path, plan_in, pretend, phantom, monkeypatch):
    drawn = {}
    monkeypatch.setattr(figures, "_save", lambda figure, path: drawn.setdefault(path.name, figure))
    plan = plan_in(tmp_path, ["no-adaln"], [0])
    pretend(plan, phantom.fingerprint, SHIFTS)
    other = plan.jobs[1].folder / "evaluation.json"
    write_json(other, json.loads(other.read_text()) | {"image_tokenizer": "another"})
    write_report(plan, phantom, tmp_path)
    joint = drawn["curves.png"].axes[0]
    assert [line.get_linestyle() for line in joint.lines] == ["-", ":"]
    assert "dotted: of other tokens" in joint.get_title()


def test_a_leaderboard_reads_the_records(out, tmp_path_factory):
    records = read_records(out / "records.jsonl")
    assert {record.model for record in records} == set(SHIFTS)
    assert [r.value for r in records if r.metric.startswith("change of")] == pytest.approx([7.0, -3.0])
    page = tmp_path_factory.mktemp("page")
    build([out], page)
    assert "no-adaln" in (page / "index.html").read_text()


def test_nothing_done_is_nothing_to_report(tmp_path, plan_in, phantom):
    with pytest.raises(UserError, match="nothing to report"):
        write_report(plan_in(tmp_path, ["full"], [0]), phantom, tmp_path)
