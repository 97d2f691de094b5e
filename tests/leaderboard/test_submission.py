import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmark.results.check_sums import verify
from leaderboard.record import read_records
from leaderboard.store import collect, run_folders
from leaderboard.submission import RefusedError, add, read_submission
from medim.common.errors import UserError
from medim.common.locks import LOCK, locked

RESULTS = Path(__file__).parents[2] / "leaderboard" / "results"
ONE, TWO = ("report-generation",), ("report-generation", "image-generation")


def agrees(folder):
    """Stands for the sums where they are not the matter."""
    assert (folder / "records.jsonl").is_file()
    return []


def content(store):
    return {path.relative_to(store): path.read_bytes() for path in store.rglob("*") if path.is_file() and path.name != ".lock"}


def edit(path, **fields):
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def rewrite(path, change):
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        change(line)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_a_run_enters_once_and_brings_no_samples(make_run, tmp_path):
    run, store = make_run("mine", tasks=ONE, samples=2), tmp_path / "store"
    added = add(run, store, agrees)
    assert (added.new, added.known) == (len(read_records(run / "records.jsonl")), 0)
    assert {path.name for path in content(store)} == {"manifest.json", "records.jsonl"}
    assert run_folders(store) == [added.folder]
    before = content(store)
    again = add(run / "records.jsonl", store, agrees)
    assert (again.new, again.known, again.folder) == (0, added.new, added.folder)
    assert content(store) == before


def test_runs_whose_ids_begin_alike_get_a_folder_each(make_run, tmp_path):
    store = tmp_path / "store"
    for number in (1, 2, 3):
        run = make_run(f"r{number}", run=f"submission-{number}", tasks=ONE, samples=0)
        edit(run / "manifest.json", seed=number)
        rewrite(run / "records.jsonl", lambda line, seed=number: line.update(seed=seed))
        folder = add(run, store, agrees).folder
        assert folder.name == "phantom-phantom-tiny-submissi" + ("" if number == 1 else f"-{number}")
    assert len(collect(run_folders(store)).runs) == 3
    (store / "phantom-phantom-tiny-leftover").mkdir()
    with pytest.raises(UserError, match=r"leftover: is there and holds no run; remove it, then add again"):
        add(make_run("r4", run="leftover", tasks=ONE, seed=4), store, agrees)


def test_a_run_that_grew_adds_what_is_new(make_run, tmp_path):
    store = tmp_path / "store"
    first = add(make_run("one", tasks=ONE, samples=0), store, agrees)
    grown = make_run("two", tasks=TWO[1:], samples=0)
    second = add(grown, store, agrees)
    assert second.folder == first.folder
    assert len(read_records(first.folder / "records.jsonl")) == first.new + second.new
    assert json.loads((first.folder / "manifest.json").read_text())["tasks"] == list(TWO)
    assert len(collect(run_folders(store)).records) == first.new + second.new


def test_another_value_for_a_known_key_is_refused_and_the_store_stays(make_run, tmp_path):
    run, store = make_run(tasks=ONE, samples=0), tmp_path / "store"
    add(run, store, agrees)
    before = content(store)
    records = run / "records.jsonl"
    lines = records.read_text().splitlines()
    lines[3] = json.dumps(json.loads(lines[3]) | {"value": 0.9876})
    records.write_text("\n".join(lines) + "\n")
    with pytest.raises(RefusedError, match=r"records\.jsonl:4: conflicts with .*value 0\.9876 against"):
        add(run, store, agrees)
    assert content(store) == before


def test_another_split_under_the_same_name_is_refused(make_run, tmp_path):
    store = tmp_path / "store"
    add(make_run("one", tasks=ONE, samples=0), store, agrees)
    other = make_run("two", run="bbbb2222", model="other", fingerprint="0123456789abcdef", tasks=ONE, samples=0)
    with pytest.raises(
        RefusedError, match=r"field 'dataset_fingerprint': '0123456789abcdef', but in this store split 'test' of 'phan"
    ):
        add(other, store, agrees)
    assert len(run_folders(store)) == 1


