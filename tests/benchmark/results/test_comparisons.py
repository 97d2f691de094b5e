"""Run folders with sums, as a run leaves them, written here; two models and their seeds, compared from the files alone."""

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from benchmark.cli import main
from benchmark.results.check_sums import verify
from benchmark.results.comparisons import compare_runs, parse_margin
from benchmark.run.stored_sums import read_statistics, write_statistics
from leaderboard.tables.pairwise import Comparison
from medim.common.errors import UserError
from medim.common.json_lines import read_models
from tasks.metrics.statistics.additive import Additive
from tasks.metrics.statistics.paired import BOOTSTRAP, RANDOMISATION, TRAININGS
from tasks.protocols import Case
from tasks.scoring.scores import Score

N = 120
CASES = [Case(f"c{i}", f"p{i}", None, Image.new("RGB", (4, 4)), "text", None) for i in range(N)]
LEVEL = np.random.default_rng(0).random(N)  # how easy each case is


def write_run(folder, model, shift, *, seed=0, run=None, patients=None, settings=None, data="d1", noise=1, keep=True):
    """ROUGE-L (a mean, higher is better) and an error (lower is better) of one model; higher `shift` is better in both."""
    generator = np.random.default_rng([noise, seed])
    values = LEVEL + shift + 0.05 * generator.normal(size=N)
    patients = [case.patient for case in CASES] if patients is None else patients
    additives = {"ROUGE-L": Additive.mean(values, patients), "error": Additive.mean(2 - values, patients)}
    run = run or f"run-{model}-{seed}"
    scores, lines = [], []
    for metric, additive in additives.items():
        interval = additive.interval(0)
        scores.append(Score(metric, additive.value(), N, 1.0, metric == "ROUGE-L", {}, additive=additive))
        lines.append(
            {
                "task": "report-generation",
                "model": model,
                "dataset": "data",
                "split": "test",
                "metric": metric,
                "value": additive.value(),
                "ci_low": interval.low,
                "ci_high": interval.high,
                "n": N,
                "coverage": 1.0,
                "seed": seed,
                "protocol": "strict-v1",
                "signature": {"metric": metric, "settings": settings or {}},
                "kind": "measured",
                "commit": "c",
                "command": "x",
                "created": "2026-01-02T03:04:05+00:00",
                "higher_is_better": metric == "ROUGE-L",
                "synthetic": True,
                "run": run,
            }
        )
    if keep:
        kept = write_statistics(folder, CASES, scores, 0, model, "report-generation")
        for line in lines:
            line["signature"]["statistics"] = kept[line["metric"]]
    folder.mkdir(exist_ok=True)
    (folder / "records.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    manifest = {
        "run": run,
        "model": model,
        "model_fingerprint": "f",
        "dataset": "data",
        "dataset_fingerprint": data,
        "split": "test",
        "synthetic": True,
        "terms": "CC0",
        "withhold_samples": False,
        "tasks": ["report-generation"],
        "command": "x",
        "commit": "c",
        "created": "2026-01-02T03:04:05+00:00",
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.fixture
def three(tmp_path):
    """`good` is better than `same` and `twin`, which differ by noise alone."""
    return [
        write_run(tmp_path / "a", "good", 0.1, noise=1),
        write_run(tmp_path / "b", "same", 0.0, noise=2),
        write_run(tmp_path / "c", "twin", 0.001, noise=3),
    ]


def by_pair(comparisons, metric):
    return {(pair.model, pair.against): pair for pair in comparisons.pairs if pair.metric == metric}


def test_the_sums_of_a_run_in_several_folders_are_found(three, tmp_path):
    """The second model's two metrics were scored into a folder each."""
    for name, metric in (("part-1", "error"), ("part-2", "ROUGE-L")):
        part = shutil.copytree(three[1], tmp_path / name)
        path = part / "records.jsonl"
        path.write_text("".join(line for line in path.read_text().splitlines(keepends=True) if f'"metric": "{metric}"' in line))
        if metric == "error":  # its file holds the sums of another metric alone
            kept = read_statistics(part / "statistics/report-generation/same.npz")["error"].additive
            error = replace(kept, patients=tuple(case.patient for case in CASES))
            scores = [Score("error", error.value(), N, 1.0, False, {}, additive=error)]
            write_statistics(part, CASES, scores, 0, "same", "report-generation")
        manifest = json.loads((part / "manifest.json").read_text())
        (part / "manifest.json").write_text(json.dumps(manifest | {"command": name}))
    apart, notes = compare_runs([three[0], tmp_path / "part-1", tmp_path / "part-2", three[2]])
    together, _ = compare_runs(three)
    assert (apart, notes) == (together, [])


def test_models_are_compared_pair_by_pair(three):
    comparisons, notes = compare_runs(three)
    assert notes == []
    found = by_pair(comparisons, "ROUGE-L")
    assert len(found) == 6
    assert found["good", "same"].verdict == found["good", "twin"].verdict == "better"
    assert found["same", "good"].verdict == "worse"
    assert found["same", "twin"].verdict == "not separable"
    assert found["good", "same"].difference == pytest.approx(0.1, abs=0.02)
    assert found["good", "same"].ci_low == -found["same", "good"].ci_high
    assert {(pair.family, pair.patients, pair.test) for pair in found.values()} == {(3, N, RANDOMISATION)}
    # 1 / 10,000 twice and one large: Holm takes the two smallest times 3, since ties are made monotone
    assert found["good", "same"].p == 1e-4
    assert found["good", "same"].p_adjusted == pytest.approx(3e-4)
    assert found["same", "twin"].p_adjusted == found["same", "twin"].p
    errors = by_pair(comparisons, "error")
    assert errors["good", "same"].verdict == "better"
    assert errors["good", "same"].difference < 0


def test_a_margin_says_who_is_non_inferior(three):
    found = by_pair(compare_runs(three, {"ROUGE-L": 0.03})[0], "ROUGE-L")
    assert found["same", "twin"].verdict == found["twin", "same"].verdict == "non-inferior"
    assert found["same", "good"].verdict == "worse"
    tight = by_pair(compare_runs(three, {"ROUGE-L": 1e-5})[0], "ROUGE-L")
    assert tight["same", "twin"].verdict == "not separable"


def test_a_margin_for_nothing_is_refused(three):
    with pytest.raises(UserError, match="did you mean 'ROUGE-L'"):
        compare_runs(three, {"ROUGE": 0.1})
    with pytest.raises(UserError, match="no two models"):
        compare_runs(three[:1], {"ROUGE-L": 0.1})


def test_a_margin_for_runs_that_are_too_small_says_so(tmp_path):
    runs = [write_run(tmp_path / name, name, 0.1, run=name) for name in "ab"]
    for run in runs:
        path = run / "records.jsonl"
        path.write_text(path.read_text().replace(f'"n": {N}', '"n": 60'))
    with pytest.raises(UserError, match=r"by this metric \(no two models on the same 100 or more cases\)"):
        compare_runs(runs, {"ROUGE-L": 0.1})
    with pytest.raises(UserError, match=r"\(there are no two models to compare\)"):
        compare_runs(runs[:1], {"ROUGE-L": 0.1})


@pytest.mark.parametrize("text", ["BLEU-4", "BLEU-4=", "BLEU-4=-1", "BLEU-4=0", "BLEU-4=nan", "=0.1"])
def test_a_margin_has_a_form(text):
    with pytest.raises(UserError, match="give METRIC=VALUE"):
        parse_margin(text)


def test_a_margin_may_be_of_a_metric_with_an_equals_sign():
    assert parse_margin("IS (T=2)=0.5") == ("IS (T=2)", 0.5)


def test_seeds_of_a_model_are_one_system(tmp_path):
    runs = [write_run(tmp_path / f"m{seed}", "many", 0.05, seed=seed) for seed in (0, 1, 2)]
    runs.append(write_run(tmp_path / "one", "one", 0.0, noise=5))
    comparisons, _ = compare_runs(runs)
    found = by_pair(comparisons, "ROUGE-L")
    assert set(found) == {("many", "one"), ("one", "many")}
    pair = found["many", "one"]
    assert (pair.test, pair.verdict, pair.family) == (BOOTSTRAP, "better", 1)
    assert pair.runs == ["run-many-0", "run-many-1", "run-many-2"]
    entry = next(entry for entry in comparisons.seeds if entry.metric == "ROUGE-L")
    assert (entry.model, entry.seeds) == ("many", [0, 1, 2])
    assert entry.value == pair.value == pytest.approx(np.mean(entry.values))
    assert entry.ci_low < entry.value < entry.ci_high


def test_several_trainings_of_each_side_speak_of_methods(tmp_path):
    runs = [
        write_run(tmp_path / f"{m}{seed}", m, shift, seed=seed) for m, shift in (("a", 0.3), ("b", 0.0)) for seed in (0, 1, 2)
    ]
    assert by_pair(compare_runs(runs)[0], "ROUGE-L")["a", "b"].scope == "checkpoints"  # all name the same weights
    for run in runs:
        path = run / "records.jsonl"
        path.write_text(path.read_text().replace('"settings"', f'"model": "{run.name}", "settings"'))
    pair = by_pair(compare_runs(runs)[0], "ROUGE-L")["a", "b"]
    assert (pair.scope, pair.test, pair.verdict, pair.smallest_found) == ("methods", TRAININGS, "better", None)


def test_other_settings_are_another_system(tmp_path):
    runs = [
        write_run(tmp_path / "x", "m", 0.0, settings={"steps": 8}, run="x"),
        write_run(tmp_path / "y", "m", 0.1, settings={"steps": 16}, run="y", seed=1),
    ]
    found = by_pair(compare_runs(runs)[0], "ROUGE-L")
    assert set(found) == {("m (seed 0)", "m (seed 1)"), ("m (seed 1)", "m (seed 0)")}


def test_two_runs_of_one_seed_are_two_systems(tmp_path):
    runs = [write_run(tmp_path / name, "m", shift, run=name) for name, shift in (("x", 0.0), ("y", 0.1))]
    comparisons, _ = compare_runs(runs)
    assert set(by_pair(comparisons, "ROUGE-L")) == {("m (run x)", "m (run y)"), ("m (run y)", "m (run x)")}
    assert comparisons.seeds == []


def test_only_what_shares_data_and_patients_is_compared(tmp_path):
    here = write_run(tmp_path / "a", "a", 0.0)
    assert compare_runs([here, write_run(tmp_path / "b", "b", 0.1, data="d2")])[0].pairs == []
    others = [f"q{i // 2}" for i in range(N)]
    assert compare_runs([here, write_run(tmp_path / "c", "c", 0.1, patients=others)])[0].pairs == []


def test_runs_without_sums_are_passed_over_and_lost_ones_noted(tmp_path):
    here = write_run(tmp_path / "a", "a", 0.0)
    assert compare_runs([here, write_run(tmp_path / "b", "b", 0.1, keep=False)]) == compare_runs([here])
    lost = write_run(tmp_path / "c", "c", 0.1)
    (lost / "statistics/report-generation/c.npz").unlink()
    comparisons, notes = compare_runs([here, lost])
    assert comparisons.pairs == []
    assert len(notes) == 1
    assert "c.npz is missing" in notes[0]


def edit(run, change):
    lines = [json.loads(line) for line in (run / "records.jsonl").read_text().splitlines()]
    for line in lines:
        change(line)
    (run / "records.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_a_record_of_another_value_stops(three):
    edit(three[1], lambda line: line.update(value=line["value"] * 1.01, ci_high=9.0))
    with pytest.raises(UserError, match="but the record of run run-same-0 says"):
        compare_runs(three)


@pytest.mark.parametrize(
    "where",
    [
        {"file": "../a/records.jsonl", "key": "x"},
        {"file": "statistics/report-generation/same.npz", "key": "error"},
        {"file": "statistics/report-generation/same.npz", "key": ["ROUGE-L"]},
        "somewhere",
        [],
    ],
    ids=str,
)
def test_a_signature_names_the_sums_of_its_own_record(three, where):
    edit(three[1], lambda line: line["metric"] == "ROUGE-L" and line["signature"].update(statistics=where))
    with pytest.raises(UserError, match=r"its own sums are 'ROUGE-L' in statistics/report-generation/same\.npz"):
        compare_runs(three)
    assert ["its own sums are" in problem for problem in verify(three[1]).problems] == [True]


def test_the_sums_of_another_system_under_the_own_name_are_refused(three):
    (three[1] / "statistics/report-generation/same.npz").write_bytes(
        (three[0] / "statistics/report-generation/good.npz").read_bytes()
    )
    with pytest.raises(UserError, match=r"same\.npz: sums of 'good' on report-generation, not of 'same' on report-generation"):
        compare_runs(three)
    assert len(verify(three[1]).problems) == 2


def test_a_linked_folder_cannot_lead_out_of_the_run(three):
    shutil.move(three[1] / "statistics", three[1].parent / "elsewhere")
    (three[1] / "statistics").symlink_to(three[1].parent / "elsewhere")
    with pytest.raises(UserError, match="its own sums are"):
        compare_runs(three)


def test_another_direction_is_not_compared(three):
    edit(three[0], lambda line: line.update(higher_is_better=False))
    comparisons, _ = compare_runs(three)
    assert set(by_pair(comparisons, "ROUGE-L")) == {("same", "twin"), ("twin", "same")}


def test_verify_recomputes_every_interval(three, tmp_path):
    found = verify(tmp_path)
    assert (found.agree, found.without, found.withheld, found.problems) == (6, 0, 0, [])
    edit(three[0], lambda line: line.update(ci_low=line["ci_low"] - 0.001))
    edit(three[1], lambda line: line.update(value=line["value"] + 0.001))
    (three[2] / "statistics/report-generation/twin.npz").unlink()
    found = verify(tmp_path)
    assert found.agree == 0
    assert ["ci_low" in p or "value" in p for p in found.problems] == [True] * 4
    assert found.missing == {three[2] / "statistics/report-generation/twin.npz": 2}
    with pytest.raises(UserError, match=r"no records\.jsonl"):
        verify(tmp_path / "nowhere")


@pytest.mark.parametrize("field", ["value", "ci_low", "ci_high"])
def test_verify_compares_each_number_by_itself(tmp_path, field):
    run = write_run(tmp_path / "a", "a", 0.0)
    edit(run, lambda line: line.update({field: line[field] + 1e-5}))
    found = verify(run)
    assert found.agree == 0
    assert len(found.problems) == 2
    assert all(re.search(rf": {field} [0-9.]+, but its sums give [0-9.]+$", problem) for problem in found.problems)


def test_verify_counts_what_has_no_sums(tmp_path):
    run = write_run(tmp_path / "a", "a", 0.0, keep=False)
    assert (verify(run).agree, verify(run).without) == (0, 2)
    edit(run, lambda line: line.update(value=None, ci_low=None, ci_high=None, reason="why"))
    assert verify(run).withheld == 2


def test_the_commands(three, tmp_path):
    out = tmp_path / "board"
    runs = [str(run) for run in three]
    result = CliRunner().invoke(main, ["leaderboard", "build", *runs, "--out", str(out), "--margin", "ROUGE-L=0.03"])
    assert result.exit_code == 0, result.output
    assert len(list(read_models(out / "comparisons.jsonl", Comparison))) == 12
    page = (out / "index.html").read_text()
    assert "ROUGE-L: good is better than" in page
    assert "is non-inferior to" in page
    assert '<sup class="letters"' in page
    table = (out / "leaderboard.md").read_text()
    assert " a (" in table
    assert " b (" in table

    assert CliRunner().invoke(main, ["leaderboard", "verify", runs[0]]).exit_code == 0
    edit(three[0], lambda line: line.update(ci_low=line["ci_low"] - 0.001))
    result = CliRunner().invoke(main, ["leaderboard", "verify", runs[0]])
    assert result.exit_code == 2
    assert "0 records agree with their sums, 2 do not" in result.output
    bad = CliRunner().invoke(main, ["leaderboard", "build", *runs, "--out", str(out), "--margin", "BLEU-4"])
    assert bad.exit_code == 2
    assert "give METRIC=VALUE" in bad.output
