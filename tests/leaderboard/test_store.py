import json

import pytest

from leaderboard.record import Record, read_records
from leaderboard.store import CARDS, TaskCard, card_of, collect, merge, read_manifest, read_samples, systems_of
from medim.common.errors import UserError
from tasks import task_named, task_names


def edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_runs_are_merged_in_order_and_duplicates_dropped(make_run):
    a, b = make_run("a"), make_run("b", run="bbbb", model="other")
    both = read_records(a / "records.jsonl") + read_records(b / "records.jsonl")
    assert collect([a, b]).records == both
    assert collect([a, b, a]).records == both
    assert list(collect([a, b]).runs) == ["aaaa1111bbbb2222", "bbbb"]


def test_folders_of_one_run_are_its_parts(make_run):
    """Each task in a process and a folder of its own: one run id, and manifests that differ in tasks, command and time."""
    a = make_run("a", tasks=("image-generation",), samples=2)
    b = make_run("b", tasks=("report-generation", "image-generation"), samples=3)
    edit(b / "manifest.json", created="2026-06-01T00:00:00+00:00", tasks=["report-generation", "image-generation"])
    found = collect([a, b, a])
    run = found.runs["aaaa1111bbbb2222"]
    assert run.folders == (a, b)
    assert run.manifest.tasks == ["image-generation", "report-generation"]
    assert len(found.records) == len(read_records(b / "records.jsonl"))  # those of both are kept once
    assert {task for task, _ in systems_of(run)} == {"image-generation", "report-generation"}
    assert systems_of(run).count(("image-generation", "real")) == 1
    assert len(read_samples(run, "image-generation", "real")) == 2
    assert read_samples(run, "report-generation", "real")[0].reference_image.is_relative_to(b)


@pytest.mark.parametrize(
    ("name", "value"), [("model_fingerprint", "other"), ("settings", {"steps": 4}), ("withhold_samples", True), ("terms", None)]
)
def test_one_run_id_of_two_configurations_is_refused(make_run, name, value):
    a, b = make_run("a", tasks=("image-generation",)), make_run("b", tasks=("report-generation",))
    edit(b / "manifest.json", **{name: value})
    with pytest.raises(UserError, match=rf"b/manifest.json: field '{name}': .* has .* in .*a/manifest.json: two runs"):
        collect([a, b])


def test_parts_that_disagree_are_refused_with_both_files(make_run):
    a, b = make_run("a", tasks=("image-generation",)), make_run("b", tasks=("image-generation",), quality=0.4)
    with pytest.raises(UserError, match=r"b/records\.jsonl: conflicts with .*a/records\.jsonl"):
        collect([a, b])


@pytest.mark.parametrize(("field", "value"), [("value", 0.6), ("ci_low", 0.4), ("n", 255), ("coverage", 0.9)])
def test_conflicting_duplicates_are_refused(make_record, field, value):
    first = Record(**make_record(ci_low=0.45, ci_high=0.55))
    other = first.model_copy(update={field: value})
    with pytest.raises(
        UserError, match=rf"b: conflicts with a: report-generation/BLEU-4 of 'phantom-tiny'.*{field} {value} against"
    ):
        merge([("a", first), ("b", other)])


@pytest.mark.parametrize(
    "changes", [{"seed": 1}, {"run": "b"}, {"protocol": "medim-paper-v1"}, {"kind": "anchor"}, {"metric": "BLEU-1"}]
)
def test_records_of_another_key_stand_side_by_side(make_record, changes):
    records = [Record(**make_record()), Record(**make_record(value=0.1, **changes))]
    assert merge([("a", records[0]), ("b", records[1])]) == records


@pytest.mark.parametrize("field", ["run", "dataset", "split"])
def test_records_of_another_run_or_data_set_are_refused(make_run, field):
    folder = make_run()
    edit(folder / "manifest.json", **{field: "other"})
    with pytest.raises(UserError, match=f"{field} '.*' but the manifest says 'other'"):
        collect([folder])


def test_a_folder_that_is_no_run_is_named(tmp_path, make_run):
    with pytest.raises(UserError, match=r"nowhere/manifest\.json' does not exist"):
        collect([tmp_path / "nowhere"])
    with pytest.raises(UserError, match=r"manifest\.json' does not exist"):
        collect([tmp_path])
    manifest = make_run() / "manifest.json"
    edit(manifest, withhold_samples=None)
    with pytest.raises(UserError, match=r"manifest\.json: field 'withhold_samples'"):
        read_manifest(manifest)
    edit(manifest, withhold_samples="yes")
    with pytest.raises(UserError, match=r"field 'withhold_samples': Input should be a valid boolean"):
        read_manifest(manifest)
    manifest.write_text(manifest.read_text().replace("{", '{"withhold_samples": false,', 1))
    with pytest.raises(UserError, match=r"broken JSON: field 'withhold_samples' stands twice"):
        read_manifest(manifest)
    manifest.write_text("{")
    with pytest.raises(UserError, match=r"manifest\.json' cannot be read: broken JSON"):
        read_manifest(manifest)


def test_samples_are_read_with_their_pictures(make_run):
    run = collect([make_run(samples=3)]).runs["aaaa1111bbbb2222"]
    assert systems_of(run)[0] == ("image-generation", "phantom-tiny")
    assert ("report-generation", "reconstruction") not in systems_of(run)
    sample = read_samples(run, "image-generation", "phantom-tiny")[0]
    assert sample.image.is_file()
    assert sample.reference_image.is_file()
    assert (sample.id, sample.domain, sample.scores) == ("chest-000", "chest-xray", {"finding F1": 0.75})


def test_a_picture_outside_the_run_folder_is_refused(make_run):
    folder = make_run(samples=1)
    path = folder / "samples" / "image-generation" / "phantom-tiny" / "samples.jsonl"
    edit(path, image="../../../../secret.png")
    run = collect([folder]).runs["aaaa1111bbbb2222"]
    with pytest.raises(UserError, match=r"samples\.jsonl:1: field 'image': '.*secret\.png' leaves the run folder"):
        read_samples(run, "image-generation", "phantom-tiny")
    path.write_text("{}\n")
    with pytest.raises(UserError, match=r"samples\.jsonl:1: field 'id'"):
        read_samples(run, "image-generation", "phantom-tiny")


def test_a_card_comes_from_the_manifest_then_from_the_list_of_older_runs_then_from_the_name(make_run):
    folder = make_run(samples=0)
    edit(folder / "manifest.json", cards={"report-generation": {"title": "Mine", "order": 1}})
    stated = collect([folder]).cards
    assert card_of("report-generation", stated) == TaskCard(title="Mine", order=1)
    assert card_of("image-generation", stated).title == "Image generation"
    assert card_of("mine-alone", stated) == TaskCard(title="Mine alone")


def test_the_cards_of_older_runs_are_those_of_the_tasks():
    ours = {name: TaskCard(**task_named(name).card()) for name in task_names()}
    assert {name: card for name, card in CARDS.items() if name in ours} == ours