def test_one_run_under_two_ids_or_two_under_one_is_refused(make_run, tmp_path):
    store = tmp_path / "store"
    add(make_run("one", tasks=ONE, samples=0), store, agrees)
    with pytest.raises(RefusedError, match=r"field 'run': 'cccc' repeats run 'aaaa1111bbbb2222' of the store under another id"):
        add(make_run("copy", run="cccc", tasks=ONE, samples=0), store, agrees)
    with pytest.raises(
        RefusedError, match=r"field 'model': \"other\", but run aaaa1111bbbb2222 is in the store with \"phantom-tiny\""
    ):
        add(make_run("thief", model="other", tasks=ONE, samples=0), store, agrees)


@pytest.mark.parametrize(
    ("name", "value"), [("seed", 7), ("protocol", "medim-paper-v1"), ("terms", "credentialed"), ("withhold_samples", True)]
)
def test_a_known_run_cannot_come_back_with_another_manifest(make_run, tmp_path, name, value):
    run, store = make_run(tasks=ONE, samples=0), tmp_path / "store"
    edit(run / "manifest.json", seed=0, protocol="strict-v1")
    add(run, store, agrees)
    before = content(store)
    grown = make_run("grown", tasks=TWO[1:], samples=0)
    edit(grown / "manifest.json", **({"seed": 0, "protocol": "strict-v1"} | {name: value}))
    rewrite(grown / "records.jsonl", lambda line: line.update({name: value} if name in line else {}))
    with pytest.raises(RefusedError, match=rf"field '{name}': .*, but run aaaa1111bbbb2222 is in the store with"):
        add(grown, store, agrees)
    assert content(store) == before


def test_a_known_run_keeps_its_manifest_but_for_its_tasks(make_run, tmp_path):
    store = tmp_path / "store"
    folder = add(make_run("one", tasks=ONE, samples=0), store, agrees).folder
    before = json.loads((folder / "manifest.json").read_text())
    grown = make_run("two", tasks=TWO[1:], samples=0)
    edit(grown / "manifest.json", command="another", created="2026-06-01T00:00:00+00:00", more="of it")
    add(grown, store, agrees)
    assert json.loads((folder / "manifest.json").read_text()) == before | {"tasks": list(TWO)}


def test_another_direction_than_the_store_has_is_refused(make_run, tmp_path):
    store = tmp_path / "store"
    add(make_run("one", tasks=ONE, samples=0), store, agrees)
    other = make_run("two", run="bbbb2222", model="other", tasks=ONE, samples=0)
    rewrite(other / "records.jsonl", lambda line: line.update(higher_is_better=line["metric"] != "BLEU-4"))
    with pytest.raises(RefusedError, match=r"field 'higher_is_better': False, but of other records True") as refused:
        add(other, store, agrees)
    assert len(refused.value.reasons) == 4  # the model and three anchors


# --- sums by patient: a run on real reports, with the sums that it kept -------------------------------------------------------


@pytest.fixture
def real(tmp_path):
    return Path(shutil.copytree(RESULTS / "iu-mrg-rl" / "template-strict-v1", tmp_path / "submitted"))


def recompute(folder):
    return verify(folder).problems


def with_sums(folder):
    return next(i for i, r in enumerate(read_records(folder / "records.jsonl")) if "statistics" in r.signature and r.ci_low)


def test_sums_alone_suffice(real, tmp_path):
    added = add(real, tmp_path / "store", recompute)
    assert added.new == 60
    assert sorted(path.name for path in added.folder.rglob("*.npz")) == ["real.npz", "shuffled.npz", "template.npz"]


@pytest.mark.parametrize(("field", "change"), [("value", 0.01), ("ci_low", -0.01), ("ci_high", 0.01)])
def test_what_the_sums_do_not_give_is_refused(real, tmp_path, field, change):
    records, index = real / "records.jsonl", with_sums(real)
    lines = records.read_text().splitlines()
    value = json.loads(lines[index])
    lines[index] = json.dumps(value | {field: value[field] + change})
    records.write_text("\n".join(lines) + "\n")
    with pytest.raises(RefusedError, match=rf"{field} .*its sums give") as refused:
        add(real, tmp_path / "store", recompute)
    assert str(real) in refused.value.reasons[0]
    assert content(tmp_path / "store") == {}


