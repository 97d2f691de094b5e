import json

import pytest

from benchmark.results.check_sums import verify
from benchmark.run.runner import choose, run
from leaderboard.record import read_records
from medim.common.errors import UserError


@pytest.fixture
def go(dataset, model, colour_tasks, tmp_path):
    """Runs into one folder with small batches."""

    def call(*tasks, **options):
        chosen = tasks or ("all",)
        return run(model, dataset, chosen, tmp_path / "out", resolution=8, batch_size=4, command="test", **options)

    return call


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_run_leaves_records_samples_manifest_and_page(go, tmp_path, dataset):
    result = go()
    out = tmp_path / "out"
    records = read_records(out / "records.jsonl")
    assert records == result.records
    assert len(records) == 3 * 3 * 2  # tasks, systems, metrics
    values = {(r.task, r.model): r.value for r in records if r.metric == "macro finding F1"}
    assert values["image-generation", "painter"] == values["report-generation", "painter"] == 1.0
    assert values["joint-generation", "painter"] == 13 / 20  # always red; so are 13 of 20 cases
    assert values["image-generation", "constant"] == 7 / 20  # the first training image is blue
    kinds = {(r.model, r.kind) for r in records}
    assert kinds == {("painter", "measured"), ("real", "anchor"), ("constant", "anchor")}
    measured = next(r for r in records if r.model == "painter")
    assert measured.signature["settings"] == {"image": {"steps": 16}}
    assert measured.signature["data"] == dataset.fingerprint
    assert (measured.protocol, measured.seed, measured.command, measured.synthetic) == ("strict-v1", 0, "test", True)
    withheld = next(r for r in records if r.metric == "CIDEr")
    assert withheld.value is None
    assert withheld.reason == "fewer than 50 references"

    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["tasks"] == ["image-generation", "report-generation", "joint-generation"]
    assert (manifest["run"], manifest["withhold_samples"], manifest["n"]) == (records[0].run, False, 20)
    assert result.page.read_text() == "page"
    assert not (out / "failures.jsonl").exists()

    samples = lines(out / "samples/image-generation/painter/samples.jsonl")
    assert [sample["id"] for sample in samples] == [f"test-{index:02d}" for index in range(20)]
    folder = out / "samples/image-generation/painter"
    for sample in samples:
        assert (folder / sample["image"]).is_file()
        assert (folder / sample["reference_image"]).resolve().is_relative_to(out)
        assert sample["scores"] == {"hit": 1.0}
    joint = lines(out / "samples/joint-generation/painter/samples.jsonl")
    assert {sample["reference_image"] for sample in joint} == {sample["reference_report"] for sample in joint} == {None}


def test_a_run_keeps_the_sums_of_its_scores(go, tmp_path):
    go()
    out = tmp_path / "out"
    found = verify(out)
    assert (found.agree, found.withheld, found.problems) == (9, 9, [])  # tasks x systems
    record = next(r for r in read_records(out / "records.jsonl") if r.model == "painter")
    where = {"file": "statistics/image-generation/painter.npz", "key": "macro finding F1"}
    assert record.signature["statistics"] == where
    kept = (out / where["file"]).read_bytes()
    (out / where["file"]).unlink()
    assert list(verify(out).missing.values()) == [1]
    go()  # scores what lost its sums again
    assert (out / where["file"]).read_bytes() == kept
    go(overwrite=True)
    assert verify(out).agree == 9


def test_a_killed_run_continues_where_it_stopped(go, model, tmp_path):
    model.fails_after = 2
    with pytest.raises(KeyboardInterrupt):
        go("image-generation")
    first = list(model.drawn)
    assert len(first) == 8
    generated = tmp_path / "out/samples/image-generation/painter/generated.jsonl"
    with generated.open("a") as stream:
        stream.write('{"id": "test-08", "ima')  # what a SIGKILL leaves of a line
    model.fails_after = None
    go("image-generation")
    assert len(model.drawn) == 20
    assert len(set(model.drawn)) == 20
    assert [line["id"] for line in lines(generated)] == [f"test-{index:02d}" for index in range(20)]


def test_a_second_run_generates_and_scores_nothing(go, model, colour_tasks, tmp_path):
    first = go()
    batches, scored = model.batches, [task.scored for task in colour_tasks.values()]
    page = first.page.stat().st_mtime_ns
    assert go().records == first.records
    assert model.batches == batches
    assert [task.scored for task in colour_tasks.values()] == scored == [3, 3, 3]
    assert first.page.stat().st_mtime_ns == page


