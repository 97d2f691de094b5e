import json
import os
import time

import pytest

from benchmark.run.cache import KEPT_DAYS, SharedCache, default_folder
from benchmark.run.runner import run
from leaderboard.record import read_records
from medim.common.errors import UserError
from medim.common.locks import LOCK, locked
from tasks.protocols import Prediction
from tasks.task import Anchor


def test_an_entry_comes_back_with_its_files(tmp_path):
    out, other = tmp_path / "out", tmp_path / "other"
    (out / "a").mkdir(parents=True)
    (out / "a" / "x.bin").write_bytes(b"\0x")
    cache = SharedCache(tmp_path / "cache")
    assert cache.take("k", other) is None
    cache.keep("k", out, [out / "a" / "x.bin"], {"v": 1})
    (other / "a").mkdir(parents=True)
    (other / "a" / "x.bin").write_bytes(b"stale")
    assert SharedCache(tmp_path / "cache").take("k", other) == {"v": 1}
    assert (other / "a" / "x.bin").read_bytes() == b"\0x"
    cache.keep("k", out, [], {"v": 2})  # what is there stays
    assert cache.take("k", other) == {"v": 1}
    assert sorted(path.name for path in (tmp_path / "cache/entries").iterdir()) == ["k"]


def test_an_entry_that_fails_leaves_nothing(tmp_path):
    cache = SharedCache(tmp_path / "cache")
    with pytest.raises(FileNotFoundError):
        cache.keep("k", tmp_path, [tmp_path / "missing"], 1)
    assert list((tmp_path / "cache/entries").iterdir()) == []


def test_what_a_killed_run_left_goes_unless_another_run_makes_it(tmp_path):
    half = tmp_path / "cache/entries/.0123abcd"
    writing, left = (tmp_path / "cache/features/space" / name for name in (".new.0123abcd.npz", ".old.0123abcd.npz"))
    SharedCache(tmp_path / "cache")
    half.mkdir()
    writing.parent.mkdir(parents=True)
    writing.touch()
    left.touch()
    os.utime(left, (time.time() - 4000, time.time() - 4000))
    with locked(tmp_path / "cache" / LOCK, shared=True), locked(tmp_path / "cache" / LOCK, wait=False, shared=True) as second:
        assert second
        SharedCache(tmp_path / "cache")
        assert half.is_dir()
    SharedCache(tmp_path / "cache")
    assert not half.exists()
    assert writing.exists()
    assert not left.exists()


def test_what_no_run_used_for_long_goes(tmp_path):
    cache = SharedCache(tmp_path / "cache")
    kept = {"entries": "value.json", "features": "x.npz", "findings": "", "tokens": "x.json"}
    for key in ("old", "used", "read"):
        cache.keep(key, tmp_path, [], key)
        for name, file in kept.items():
            path = tmp_path / "cache" / name / key / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text('"x"')
    now, past = time.time(), time.time() - (KEPT_DAYS + 1) * 86400
    for path in sorted((tmp_path / "cache").rglob("*"), reverse=True):
        os.utime(path, (past, past))
    cache.take("used", tmp_path)
    for name, file in kept.items():
        os.utime(tmp_path / "cache" / name / "read" / file, (now, past))  # read, not written
    SharedCache(tmp_path / "cache")
    assert {path.name for path in (tmp_path / "cache/entries").iterdir()} == {"used", "read"}
    for name in ("features", "findings", "tokens"):
        assert [path.name for path in (tmp_path / "cache" / name).iterdir()] == ["read"]


def test_only_the_owner_reads_it(tmp_path):
    assert SharedCache(tmp_path / "a" / "cache").folder.stat().st_mode & 0o077 == 0


def test_a_folder_that_cannot_be_used_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"--cache .*file cannot be used.*--cache none"):
        SharedCache(tmp_path / "file")


