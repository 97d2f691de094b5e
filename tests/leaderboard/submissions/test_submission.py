import json

import pytest

from leaderboard.submissions.submission import RefusedError, read_submission
from medim.common.errors import UserError

ONE = ("report-generation",)


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
)  # fmt: skip
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
