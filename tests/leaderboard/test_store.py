import json

import pytest

from leaderboard.errors import LeaderboardError
from leaderboard.record import Record, read_records
from leaderboard.store import collect, merge, read_manifest, read_samples, systems_of


def edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_runs_are_merged_in_order_and_duplicates_dropped(make_run):
    a, b = make_run("a"), make_run("b", run="bbbb", model="other")
    both = read_records(a / "records.jsonl") + read_records(b / "records.jsonl")
    assert collect([a, b]).records == both
    assert collect([a, b, a]).records == both
    assert list(collect([a, b]).runs) == ["aaaa1111bbbb2222", "bbbb"]


@pytest.mark.parametrize(("field", "value"), [("value", 0.6), ("ci_low", 0.4), ("n", 255), ("coverage", 0.9)])
def test_conflicting_duplicates_are_refused(make_record, field, value):
    first = Record(**make_record(ci_low=0.45, ci_high=0.55))
    other = first.model_copy(update={field: value})
    with pytest.raises(
        LeaderboardError, match=rf"b: conflicts with a: report-generation/BLEU-4 of 'phantom-tiny'.*{field} {value} against"
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
    with pytest.raises(LeaderboardError, match=f"{field} '.*' but the manifest says 'other'"):
        collect([folder])


def test_a_folder_that_is_no_run_is_named(tmp_path, make_run):
    with pytest.raises(LeaderboardError, match="nowhere: no such run folder"):
        collect([tmp_path / "nowhere"])
    with pytest.raises(LeaderboardError, match=r"is .* a run folder"):
        collect([tmp_path])
    manifest = make_run() / "manifest.json"
    edit(manifest, withhold_samples=None)
    with pytest.raises(LeaderboardError, match=r"manifest\.json: field 'withhold_samples'"):
        read_manifest(manifest)
    manifest.write_text("{")
    with pytest.raises(LeaderboardError, match=r"manifest\.json: broken JSON"):
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
    with pytest.raises(LeaderboardError, match=r"samples\.jsonl:1: field 'image': '.*secret\.png' leaves the run folder"):
        read_samples(run, "image-generation", "phantom-tiny")
    path.write_text("{}\n")
    with pytest.raises(LeaderboardError, match=r"samples\.jsonl:1: field 'id'"):
        read_samples(run, "image-generation", "phantom-tiny")