def test_the_default_folder_is_the_users(monkeypatch, tmp_path):
    monkeypatch.setenv("MEDIM_BENCH_CACHE", "/named")
    assert str(default_folder()) == "/named"
    monkeypatch.delenv("MEDIM_BENCH_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "medim-bench"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_folder() == tmp_path / ".cache" / "medim-bench"


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch):
    def unknown_user():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("MEDIM_BENCH_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr("pathlib.Path.home", unknown_user)
    with pytest.raises(UserError, match="set HOME, or MEDIM_BENCH_CACHE"):
        default_folder()


class Counting:
    """A checker that counts what it reads."""

    def __init__(self, checker):
        self.checker, self.read = checker, 0
        self.name, self.fingerprint, self.labels = checker.name, checker.fingerprint, checker.labels

    def __call__(self, items):
        self.read += len(items)
        return self.checker(items)


@pytest.fixture
def world(dataset, colour_tasks, monkeypatch):
    """The two-colour world, whose anchors know a reconstruction, and whose checkers count."""
    checkers = {name: Counting(getattr(dataset, f"{name}_checker")()) for name in ("image", "report")}
    for name, checker in checkers.items():
        monkeypatch.setattr(type(dataset), f"{name}_checker", lambda self, checker=checker: checker)
    for task in colour_tasks.values():
        made = task.anchors

        def anchors(cases, train, reconstructs, seed, made=made):
            round_trip = [Anchor("reconstruction", [Prediction(case.id, case.image, case.report) for case in cases])]
            first, *others = made(cases, train, reconstructs, seed)
            return [first, *(round_trip if reconstructs is not None else []), *others]

        monkeypatch.setattr(task, "anchors", anchors)
    return checkers


def go(model, dataset, out, cache, **options):
    return run(model, dataset, ["all"], out, resolution=8, command="test", cache=cache, **options)


def same(records):
    return [record.model_dump(exclude={"created", "run", "model", "signature"}) for record in records]


def test_a_second_model_pays_nothing_for_anchors_and_references(model, dataset, colour_tasks, world, tmp_path, monkeypatch):
    first = go(model, dataset, tmp_path / "a", tmp_path / "cache")
    assert [task.scored for task in colour_tasks.values()] == [4, 4, 4]
    world["image"].read = world["report"].read = 0
    model.name = "other"
    drawn = []
    monkeypatch.setattr(type(dataset), "size", lambda self, split: drawn.append(split) or 20)
    second = go(model, dataset, tmp_path / "b", tmp_path / "cache")
    assert [task.scored for task in colour_tasks.values()] == [5, 5, 5]
    assert [task.anchored for task in colour_tasks.values()] == [1, 1, 1]
    assert "train" not in drawn  # no training case is drawn for anchors that are known
    assert same(second.records) == same(first.records)
    assert world["report"].read == 20  # the reports that it wrote; its images equal the references, which are known
    assert world["image"].read == 0
    for file in ("samples/image-generation/real/samples.jsonl", "samples/image-generation/constant/samples.jsonl"):
        assert (tmp_path / "b" / file).read_bytes() == (tmp_path / "a" / file).read_bytes()
    lines = [json.loads(line) for line in (tmp_path / "b/samples/image-generation/real/samples.jsonl").read_text().splitlines()]
    folder = tmp_path / "b/samples/image-generation/real"
    assert all((folder / line["image"]).is_file() and (folder / line["reference_image"]).is_file() for line in lines)


def test_another_tokenizer_costs_its_reconstruction_alone(model, dataset, colour_tasks, world, tmp_path):
    go(model, dataset, tmp_path / "a", tmp_path / "cache")
    model.fingerprint = "other"
    result = go(model, dataset, tmp_path / "b", tmp_path / "cache")
    assert [task.scored for task in colour_tasks.values()] == [6, 6, 6]  # the model and its reconstruction
    order = list(dict.fromkeys(record.model for record in result.records if record.task == "image-generation"))
    assert order == ["painter", "real", "reconstruction", "constant"]


@pytest.mark.parametrize("options", [{"seed": 1}, {"limit": 10}, {"protocol": "r2gen"}, {"features": ["timm:other"]}])
def test_other_inputs_find_nothing(model, dataset, colour_tasks, world, tmp_path, options, monkeypatch):
    monkeypatch.setattr("benchmark.run.runner.check_features", lambda specs: None)
    go(model, dataset, tmp_path / "a", tmp_path / "cache")
    go(model, dataset, tmp_path / "b", tmp_path / "cache", **options)
    assert [task.scored for task in colour_tasks.values()] == [8, 8, 8]


def test_a_labellers_new_weights_are_scored_with(model, dataset, colour_tasks, world, tmp_path, monkeypatch):
    go(model, dataset, tmp_path / "a", tmp_path / "cache")
    (tmp_path / "chexbert.pth").write_bytes(b"weights")
    monkeypatch.setenv("MEDIM_CHEXBERT", str(tmp_path))
    go(model, dataset, tmp_path / "a", tmp_path / "cache")
    assert [task.scored for task in colour_tasks.values()] == [8, 8, 8]


def test_without_a_cache_nothing_is_shared(model, dataset, colour_tasks, world, tmp_path):
    for out in ("a", "b"):
        go(model, dataset, tmp_path / out, None)
    assert [task.scored for task in colour_tasks.values()] == [8, 8, 8]


def test_a_lost_file_of_an_anchor_comes_from_the_cache(model, dataset, colour_tasks, world, tmp_path):
    go(model, dataset, tmp_path / "a", tmp_path / "cache")
    (tmp_path / "a/samples/image-generation/real/samples.jsonl").unlink()
    go(model, dataset, tmp_path / "a", tmp_path / "cache")
    assert [task.scored for task in colour_tasks.values()] == [4, 4, 4]
    assert (tmp_path / "a/samples/image-generation/real/samples.jsonl").is_file()
    assert len(read_records(tmp_path / "a/records.jsonl")) == 3 * 4 * 2


def test_restricted_data_stay_out_of_the_users_cache(command, dataset, cache, monkeypatch, tmp_path):
    monkeypatch.setattr(type(dataset), "terms", "PhysioNet Credentialed Health Data License 1.5.0")
    arguments = ("run", "image-generation", "--model", "painter", "--data", "colours")
    assert command(*arguments, "--out", tmp_path / "a").exit_code == 0
    assert not cache.exists()
    assert command(*arguments, "--out", tmp_path / "b", "--cache", tmp_path / "named").exit_code == 0
    assert (tmp_path / "named" / "entries").is_dir()


def test_the_command_shares_by_default_and_not_with_none(command, colour_tasks, cache, tmp_path):
    arguments = ("run", "image-generation", "--model", "painter", "--data", "colours")
    command(*arguments, "--out", tmp_path / "a", "--cache", "none")
    assert not cache.exists()
    command(*arguments, "--out", tmp_path / "b")
    command(*arguments, "--out", tmp_path / "c")
    assert colour_tasks["image-generation"].scored == 3 + 3 + 1