def test_the_sums_of_another_record_are_refused(real, tmp_path):
    """The anchor's file and value, another metric's key, or the anchor's file under the own name."""
    records = real / "records.jsonl"
    whole = records.read_text()
    anchor = {line.metric: line for line in read_records(records) if line.model == "real"}

    def as_anchor(line):
        if line["kind"] == "measured" and (sums := line["signature"].get("statistics")) is not None:
            sums["file"] = "statistics/report-generation/real.npz"
            line |= {field: getattr(anchor[line["metric"]], field) for field in ("value", "ci_low", "ci_high")}

    def as_bleu_1(line):
        if line["metric"] == "BLEU-4" and line["kind"] == "measured":
            line["signature"]["statistics"]["key"] = "BLEU-1"

    for change in (as_anchor, as_bleu_1):
        rewrite(records, change)
        with pytest.raises(RefusedError, match="its own sums are"):
            add(real, tmp_path / "store", recompute)
        records.write_text(whole)
    statistics = real / "statistics" / "report-generation"
    shutil.copy(statistics / "real.npz", statistics / "template.npz")
    with pytest.raises(RefusedError, match=r"sums of 'real' on report-generation, not of 'template'"):
        add(real, tmp_path / "store", recompute)
    assert content(tmp_path / "store") == {}


def test_a_task_joins_a_stored_run_that_lacks_its_sums_and_adding_again_brings_them(real, tmp_path):
    """The stored run is not the submitter's fault."""
    store = tmp_path / "store"
    folder = add(real, store, recompute).folder
    shutil.rmtree(folder / "statistics")
    part = Path(shutil.copytree(real, tmp_path / "part"))
    edit(part / "manifest.json", tasks=["long-form"])

    def other_task(line):
        line["task"] = "long-form"
        line["signature"].pop("statistics", None)

    rewrite(part / "records.jsonl", other_task)
    shutil.rmtree(part / "statistics")
    assert add(part, store, recompute).new == 60
    assert json.loads((folder / "manifest.json").read_text())["tasks"] == ["report-generation", "long-form"]
    assert verify(folder).missing
    assert add(real, store, recompute).new == 0
    assert verify(folder).missing == {}


@pytest.mark.parametrize("alone", [True, False])
def test_a_value_without_the_sums_that_others_have_is_refused(real, tmp_path, alone):
    """Others: of the submission itself, or of the store."""
    if not alone:
        add(RESULTS / "iu-mrg-rl" / "copy-oracle-top20-strict-v1", tmp_path / "store", recompute)

    def without(line):
        if line["metric"] == "BLEU-4" and (line["kind"] == "measured" or not alone):
            line |= {"value": 0.9, "ci_low": 0.89, "ci_high": 0.91}
            del line["signature"]["statistics"]

    rewrite(real / "records.jsonl", without)
    with pytest.raises(RefusedError, match=r"field 'signature\.statistics' is missing: other values of .*/BLEU-4 have sums"):
        add(real, tmp_path / "store", recompute)


def test_tampered_sums_are_refused(real, tmp_path):
    path = real / "statistics" / "report-generation" / "template.npz"
    with np.load(path) as kept:
        arrays = dict(kept)
    for name in arrays:
        if name != "index":
            arrays[name] = arrays[name] * np.linspace(0.5, 1.5, len(arrays[name]))[:, None]
    np.savez(path, **arrays)
    with pytest.raises(RefusedError, match="its sums give"):
        add(real, tmp_path / "store", recompute)
    path.write_bytes(b"no archive")
    with pytest.raises(RefusedError, match="no file of statistics, or a damaged one"):
        add(real, tmp_path / "store", recompute)


