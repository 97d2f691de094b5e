"""The report of what is done: tables, plots and records say what lies on disk, and what is not done yet."""

import csv
import json

import pytest
from PIL import Image

from benchmark.ablation.report import write_report
from leaderboard.build import build
from leaderboard.record import read_records
from medim.errors import UserError

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
    assert (worse["seeds"], worse["test"]) == ("2", "bootstrap over patients crossed with seeds")
    assert rows["no-adaln", "mFID"]["paper_change"] == "12.28"
    assert float(rows["no-adaln", "report nats per token (report|image)"]["difference"]) == pytest.approx(7 / 20)
    assert float(rows["no-adaln", "image bits per token (image|report)"]["difference"]) == pytest.approx(0.0)
    text = (out / "ablation.md").read_text()
    assert "worse in 7 of 7" in text
    assert "Not done yet: full seed 2, no-adaln seed 2, causal-mask seed 2" in text
    assert {len(line.replace("\\|", "").split("|")) for line in text.splitlines() if line.startswith("|")} == {12}


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
