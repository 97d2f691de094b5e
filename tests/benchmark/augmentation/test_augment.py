import csv
import json
from dataclasses import replace

import pytest

from benchmark.augmentation.augment import check_regime, load_preset
from leaderboard.record import read_records
from leaderboard.site.gallery import galleries, of_rows
from leaderboard.store import collect
from leaderboard.tables.boards import boards
from medim.common.errors import UserError
from medim.data.sources.selection import Subset
from tasks.augmentation.splits import divide
from tasks.downstream import DOWNSTREAM

from .conftest import Scenes

PRIMARY = "macro finding F1"


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def told(out) -> dict:
    return json.loads((out / "augmentation.json").read_text())


def test_quick_settles_the_controls(run, out, scenist):
    result = run()
    assert result.exit_code == 0, result.output
    comparison = told(out)["comparison"]
    assert comparison["primary"] == PRIMARY
    # the placebo is real-repeated by another way: not one score of one seed differs
    by_seed = told(out)["by_seed"]
    assert all(arms["real-as-synthetic"] == arms["real-repeated"] for arms in by_seed.values())
    assert comparison["placebo"] | {"p": None} == {
        "difference": 0,
        "margin": 0.02,
        "low": 0,
        "high": 0,
        "p": None,
        "equivalent": True,
        "reason": None,
    }
    assert comparison["shuffled_less_synthetic"]["high"] < 0
    assert comparison["gains"][PRIMARY]["real+shuffled"]["value"] < 0  # two seeds resolve little more
    assert "real-as-synthetic and real-repeated are equivalent" in result.output
    assert "shuffling hurts" in result.output
    assert scenist.asked == told(out)["real_pairs"] == 40
    assert len(set(scenist.prompts)) == len({*scenist.prompts})  # every one from the low-data set
    assert all(prompt.startswith("a scene.") for prompt in scenist.prompts)


def test_records_are_one_row_an_arm_and_bear_the_regime(run, out):
    assert run().exit_code == 0
    records = read_records(out / "records.jsonl")
    assert {record.task for record in records} == {"augmentation (external-prior)"}
    assert {record.signature["regime"] for record in records} == {"external-prior"}
    rows = {(record.model, record.kind) for record in records}
    assert rows == {
        ("scenist: real+synthetic 100 %", "measured"),
        ("real-repeated", "anchor"),
        ("real+shuffled", "anchor"),
        ("real-as-synthetic", "anchor"),
    }
    main = {record.model: record for record in records if record.metric == PRIMARY}
    assert all(record.ci_low < record.value < record.ci_high for record in main.values())
    assert all("Student's t over trainings" in record.signature["interval"] for record in main.values())
    exchange = next(record for record in records if record.metric.startswith("real pairs that"))
    assert exchange.value is None
    assert exchange.reason.startswith("not resolved")
    with (out / "augmentation.csv").open() as stream:
        table = [row for row in csv.DictReader(stream) if row["metric"] == PRIMARY]
    assert {row["arm"]: float(row["value"]) for row in table} == {
        name.removeprefix("scenist: "): pytest.approx(record.value) for name, record in main.items()
    }
    assert (out / "curve.png").stat().st_size > 5000
    assert "external prior" in (out / "augmentation.md").read_text()


def test_a_record_states_the_cases_of_its_own_metric(run, out, monkeypatch):
    pair, names = Scenes.pair, ("scene", "sea")
    monkeypatch.setattr(Scenes, "domains", names)
    monkeypatch.setattr(Scenes, "pair", lambda *where: replace(pair(*where), domain=names[where[-1] % 3 == 0]))
    assert run("--set", "augmentation.seeds=0").exit_code == 0
    records = read_records(out / "records.jsonl")
    stated = {record.metric: record.n for record in records}
    assert (stated[f"{PRIMARY}: scene"], stated[f"{PRIMARY}: sea"], stated[PRIMARY]) == (80, 40, 120)
    assert {stated[metric] for metric in stated if "real-repeated" in metric or "real pairs that" in metric} == {120}
    assert [record.metric for record in records if record.signature.get("n", record.n) != record.n] == []


