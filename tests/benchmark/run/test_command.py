import json
import sys

import pytest
from PIL import Image

from benchmark.run.command import summary
from leaderboard.record import Record
from medim.common.errors import UserError
from tasks import task_named


def test_run_prints_a_table_and_the_page(command, tmp_path):
    result = command("run", "all", "--model", "painter", "--data", "colours", "--out", tmp_path / "o", "--limit", 12)
    assert result.exit_code == 0, result.output
    assert "image-generation     macro finding F1 ↑" in result.stdout
    assert "painter                               1" in result.stdout
    assert "real (anchor)" in result.stdout
    assert "colours is synthetic" in result.stdout
    assert f"page: {tmp_path}/o/leaderboard/index.html" in result.stdout


def test_ctrl_c_says_that_the_same_command_continues(command, model, tmp_path):
    arguments = (
        "run",
        "image-generation",
        "--model",
        "painter",
        "--data",
        "colours",
        "--out",
        tmp_path / "o",
        "--batch-size",
        4,
    )
    model.fails_after = 3
    result = command(*arguments)
    assert result.exit_code == 130
    assert result.stderr.endswith("interrupted; the same command continues\n")
    model.fails_after = None
    assert command(*arguments).exit_code == 0
    assert len(model.drawn) == len(set(model.drawn)) == 20


def test_a_failed_sample_gives_status_3(command, model, tmp_path):
    model.broken = {"it is red number 5"}
    result = command("run", "image-generation", "--model", "painter", "--data", "colours", "--out", tmp_path / "o")
    assert result.exit_code == 3
    assert f"1 sample failed: {tmp_path}/o/failures.jsonl" in result.stderr


@pytest.mark.parametrize("missing", ["--model", "--data", "--out"])
def test_run_says_what_it_lacks(command, tmp_path, missing):
    options = {"--model": "painter", "--data": "colours", "--out": tmp_path / "o"}
    del options[missing]
    result = command("run", "all", *(item for pair in options.items() for item in pair))
    assert result.exit_code == 2
    assert result.stderr == f"error: run needs {missing}\n"


def test_set_reaches_the_sampler_and_its_mistakes_are_told(command, model, tmp_path):
    arguments = ("run", "image-generation", "--model", "painter", "--data", "colours", "--out", tmp_path / "o")
    assert command(*arguments, "--set", "sampling.image.steps=32").exit_code == 0
    assert json.loads((tmp_path / "o/manifest.json").read_text())["settings"] == {"image": {"steps": 32}}
    result = command(*arguments, "--set", "sampling.image.step=32")
    assert result.exit_code == 2
    assert "did you mean 'image.steps'" in result.stderr


def test_only_dtype_and_sampler_settings_can_be_set_on_a_trained_model():
    from benchmark.run.command import open_model

    with pytest.raises(UserError, match="--set learning_rate: a trained model takes dtype and sampler settings"):
        open_model("phantom-tiny", None, {"learning_rate": "1"})


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("inceptoin", "unknown feature space 'inceptoin'; did you mean 'inception'"),
        ("timm:resnet18", "needs the package 'timm': pip install timm"),
        ("inception:/no/such/file", "no file '/no/such/file'"),
    ],
)
def test_a_feature_space_that_cannot_be_had_stops_a_run_at_once(command, model, tmp_path, monkeypatch, spec, message):
    monkeypatch.setitem(sys.modules, "timm", None)
    arguments = ("run", "image-generation", "--model", "painter", "--data", "colours", "--out", tmp_path / "o")
    result = command(*arguments, "--features", spec)
    assert result.exit_code == 2
    assert message in result.stderr
    assert model.drawn == []
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("spec", ["inception", "inception-clean"])
def test_missing_weights_of_inception_are_told_before_anything_is_drawn(command, model, tmp_path, monkeypatch, spec):
    monkeypatch.delenv("MEDIM_BENCH_WEIGHTS", raising=False)
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    arguments = ("run", "image-generation", "--model", "painter", "--data", "colours", "--out", tmp_path / "o")
    result = command(*arguments, "--features", spec)
    assert result.exit_code == 0, result.output
    assert result.stderr.splitlines()[0].startswith(f"--features {spec}: its columns will stay blank: Inception weights")
    assert len(model.drawn) == 20