def test_fewer_cases_than_the_sums_have_is_refused(real, tmp_path):
    records, index = real / "records.jsonl", with_sums(real)
    lines = records.read_text().splitlines()
    value = json.loads(lines[index])
    lines[index] = json.dumps(value | {"n": 100, "signature": value["signature"] | {"n": 100}})
    records.write_text("\n".join(lines) + "\n")
    with pytest.raises(RefusedError, match="n 100, but its sums are of 382 patients"):
        add(real, tmp_path / "store", recompute)


# --- kills and company --------------------------------------------------------------------------------------------------------

KILLED = """
import os, signal, sys
import leaderboard.submission as admission
source, store, step = sys.argv[1], sys.argv[2], int(sys.argv[3])
real, seen = os.{name}, 0
def killed(*paths):
    global seen
    if {counted}:
        seen += 1
        if seen == step:
            os.kill(os.getpid(), signal.SIGKILL)
    real(*paths)
os.{name} = killed
admission.add(source, store, lambda folder: [])
"""


@pytest.mark.parametrize("step", [1, 2])
def test_a_kill_while_a_known_run_grows_leaves_a_readable_store(make_run, tmp_path, step):
    store = tmp_path / "store"
    folder = add(make_run("one", tasks=ONE, samples=0), store, agrees).folder
    known = read_records(folder / "records.jsonl")
    grown = make_run("two", tasks=TWO[1:], samples=0)
    script = KILLED.format(name="replace", counted="str(paths[1]).startswith(store) and '.incoming' not in str(paths[1])")
    done = subprocess.run([sys.executable, "-c", script, str(grown), str(store), str(step)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert run_folders(store) == [folder]
    assert collect([folder]).records == known  # manifest first (step 1 and 2), records last
    assert add(grown, store, agrees).new > 0
    assert not (store / ".incoming").exists()
    assert len(read_records(folder / "records.jsonl")) == len(known) + len(read_records(grown / "records.jsonl"))


def test_a_kill_before_a_new_run_is_in_place_leaves_nothing_to_be_seen(make_run, tmp_path):
    run, store = make_run(tasks=ONE, samples=0), tmp_path / "store"
    script = KILLED.format(name="rename", counted="True")
    done = subprocess.run([sys.executable, "-c", script, str(run), str(store), "1"], check=False)
    assert done.returncode == -signal.SIGKILL
    assert (store / ".incoming").is_dir()
    assert run_folders(store) == []
    assert add(run, store, agrees).known == 0
    assert len(run_folders(store)) == 1


def test_adders_at_the_same_time_lose_nothing(make_run, tmp_path):
    store = tmp_path / "store"
    runs = [make_run(f"r{i}", run=f"{i}" * 8, model=f"model-{i}", tasks=ONE, samples=0) for i in range(4)]
    code = "import sys, leaderboard.submission as a; a.add(sys.argv[1], sys.argv[2], lambda folder: [])"
    running = [subprocess.Popen([sys.executable, "-c", code, str(run), str(store)]) for run in runs]
    assert [process.wait() for process in running] == [0, 0, 0, 0]
    assert len(run_folders(store)) == 4
    assert {record.model for record in collect(run_folders(store)).records if record.kind == "measured"} == {
        f"model-{i}" for i in range(4)
    }


def test_the_lock_is_waited_for(make_run, tmp_path):
    run, store = make_run(tasks=ONE, samples=0), tmp_path / "store"
    with locked(store / LOCK):
        code = "import sys, leaderboard.submission as a; a.add(sys.argv[1], sys.argv[2], lambda folder: [])"
        waiting = subprocess.Popen([sys.executable, "-c", code, str(run), str(store)])
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(timeout=2)
        assert run_folders(store) == []
    assert waiting.wait(timeout=20) == 0
    assert len(run_folders(store)) == 1
    assert os.listdir(store)


def change(path, number=1, **fields):
    """Rewrites fields of one line of a run's records; `signature` is merged, None in it removes a key."""
    lines = path.read_text().splitlines()
    value = json.loads(lines[number - 1])
    for key, field in fields.items():
        if key == "signature":
            value[key] |= field
            value[key] = {name: part for name, part in value[key].items() if part is not None}
        else:
            value[key] = field
    lines[number - 1] = json.dumps(value)
    path.write_text("".join(line + "\n" for line in lines))


@pytest.fixture
def run(make_run):
    return make_run(tasks=ONE, samples=0)


def test_a_whole_run_is_read_from_its_folder_or_its_records(run):
    submission = read_submission(run)
    assert submission.manifest.model == "phantom-tiny"
    assert read_submission(run / "records.jsonl").found == submission.found
    assert submission.found[1][0] == f"{run}/records.jsonl:2"
    assert submission.statistics() == []


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"vlaue": 0.5}, "records.jsonl:2: unknown field 'vlaue'; did you mean 'value'?"),
        ({"value": "high"}, "records.jsonl:2: field 'value': "),
        ({"ci_low": 0.9, "ci_high": 0.1}, "ci_low 0.9 is above ci_high 0.1"),
        ({"split": "train"}, "records.jsonl:2: field 'split': 'train', but manifest.json says 'test'"),
        ({"dataset": "other"}, "field 'dataset': 'other', but manifest.json says 'phantom'"),
        ({"run": "other"}, "field 'run': 'other', but manifest.json says 'aaaa1111bbbb2222'"),
        ({"model": "another"}, "field 'model': measured 'another', but manifest.json says 'phantom-tiny'"),
        ({"task": "speed"}, "field 'task': 'speed' is none of the manifest's: report-generation"),
        ({"model": "=HYPERLINK(1)"}, "records.jsonl:2: field 'model': '=HYPERLINK(1)' begins as a formula"),
        ({"metric": "@SUM(1)"}, "records.jsonl:2: field 'metric': '@SUM(1)' begins as a formula, which a spreadsheet"),
        ({"task": "+1+1"}, "field 'task': '+1+1' begins as a formula"),
        ({"dataset": "-2+3"}, "field 'dataset': '-2+3' begins as a formula"),
        ({"split": "\ttest"}, "field 'split': '\\ttest' begins as a formula"),
        ({"model": "a\x1b[31mred"}, "field 'model': 'a\\x1b[31mred' is no line of printable text"),
        ({"kind": "reported"}, "field 'kind': a published number is no result of a run"),
        ({"coverage": 0.3333}, "field 'coverage': 0.3333 is no share of 256 cases"),
        ({"n": 40}, "field 'signature.n': 256, but this is 40"),
        ({"signature": {"data": "0000"}}, "field 'signature.data': '0000', but this is 'f00dfeed12345678' (scored on"),
        ({"signature": {"data": None}}, "field 'signature.data' is missing"),
        ({"signature": {"model": "another"}}, "field 'signature.model': 'another'"),
        ({"signature": {"metric": "CIDEr"}}, "field 'signature.metric': 'CIDEr', but this is 'BLEU-2'"),
        ({"signature": {"statistics": {"file": "statistics/a/b.npz", "key": "k"}}}, "the submission lacks statistics/a/b.npz"),
        ({"signature": {"statistics": {"file": "statistics/../../b.npz", "key": "k"}}}, "is no file in statistics/"),
        ({"signature": {"statistics": "somewhere"}}, "field 'signature.statistics': names no file and key"),
        ({"signature": {"statistics": {}}}, "field 'signature.statistics': names no file and key"),
        ({"signature": {"statistics": {"file": "", "key": "k"}}}, "'' is no file in statistics/"),
        ({"signature": {"statistics": {"file": f"statistics/{300 * 'a'}.npz", "key": "k"}}}, "the submission lacks statistics"),
        ({"kind": "reported", "n": None, "coverage": None}, "field 'kind': a published number is no result of a run"),
        ({"value": 7.3, "ci_low": 0.1, "ci_high": 0.2}, "field 'value': 7.3 lies outside of its interval, 0.1 to 0.2"),
    ],
    ids=str,
)
def test_one_bad_record_is_refused_by_line_and_field(run, fields, reason):
    change(run / "records.jsonl", 2, **fields)
    with pytest.raises(RefusedError) as refused:
        read_submission(run)
    assert any(reason in one for one in refused.value.reasons), refused.value.reasons
    assert "records.jsonl:2" in refused.value.reasons[0]