def test_the_page_shows_the_samples_of_every_arm(run, out):
    assert run("--set", "augmentation.seeds=0").exit_code == 0
    collection = collect([out])
    (board,) = boards(collection.records, dict.fromkeys(collection.runs, "f"))
    placed = of_rows(galleries(list(collection.runs.values()), 2, 2, 10**7), board.tables[0].rows)
    assert {(row.first.model, row.kind == "measured", len(gallery.cards)) for row, gallery in placed} == {
        ("scenist: real+synthetic 100 %", True, 2),
        ("real-repeated", False, 2),
        ("real+shuffled", False, 2),
        ("real-as-synthetic", False, 2),
    }


def test_what_the_generator_learned_under_stands_in_its_pairs(run, out, monkeypatch):
    terms = "PhysioNet Credentialed Health Data License 1.5.0"
    monkeypatch.setattr("benchmark.augmentation.augment.model_terms", lambda model: terms)
    assert run("--set", "augmentation.seeds=0").exit_code == 0
    assert json.loads((out / "manifest.json").read_text())["withhold_samples"]
    lines = (out / "synthetic/generated/pairs.jsonl").read_text().splitlines()
    assert lines
    assert all(terms in json.loads(line)["terms"] for line in lines)


def test_splits_are_fixed_before_anything_is_generated(run, out, scenist, monkeypatch):
    seen = []
    generate = scenist.generate_pairs
    monkeypatch.setattr(
        scenist,
        "generate_pairs",
        lambda prompts, *, seeds: seen.append((out / "splits.json").is_file()) or generate(prompts, seeds=seeds),
    )
    assert run().exit_code == 0
    assert seen
    assert all(seen)
    sets = json.loads((out / "splits.json").read_text())["sets"]
    patients = [patient for one in sets.values() for patient in one["patients"]]
    assert len(patients) == len(set(patients))


def test_a_killed_run_continues_and_trains_nothing_twice(run, out, regression, scenist):
    regression.dies_after = 5
    assert run().exit_code == 130
    assert len(regression.fits) == 5
    asked = scenist.asked
    regression.dies_after = None
    assert run().exit_code == 0
    assert len(regression.fits) == len(set(regression.fits)) == 12
    assert scenist.asked == asked
    before = (out / "records.jsonl").read_text()
    assert run().exit_code == 0
    assert len(regression.fits) == 12
    assert (out / "records.jsonl").read_text() == before
    kept = out / "arms" / "real-repeated" / "seed-0"
    assert [path.name for path in kept.iterdir()] == ["metrics.jsonl"]


def test_full_has_every_arm_and_an_exchange_rate(run, out):
    sets = {"seeds": "0,1", "levels": "50,100", "more_real": "100,300"}
    result = run(
        *[text for key, value in sets.items() for text in ("--set", f"augmentation.{key}={value}")], preset="full", steps=30
    )
    assert result.exit_code == 0, result.output
    comparison = told(out)["comparison"]
    arms = comparison["values"][PRIMARY]
    assert sorted(arms) == sorted(
        [
            "real",
            "real-repeated",
            "real+classical",
            "real+synthetic 50 %",
            "real+synthetic 100 %",
            "synthetic-only",
            "real+shuffled",
            "real+pseudo",
            "more-real 100 %",
            "more-real 300 %",
            "real-as-synthetic",
        ]
    )
    assert set(comparison["exchange"]) == {"real+synthetic 50 %", "real+synthetic 100 %"}
    assert comparison["gains"][PRIMARY]["real+pseudo"]["value"] < 0  # its reports see nothing


def test_arms_beyond_the_data_are_skipped_and_said(run, out):
    result = run(
        "--set",
        "augmentation.more_real=400",
        "--set",
        "augmentation.arms=more-real",
        "--set",
        "augmentation.seeds=0",
        train="50%",
    )
    assert result.exit_code == 0, result.output
    assert "more-real 400 %: skipped: 400 further real pairs are needed and the training split has 100" in result.output


def test_prompts_that_the_model_has_no_room_for_are_left_out_and_said(run, out, scenist):
    scenist.has_room = lambda prompt: "coral" not in prompt
    result = run("--set", "augmentation.seeds=0")
    assert result.exit_code == 0, result.output
    assert "left out: 'scenist' has no room for more than them" in result.output
    assert scenist.prompts
    assert not [prompt for prompt in scenist.prompts if "coral" in prompt]