def test_an_out_with_other_files_is_left_alone(command, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    result = command("run", "all", "--model", "painter", "--data", "colours", "--out", tmp_path, "--overwrite")
    assert result.exit_code == 2
    assert "holds files that no run of medim-bench wrote" in result.stderr
    assert (tmp_path / "thesis.txt").exists()


def test_demo_runs_its_suite(command, model, dataset, tmp_path, monkeypatch):
    import medim.data.loading

    opened = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(medim.data.loading, "load_dataset", lambda name: opened.append(name) or dataset)
    monkeypatch.setattr("benchmark.run.command.open_model", lambda name, *rest: opened.append(name) or model)
    monkeypatch.setattr(
        "benchmark.augmentation.augment.execute_augmentation",
        lambda options: opened.append((options.preset, str(options.out))) or 0,
    )
    result = command("demo")
    assert result.exit_code == 0, result.output
    assert opened == ["phantom", "phantom-tiny", ("demo", "runs/demo-augmentation")]
    assert "page: runs/demo/leaderboard/index.html" in result.stdout
    batches = model.batches
    assert command("demo").exit_code == 0
    assert model.batches == batches


def test_options_come_before_a_suites_own(command, model, dataset, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ("run", "image-generation", "--suite", "demo", "--model", "painter", "--data", "colours", "--limit", 5)
    result = command(*arguments, "--out", "here")
    assert result.exit_code == 0, result.output
    manifest = json.loads((tmp_path / "here/manifest.json").read_text())
    assert (manifest["n"], manifest["tasks"], manifest["dataset"]) == (5, ["image-generation"], "colours")


@pytest.mark.parametrize(
    ("kind", "given", "keys"),
    [
        ("image", ("--prompt", "it is red"), {"image", "prompt"}),
        ("image", ("--data", "colours"), {"image", "prompt"}),
        ("report", ("--data", "colours"), {"report"}),
        ("pair", (), {"image", "report"}),
        ("pair", ("--prompt", "blue"), {"image", "report", "prompt"}),
    ],
)
def test_sample_draws_and_continues(command, model, tmp_path, kind, given, keys):
    arguments = ("sample", kind, "--model", "painter", "--out", tmp_path / "s", "--n", 6, *given)
    result = command(*arguments)
    assert result.exit_code == 0, result.output
    lines = [json.loads(line) for line in (tmp_path / "s/samples.jsonl").read_text().splitlines()]
    assert len(lines) == 6
    for line in lines:
        assert {key for key in ("image", "report", "prompt") if line[key] is not None} == keys
        assert line["image"] is None or (tmp_path / "s" / line["image"]).is_file()
    assert all(line["cost"]["seconds"] > 0 for line in lines)
    assert len({line["seed"] for line in lines}) == 6
    with Image.open(tmp_path / "s/contact_sheet.png") as sheet:
        assert sheet.width > 6 * 100
    batches = model.batches
    assert command(*arguments).exit_code == 0
    assert model.batches == batches
    assert "n = 6, and now n = 7" in command(*arguments[: -len(given) or None], "--n", 7, *given).stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("image",), "needs either --prompt TEXT or --data"),
        (("report",), "needs --data"),
        (("pair", "--data", "colours"), "--data serves it for sampling.steering"),
    ],
)
def test_sample_says_what_it_needs(command, tmp_path, arguments, message):
    result = command("sample", *arguments, "--model", "painter", "--out", tmp_path / "s")
    assert result.exit_code == 2
    assert message in result.stderr


def test_leaderboard_builds_from_runs_and_shows(command, tmp_path):
    command("run", "all", "--model", "painter", "--data", "colours", "--out", tmp_path / "o")
    result = command("leaderboard", "show", tmp_path / "o")
    assert result.exit_code == 0
    assert result.stdout.startswith("| model |")
    result = command("leaderboard", "build", tmp_path / "none", "--out", tmp_path / "b")
    assert result.exit_code == 2
    assert "none' is not a folder" in result.stderr


HEADLINES = {name: task_named(name).headline_metrics for name in ("image-generation", "report-generation")}


def record(model, metric, value, kind="measured", task="report-generation", better=True):
    return Record(
        task=task,
        model=model,
        dataset="d",
        split="test",
        metric=metric,
        value=value,
        n=3,
        coverage=1.0,
        seed=0,
        protocol="strict-v1",
        signature={},
        kind=kind,
        commit="c",
        command="x",
        created="2026-01-01T00:00:00+00:00",
        reason=None if value is not None else "Java is missing",
        higher_is_better=better,
        synthetic=True,
        run="r",
    )


def test_main_metrics_in_their_order_and_why_a_cell_is_empty():
    records = [
        record("m", "CIDEr", 1.23456),
        record("m", "METEOR", None),
        record("m", "distinct-2", 0.5),
        record("m", "BLEU-4", 0.25),
        record("real", "CIDEr", 10.0, "anchor"),
    ]
    assert summary(records, HEADLINES).splitlines() == [
        "report-generation  BLEU-4 ↑  METEOR ↑  CIDEr ↑",
        "----------------------------------------------",
        "m                      0.25         -    1.235",
        "  real (anchor)                             10",
        "  - METEOR: Java is missing",
    ]


def test_why_fid_is_withheld_stands_below_the_table():
    records = [record("m", "macro finding F1", 0.5, task="image-generation"), record("m", "FID", None, task="image-generation")]
    assert summary(records, HEADLINES).splitlines()[0].endswith("macro finding F1 ↑  FID ↑")
    assert summary(records, HEADLINES).splitlines()[-1] == "  - FID: Java is missing"


def test_a_task_without_main_metrics_shows_its_first():
    table = summary([record("m", f"metric {index}", 1.0, task="other", better=None) for index in range(9)], {})
    assert table.splitlines()[0].split("  ")[1:] == [f"metric {index}" for index in range(6)]


def test_a_metric_of_another_protocol_stands_in_its_column():
    records = [record("m", "BLEU-4 (r2gen)", 0.5), record("m", "distinct-2", 0.1), record("m", "CIDEr (r2gen)", 2.0)]
    assert summary(records, HEADLINES).splitlines()[0] == "report-generation  BLEU-4 (r2gen) ↑  CIDEr (r2gen) ↑"