def test_a_study_has_rows_of_many_models(run, make_record):
    manifest = run / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"tasks": ["ablation"], "model": "ablation"}))
    line = make_record(task="ablation", model="causal-mask", metric="nats", signature={"metric": "nats", "model": "another"})
    (run / "records.jsonl").write_text(json.dumps(line) + "\n")
    assert read_submission(run).records[0].model == "causal-mask"
    change(run / "records.jsonl", 1, signature={"data": "0000"})
    with pytest.raises(RefusedError, match=r"signature\.data"):
        read_submission(run)


@pytest.mark.parametrize("task", ["augmentation (external-prior)", "augmentation (budget-matched)"])
def test_an_augmentation_is_a_study_whatever_its_regime(run, make_record, task):
    manifest = run / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"tasks": [task]}))
    line = make_record(task=task, model="phantom-tiny: real+synthetic 100 %", metric="gain", signature={"metric": "gain"})
    (run / "records.jsonl").write_text(json.dumps(line) + "\n")
    assert read_submission(run).records[0].task == task


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"n": "382"}, "field 'n': Input should be a valid integer"),
        ({"failures": None}, "field 'failures': Input should be a valid integer"),
        ({"settings": {"part": float("nan")}}, "field 'settings.part' is NaN"),
        ({"terms": "\ud800"}, "half of a surrogate pair"),
        ({"settings": {"\udfff": 1}}, "half of a surrogate pair"),
    ],
    ids=str,
)
def test_a_bad_manifest_is_refused_by_field(run, fields, reason):
    manifest = run / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | fields))
    with pytest.raises(RefusedError, match=r"manifest\.json(: |. cannot be read: )") as refused:
        read_submission(run)
    assert reason in refused.value.reasons[0]


