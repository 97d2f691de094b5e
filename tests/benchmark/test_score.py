"""`medim-bench score`: a folder of predictions is scored as a model is."""

import json
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from PIL import Image

from benchmark.run import runner, scoring
from benchmark.run.predictions import PredictionStore, write_samples
from leaderboard.record import read_records
from medim.common.files import file_name
from tasks.metrics.pair.domains import DomainReader
from tasks.protocols import Case, Prediction
from tasks.scoring import extensions
from tasks.scoring.scores import make_score

TASKS = ("image-generation", "report-generation", "joint-generation")


@pytest.fixture
def theirs(dataset, tmp_path) -> Path:
    """What the painter of `conftest.py` would have given, written by another program."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    for index in range(20):
        pair = dataset.pair("test", index)
        pair.image.save(folder / f"{pair.id}.png")
        (folder / f"{pair.id}.txt").write_text(f"it is {pair.findings[0]} 0")
    return folder


@pytest.fixture
def score(command, theirs, tmp_path):
    def call(*tasks, out="scored", **options):
        given = [item for key, value in options.items() for item in (f"--{key.replace('_', '-')}", value)]
        return command(
            "score", *(tasks or TASKS), "--predictions", theirs, "--data", "colours", "--out", tmp_path / out, *given
        )

    return call


def values(out: Path, kind: str) -> dict:
    records = read_records(out / "records.jsonl")
    return {(r.task, r.model, r.metric): (r.value, r.coverage, r.n, r.reason) for r in records if r.kind == kind}


def test_predictions_score_as_the_model_that_would_have_given_them(score, command, tmp_path):
    """Tried as a third party would: a folder of images and texts, one command."""
    result = score(name="painter")
    assert result.exit_code == 0, result.output
    assert "page:" in result.stdout
    command("run", *TASKS[:2], "--model", "painter", "--data", "colours", "--out", tmp_path / "run", "--cache", "none")
    ran, scored = values(tmp_path / "run", "measured"), values(tmp_path / "scored", "measured")
    assert ran == {key: value for key, value in scored.items() if key[0] != "joint-generation"}
    anchors = {key: value for key, value in values(tmp_path / "scored", "anchor").items() if key[0] != "joint-generation"}
    assert anchors == values(tmp_path / "run", "anchor")
    record = read_records(tmp_path / "scored" / "records.jsonl")[0]
    assert record.signature["settings"] == {"source": "folder of predictions"}
    assert record.signature["generated_by"] == []
    samples = tmp_path / "scored/samples/image-generation/painter"
    lines = [json.loads(line) for line in (samples / "samples.jsonl").read_text().splitlines()]
    assert len(lines) == 20
    assert all((samples / line["image"]).is_file() and (samples / line["reference_image"]).is_file() for line in lines)


def test_a_name_that_is_no_file_name_is_shown_as_given(score, command, tmp_path):
    """Its folders bear a hash; table, records and manifest the name."""
    name, out = "Röntgen-GPT, 7B", tmp_path / "scored"
    result = score("report-generation", name=name)
    assert result.exit_code == 0, result.output
    assert name in result.stdout
    assert {r.model for r in read_records(out / "records.jsonl") if r.kind == "measured"} == {name}
    assert json.loads((out / "manifest.json").read_text())["model"] == name
    assert (out / "samples/report-generation" / file_name(name) / "samples.jsonl").is_file()
    assert "3 records agree with their sums, 0 do not" in command("leaderboard", "verify", out).output
    for refused in (" ", "two\nlines"):
        result = score("report-generation", name=refused, out="refused")
        assert f"a model's name is one line of printable text, not {refused!r}" in result.output


def test_a_missing_prediction_counts_and_is_told(score, theirs, tmp_path):
    (theirs / "test-05.txt").unlink()
    result = score("report-generation")
    assert result.exit_code == 0
    assert "report-generation: 1 of 20 cases has no prediction and counts as missing (coverage 0.95)" in result.stderr
    value, coverage, n, _ = values(tmp_path / "scored", "measured")["report-generation", "theirs", "macro finding F1"]
    assert (value, coverage, n) == (0.95, 0.95, 20)


def test_predictions_of_no_case_are_told(score, theirs, dataset):
    (theirs / f"{dataset.pair('train', 0).id}.txt").write_text("it is red 0")
    result = score("report-generation", limit=18)
    assert result.exit_code == 0, result.output
    assert (
        "report-generation: 3 of the 21 predictions match no case and are not scored: 2 beyond the first cases (--limit), "
        "1 of split train" in result.stderr
    )


def test_limit_takes_the_first_cases(score, theirs, tmp_path):
    for index in range(12, 20):
        (theirs / f"test-{index}.png").unlink()
    assert "--limit 12 scores the first 12 cases" in score("image-generation").stderr
    result = score("image-generation", out="twelve", limit=12)
    assert "count as missing" not in result.stderr
    assert values(tmp_path / "twelve", "measured")["image-generation", "theirs", "macro finding F1"][:3] == (1.0, 1.0, 12)


def test_samples_of_joint_generation_need_no_ids_of_cases(score, theirs, tmp_path):
    for path in sorted(theirs.iterdir()):
        path.rename(path.with_name(f"generated-{path.name}"))
    result = score("joint-generation")
    assert result.exit_code == 0, result.output
    store = PredictionStore(tmp_path / "scored/samples/joint-generation/theirs")
    assert store.lines["test-03"]["report"] == "it is blue 0"
    assert store.lines["test-03"]["seed"] is None
    refused = score("report-generation", out="refused")
    assert refused.exit_code == 2
    assert "'generated-test-00' is no pair of this split; did you mean 'test-00'?" in refused.stderr
    assert not (tmp_path / "refused").exists()


def test_a_task_without_its_modality_is_refused_by_name_and_skipped_under_all(score, theirs, tmp_path):
    for path in theirs.glob("*.png"):
        path.unlink()
    refused = score("image-generation")
    assert refused.exit_code == 2
    assert "'theirs' cannot do image-generation:" in refused.stderr
    assert "holds no images" in refused.stderr
    result = score("all")
    assert result.exit_code == 0
    assert "joint-generation: skipped:" in result.stderr
    assert {key[0] for key in values(tmp_path / "scored", "measured")} == {"report-generation"}


def test_other_predictions_under_the_same_name_need_overwrite(score, theirs, tmp_path):
    score("report-generation")
    (theirs / "test-00.txt").write_text("something else")
    refused = score("report-generation")
    assert refused.exit_code == 2
    assert "model_fingerprint" in refused.stderr
    assert score("report-generation", "--overwrite").exit_code == 0


def test_a_run_can_be_scored_again_by_another_protocol(command, tmp_path):
    command("run", "report-generation", "--model", "painter", "--data", "colours", "--out", tmp_path / "run")
    samples = tmp_path / "run/samples/report-generation/painter"
    result = command(
        "score",
        "report-generation",
        "--predictions",
        samples,
        "--data",
        "colours",
        "--out",
        tmp_path / "again",
        "--protocol",
        "medim-paper-v1",
    )
    assert result.exit_code == 0, result.output
    records = read_records(tmp_path / "again/records.jsonl")
    assert {record.protocol for record in records} == {"medim-paper-v1"}
    assert json.loads((tmp_path / "again/manifest.json").read_text())["protocol"] == "medim-paper-v1"


@pytest.mark.parametrize("stop", range(6))
def test_killed_anywhere_and_given_again_it_ends_in_the_same_records(score, colour_tasks, monkeypatch, tmp_path, stop):
    """Stopped at the n-th of its steps: while predictions are taken over, while systems are scored, before the page."""
    score(out="whole")
    whole = [r.model_dump(exclude={"created", "command", "run"}) for r in read_records(tmp_path / "whole/records.jsonl")]
    steps = 0

    def counted(original):
        def call(*arguments, **options):
            nonlocal steps
            steps += 1
            if steps == 1 + 3 * stop:
                raise KeyboardInterrupt
            return original(*arguments, **options)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(PredictionStore, "append", counted(PredictionStore.append))
        patch.setattr("benchmark.run.scoring.write_samples", counted(scoring.write_samples))
        patch.setattr("benchmark.run.scoring.write_statistics", counted(scoring.write_statistics))
        patch.setattr("benchmark.run.runner.write_records", counted(runner.write_records))
        killed = score(cache="none")
    assert killed.exit_code == 130
    assert "interrupted; the same command continues" in killed.stderr
    assert score(cache="none").exit_code == 0
    records = [r.model_dump(exclude={"created", "command", "run"}) for r in read_records(tmp_path / "scored/records.jsonl")]
    assert records == whole


@pytest.mark.parametrize("missing", ["--predictions", "--data", "--out"])
def test_score_says_what_it_lacks(command, theirs, tmp_path, missing):
    options = {"--predictions": theirs, "--data": "colours", "--out": tmp_path / "o"}
    del options[missing]
    result = command("score", "all", *(item for pair in options.items() for item in pair))
    assert result.exit_code == 2
    assert result.stderr == f"error: score needs {missing}\n"


def test_reports_are_scored_where_the_images_cannot_be_had(command, tmp_path):
    folder, theirs = tmp_path / "references", tmp_path / "words"
    folder.mkdir()
    theirs.mkdir()
    lines = [{"id": f"r{n}", "report": f"it is red number {n}", "split": "test", "findings": ["red"]} for n in range(5)]
    (folder / "reports.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (theirs / "r1.txt").write_text("it is red")
    arguments = ("--predictions", theirs, "--data", folder, "--out", tmp_path / "o")
    refused = command("score", "image-generation", *arguments)
    assert "data set 'references' holds reports alone: an image is needed of every case" in refused.stderr
    Image.new("L", (4, 4)).save(theirs / "r1.png")
    result = command("score", "all", *arguments)
    assert "joint-generation: skipped: data set 'references' holds reports alone" in result.stderr
    # The two-colour tasks cannot read this folder's reports without its checker; the real task is tested with real reports.
    assert result.exit_code == 1
    assert isinstance(result.exception, TypeError)
    run = command("run", "report-generation", "--model", "painter", "--data", folder, "--out", tmp_path / "p")
    assert "holds reports alone: only a folder of predictions can be scored" in run.stderr


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--limit", "3"),
        ("--split", "val"),
        ("--protocol", "r2gen"),
        ("--judge", "."),
        ("--name", "x"),
        ("--seed", "0"),
        ("--resolution", "8"),
        ("--features", "efficientnet-lite0"),
        ("--cache", "none"),
        ("--map", "id=x"),
        ("--ids", "x"),
        ("--reference", "x"),
        ("--show-samples", None),
    ],
)
def test_grounding_refuses_what_it_does_not_read(command, tmp_path, option, value):
    arguments = ["score", "grounding", "--data", tmp_path, "--predictions", tmp_path / "p", "--out", tmp_path / "o", option]
    result = command(*arguments, *([] if value is None else [value]))
    assert result.exit_code == 2
    assert f"score grounding takes no {option}" in result.output


def test_a_metric_that_fails_loses_its_column_alone_and_is_tried_again(score, monkeypatch, tmp_path):
    """The same command again fills the blank; what other packages give of the other systems is not taken from the cache."""
    healed = []

    def flaky(task, cases, predictions, context):
        if not healed:
            raise Exception("\x1b[31mno weights here\x1b[0m")
        return [make_score("answered", 1.0, context, len(cases), 1.0, True)]

    entry = EntryPoint("flaky", "elsewhere:flaky", extensions.ENTRY_POINTS)
    monkeypatch.setattr(extensions, "entry_points", lambda group: [entry])
    monkeypatch.setattr(EntryPoint, "load", lambda self: flaky)
    for _ in range(2):
        result = score("report-generation", cache=tmp_path / "cache")
        assert result.exit_code == 0, result.output
        found = values(tmp_path / "scored", "measured")
        key = ("report-generation", "theirs", "flaky")
        assert found[key][0] is None
        assert found[key][3] == "metric 'flaky' (elsewhere:flaky): Exception: no weights here"
        assert [value for value, *_ in found.values() if value is not None]
    healed.append(True)
    assert score("report-generation", cache=tmp_path / "cache").exit_code == 0
    for kind in ("measured", "anchor"):
        found = {metric: value for (_, _, metric), (value, *_) in values(tmp_path / "scored", kind).items()}
        assert found["answered"] == 1
        assert "flaky" not in found


def test_a_sample_drawn_from_nothing_bears_no_cases_domain(tmp_path, dataset):
    """Of its own report, by the words of the references; one that answers a case has the case's."""
    cases = [
        Case(f"c{number}", f"p{number}", domain, Image.new("RGB", (8, 8)), f"{word} {number}", None)
        for number, (domain, word) in enumerate([("chest", "lungs and heart"), ("pathology", "glands and stroma")] * 8)
    ]
    read = DomainReader([case.report for case in cases], [case.domain for case in cases])
    drawn = [Prediction(case.id, report="the glands and stroma") for case in cases[:2]]
    write_samples(tmp_path, cases[:2], drawn, [{}, {}], paired=False, images=0, domains=read([one.report for one in drawn]))
    lines = [json.loads(line) for line in (tmp_path / "samples.jsonl").read_text().splitlines()]
    assert [line["domain"] for line in lines] == ["pathology", "pathology"]
    write_samples(tmp_path, cases[:2], drawn, [{}, {}], paired=True, images=0)
    lines = [json.loads(line) for line in (tmp_path / "samples.jsonl").read_text().splitlines()]
    assert [line["domain"] for line in lines] == ["chest", "pathology"]