def test_a_model_with_room_for_no_prompt_is_refused(run, scenist):
    scenist.has_room = lambda prompt: False
    result = run()
    assert result.exit_code == 2
    assert "augmentation.prompts=none" in result.output


def test_another_regime_into_the_same_folder_is_refused(run, out, monkeypatch):
    assert run("--set", "augmentation.seeds=0").exit_code == 0
    monkeypatch.setattr("benchmark.augmentation.augment.check_regime", lambda regime, *rest: {"regime": regime})
    result = run("--set", "augmentation.seeds=0", "--regime", "budget-matched")
    assert result.exit_code == 2
    assert "holds a run with" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--limit", "3"], "takes no --limit"),
        (["--preset", "quik"], "did you mean 'quick'"),
        (["--regime", "budgetmatched"], "did you mean 'budget-matched'"),
        (["--downstream", "r2gen-tinny"], "did you mean 'r2gen-tiny'"),
        (["--set", "augmentation.stepps=3"], "did you mean 'steps'"),
        (["memorisation"], "is run alone"),
        (["--regime", "budget-matched"], "is not known"),
        (["--set", "augmentation.min_agreement=0.5"], "min_agreement=0.5 needs checkers of reports and of images that steer"),
    ],
)
def test_mistakes_are_told_in_one_line(run, out, arguments, message):
    result = run(*arguments)
    assert result.exit_code == 2
    assert not out.exists()  # the corrected command finds no run of another configuration
    assert message in result.output
    assert len(result.output.strip().splitlines()) == 1


def test_the_downstream_model_is_trained_on_the_gpu_where_there_is_one(run, monkeypatch, regression):
    asked = []
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setitem(DOWNSTREAM, "regression", lambda argument, device: asked.append(device) or regression)
    assert run().exit_code == 0
    assert run("--device", "cpu", "--overwrite").exit_code == 0
    assert asked == ["cuda:0", "cpu"]


@pytest.fixture
def division():
    return divide(Scenes(), train=0.2, further=0, validation=20, test=20)


@pytest.fixture
def trained(tmp_path):
    """A folder that looks like a trained model: only what it says of its data is read."""

    def make(model: str, tokenizer: str):
        (tmp_path / "image_tokenizer").mkdir()
        (tmp_path / "config.json").write_text("{}")
        (tmp_path / "model.safetensors").write_bytes(b"")
        (tmp_path / "training.json").write_text(
            json.dumps({"data": "d", "data_fingerprint": model, "recipe": {"pretrained": False}})
        )
        stated = {"training": {"data": {"name": "d", "fingerprint": tokenizer}}}
        (tmp_path / "image_tokenizer" / "image_tokenizer.json").write_text(json.dumps(stated))
        return str(tmp_path)

    return make


def test_a_generator_of_the_low_data_set_is_budget_matched(division, trained):
    own = division.subset.fingerprint
    told = check_regime("budget-matched", trained(own, own), division, load_preset("quick", {}))
    assert told == {"regime": "budget-matched", "trained_on": "d", "pretrained": False}


@pytest.mark.parametrize("part", ["model", "image tokenizer"])
def test_a_generator_that_saw_more_is_refused_with_the_command_that_mends_it(division, trained, part):
    own, more = division.subset.fingerprint, Subset(Scenes(), 0.5).fingerprint
    folder = trained(more if part == "model" else own, more if part == "image tokenizer" else own)
    with pytest.raises(UserError, match=f"its {part} was trained on .*train model .*--data 'scenes:train=20%'"):
        check_regime("budget-matched", folder, division, load_preset("quick", {}))
    assert check_regime("external-prior", folder, division, load_preset("quick", {}))["regime"] == "external-prior"


def test_the_shipped_model_saw_more_than_a_low_data_set(division):
    with pytest.raises(UserError, match="trained on 'phantom'"):
        check_regime("budget-matched", "phantom-tiny", division, load_preset("quick", {}))


def test_a_checker_trained_on_other_cases_may_not_filter_a_matched_budget(division, trained):
    own = division.subset.fingerprint
    with pytest.raises(UserError, match="no min_agreement"):
        check_regime("budget-matched", trained(own, own), division, load_preset("quick", {"min_agreement": "0.5"}))