def test_a_manifest_of_brackets_is_refused(run):
    (run / "manifest.json").write_text("[" * 100_000)
    with pytest.raises(RefusedError, match=r"manifest\.json' cannot be read: lists and objects are nested"):
        read_submission(run)


def test_every_reason_is_told(run):
    change(run / "records.jsonl", 1, n=-1)
    change(run / "records.jsonl", 3, split="val")
    (run / "records.jsonl").write_text((run / "records.jsonl").read_text() + "{broken\n")
    with pytest.raises(RefusedError, match=r"is refused: .*records\.jsonl:1: field 'n'.*\(and 2 more\)") as refused:
        read_submission(run)
    assert len(refused.value.reasons) == 3


def test_a_duplicate_within_a_submission_is_refused(run):
    records = run / "records.jsonl"
    lines = records.read_text().splitlines()
    records.write_text("\n".join([*lines, lines[0]]) + "\n")
    with pytest.raises(RefusedError, match=rf"records\.jsonl:{len(lines) + 1}: a second record of .*; the first is line 1"):
        read_submission(run)


def test_failures_must_show_in_the_coverage(run):
    manifest = run / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"failures": 2, "n": 256}))
    with pytest.raises(RefusedError, match="2 samples failed, and yet every record has coverage 1"):
        read_submission(run)


def test_more_cases_than_the_run_had(run):
    manifest = run / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"n": 100}))
    with pytest.raises(RefusedError, match=r"field 'n': 256 cases, but manifest\.json says that the run had 100"):
        read_submission(run)


def test_what_is_no_submission(tmp_path, run):
    with pytest.raises(UserError, match=r"nowhere: no such submission: give a run's folder"):
        read_submission(tmp_path / "nowhere")
    (run / "records.jsonl").write_text("\n")
    with pytest.raises(RefusedError, match="no records"):
        read_submission(run)
    (run / "manifest.json").write_text("[]")
    with pytest.raises(RefusedError, match=r"manifest\.json"):
        read_submission(run)
    (run / "records.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(RefusedError):
        read_submission(run)
