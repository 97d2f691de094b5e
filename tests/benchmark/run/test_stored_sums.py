import json

import numpy as np
import pytest
from PIL import Image

from benchmark.run.stored_sums import lost_statistics, read_statistics, statistics_file, write_statistics
from medim.common.errors import UserError
from tasks.metrics.statistics.additive import Additive
from tasks.protocols import Case
from tasks.scoring.scores import Score

IMAGE = Image.new("RGB", (4, 4))
PATIENTS = [f"secret-{index // 2}" for index in range(40)]
WHOLE = {"sums": "s", "combine": "mean", "parameters": {}, "paired": True, "seed": 0, "units": "u"}
OTHERS = {"narrow": np.ones((20, 1)), "wide": np.ones((20, 3))}
CASES = [Case(f"case-{index}", patient, None, IMAGE, "a report", None) for index, patient in enumerate(PATIENTS)]


def score(metric, additive, value=0.5):
    return Score(metric, value, 40, 1.0, True, {"metric": metric}, additive=additive)


@pytest.fixture
def additives():
    generator = np.random.default_rng(0)
    counts = generator.integers(1, 30, size=(40, 10)).astype(float)
    counts[:, 6:] = np.minimum(counts[:, 6:], counts[:, 2:6])
    return {
        "ROUGE-L": Additive.mean(generator.random(40), PATIENTS),
        "BLEU-1": Additive(counts, tuple(PATIENTS), "corpus-bleu", {"order": 1}),
        "BLEU-4": Additive(counts, tuple(PATIENTS), "corpus-bleu", {"order": 4}),
        "agreement": Additive(counts[:, :3], tuple(map(str, range(40))), "agreement", {"shown": [True]}, paired=False),
    }


@pytest.fixture
def written(tmp_path, additives):
    scores = [score(metric, additive) for metric, additive in additives.items()] + [score("no sums", None)]
    return tmp_path, write_statistics(tmp_path, CASES, scores, 7, "a model", "report-generation")


def test_values_and_intervals_from_the_file_equal_those_of_the_samples(written, additives):
    folder, named = written
    assert named["BLEU-4"] == {"file": "statistics/report-generation/a model.npz", "key": "BLEU-4"}
    assert "no sums" not in named
    read = read_statistics(folder / statistics_file("report-generation", "a model"))
    assert list(read) == sorted(additives)
    for metric, additive in additives.items():
        kept = read[metric].additive
        assert kept.value() == pytest.approx(additive.value(), rel=1e-12)
        ours, theirs = kept.interval(read[metric].seed), additive.interval(7)
        assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), rel=1e-12)
        assert kept.paired == additive.paired
    assert read["ROUGE-L"].additive.sums.shape == (20, 2)
    assert read["agreement"].additive.sums.shape == (40, 3)


def test_no_patient_is_named_and_shared_sums_are_kept_once(written):
    folder, named = written
    path = folder / named["BLEU-1"]["file"]
    assert b"secret" not in path.read_bytes()
    with np.load(path, allow_pickle=False) as content:
        assert "secret" not in str(content["index"])
        assert len([name for name in content.files if name != "index"]) == 3  # BLEU-1 and BLEU-4 share theirs
        assert all(content[name].dtype == np.float64 for name in content.files if name != "index")


def test_same_scores_same_bytes(written, additives, tmp_path):
    folder, named = written
    path = folder / named["BLEU-1"]["file"]
    before = path.read_bytes()
    write_statistics(folder, CASES, [score(m, a) for m, a in reversed(additives.items())], 7, "a model", "report-generation")
    assert path.read_bytes() == before


def test_units_tell_cases_and_patients_apart(tmp_path, additives):
    def units(cases, patients):
        additive = Additive.mean([1.0] * len(patients), patients)
        (named,) = write_statistics(tmp_path, cases, [score("m", additive)], 0, "s", "t").values()
        return read_statistics(tmp_path / named["file"])["m"].units

    assert units(CASES, PATIENTS) == units(list(CASES), list(PATIENTS))
    assert units(CASES, PATIENTS) != units(CASES[::-1], PATIENTS)
    assert units(CASES, PATIENTS) != units(CASES, PATIENTS[::-1])


def test_nothing_to_keep_leaves_no_file(written):
    folder, named = written
    assert write_statistics(folder, CASES, [score("no sums", None)], 7, "a model", "report-generation") == {}
    assert not (folder / named["BLEU-1"]["file"]).exists()


def test_a_lost_file_is_noticed(written):
    folder, named = written
    scores = [{"signature": {"statistics": named["BLEU-1"]}}, {"signature": {}}]
    assert not lost_statistics(folder, scores)
    (folder / named["BLEU-1"]["file"]).unlink()
    assert lost_statistics(folder, scores)


def test_missing_damaged_and_foreign_files_are_named(written, tmp_path):
    folder, named = written
    path = folder / named["BLEU-1"]["file"]
    with pytest.raises(UserError, match=r"other\.npz: no such file"):
        read_statistics(folder / "other.npz")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="damaged"):
        read_statistics(path)
    for change, message in (
        ({"version": 9}, "version 9"),
        ({"metrics": {"m": {"sums": "s", "combine": "meen", "parameters": {}, "paired": True}}}, "did you mean 'mean'"),
        ({"metrics": {"m": {"sums": "lost", "combine": "mean"}}}, "metric 'm': KeyError: 'lost'"),
        ({"metrics": {"m": WHOLE | {"sums": "narrow"}}}, "metric 'm': IndexError"),
        ({"metrics": {"m": WHOLE | {"sums": "wide", "combine": "proportion"}}}, "metric 'm': ValueError: too many values"),
        ({"metrics": {"m": WHOLE | {"parameters": {"order": 9}}}}, "metric 'm': TypeError"),
        ({"metrics": {"m": WHOLE | {"seed": "x"}}}, "metric 'm': TypeError"),
        ({"metrics": {"m": WHOLE | {"seed": -1}}}, "metric 'm': ValueError"),
        ({"metrics": {"m": []}}, "metric 'm': TypeError"),
        ({"metrics": []}, "damaged"),
        ({"metrics": None}, "damaged"),
        ([], "damaged"),
        ({"task": None}, "sums of 's' on None"),
    ):
        content = {"version": 1, "task": "t", "system": "s", "metrics": {}} | change if change else change
        np.savez(tmp_path / "bad.npz", index=np.array(json.dumps(content)), s=np.ones((20, 2)), **OTHERS)
        with pytest.raises(UserError, match=message):
            read_statistics(tmp_path / "bad.npz", ("t", "s"))


def test_pickles_are_not_opened(tmp_path):
    np.savez(tmp_path / "evil.npz", index=np.array({"version": 1}, dtype=object))
    with pytest.raises(UserError, match="damaged"):
        read_statistics(tmp_path / "evil.npz")


def test_two_scores_of_one_name_are_refused(tmp_path, additives):
    with pytest.raises(ValueError, match="two scores"):
        write_statistics(tmp_path, CASES, [score("m", additives["BLEU-1"])] * 2, 0, "s", "t")