def test_tasks_of_several_commands_gather_in_one_folder(go, model, colour_tasks, tmp_path):
    go("image-generation")
    result = go("report-generation")
    assert list(dict.fromkeys(r.task for r in result.records)) == ["image-generation", "report-generation"]
    assert colour_tasks["image-generation"].scored == 3


def test_a_lost_image_is_drawn_again_and_scored_again(go, model, colour_tasks, tmp_path):
    go("image-generation")
    (tmp_path / "out/samples/image-generation/painter/images/test-03.png").unlink()
    go("image-generation")
    assert len(model.drawn) == 21
    assert model.drawn[-1] == "it is blue number 3"
    assert colour_tasks["image-generation"].scored == 3  # the same image, so the same score


def test_seeds_do_not_depend_on_batching_or_limit(dataset, model, colour_tasks, tmp_path):
    run(model, dataset, ["image-generation"], tmp_path / "a", resolution=8, batch_size=20)
    all_seeds = dict(model.seeds)
    model.seeds.clear()
    run(model, dataset, ["image-generation"], tmp_path / "b", resolution=8, batch_size=3, limit=7)
    assert len(model.seeds) == 7
    assert model.seeds.items() <= all_seeds.items()
    assert len(set(all_seeds.values())) == 20


@pytest.mark.parametrize(("options", "key"), [({"seed": 1}, "seed = 0, and now seed = 1"), ({"limit": 5}, "limit = null")])
def test_another_configuration_is_refused(go, options, key):
    go("image-generation")
    with pytest.raises(UserError, match=key):
        go("image-generation", **options)


def test_another_sampler_setting_is_refused_and_overwrite_starts_anew(go, model, tmp_path):
    go("image-generation")
    model.steps = 32
    with pytest.raises(UserError, match=r"settings\.image\.steps = 16, and now settings\.image\.steps = 32"):
        go("image-generation")
    go("image-generation", overwrite=True)
    assert len(model.drawn) == 40


def test_one_broken_sample_is_listed_and_tried_again(go, model, tmp_path):
    model.broken = {"it is red number 5"}
    result = go("image-generation")
    failures = lines(tmp_path / "out/failures.jsonl")
    assert [(f["task"], f["system"], f["id"]) for f in failures] == [("image-generation", "painter", "test-05")]
    assert failures[0]["error"] == "RuntimeError: cannot draw 'it is red number 5'"
    assert len(result.failures) == 1
    score = next(r for r in result.records if r.model == "painter" and r.metric == "macro finding F1")
    assert (score.value, score.coverage, score.n) == (0.95, 0.95, 20)
    model.broken = set()
    result = go("image-generation")
    assert result.failures == []
    assert next(r.value for r in result.records if r.model == "painter") == 1.0
    assert not (tmp_path / "out/failures.jsonl").exists()


def test_a_broken_model_stops_the_run(go, model):
    model.fails_after, model.error = 1, RuntimeError("out of memory")
    with pytest.raises(RuntimeError, match="out of memory"):
        go("image-generation")
    assert len(model.drawn) == 4


def test_a_model_cannot_take_an_anchors_name(go, model):
    model.name = "real"
    with pytest.raises(UserError, match="cannot be named 'real'"):
        go()


def test_an_object_that_is_no_generator_is_told_what_it_lacks(go, model, dataset, tmp_path):
    class Theirs:
        generate_images, generate_reports, generate_pairs = model.generate_images, model.generate_reports, model.generate_pairs

    with pytest.raises(UserError, match="a model of type Theirs is no generator: it lacks name, fingerprint, settings "):
        run(Theirs(), dataset, ["image-generation"], tmp_path / "out", resolution=8)


def test_unknown_task(colour_tasks, model, dataset):
    with pytest.raises(UserError, match="did you mean 'joint-generation'"):
        choose(["joint-generaton"], model, dataset)


def test_what_a_model_learned_under_holds_for_its_samples(go, tmp_path):
    go("image-generation", learned="PhysioNet Credentialed Health Data License 1.5.0")
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert manifest["withhold_samples"] is True
    assert manifest["terms"].endswith("; PhysioNet Credentialed Health Data License 1.5.0")


def test_restricted_terms_withhold_samples(go, dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(type(dataset), "terms", "PhysioNet Credentialed Health Data License 1.5.0")
    go("image-generation")
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert manifest["withhold_samples"] is True
