import subprocess
import sys

import numpy as np
import pytest

from medim.common.errors import UserError
from tasks import all_tasks
from tasks.metrics.clinical.findings import Counts, macro_f1
from tasks.metrics.statistics.additive import COMBINERS, HOMES, Additive, combiner
from tasks.metrics.statistics.bootstrap import wilson_interval
from tasks.scoring.scores import Score, make_score

PATIENTS = [f"p{index // 2}" for index in range(60)]


def test_rows_by_patient_give_the_same_interval_as_rows_by_sample():
    counts = np.random.default_rng(1).integers(0, 2, size=(60, 3, 2)).astype(float)
    additive = Additive(counts.reshape(60, 6), tuple(PATIENTS), "macro-f1", {"labels": 2})
    kept = additive.by_patient()
    assert kept.patients == tuple(map(str, range(30)))
    assert kept.interval(0) == additive.interval(0)
    assert kept.value() == additive.value()


def test_the_interval_covers_where_samples_of_a_patient_are_alike():
    """40 patients, 4 samples each: drawing samples would cover the mean far less often than it says."""
    generator = np.random.default_rng(8)
    patients = [f"p{index // 4}" for index in range(160)]
    covered, naive = [], []
    for _ in range(300):
        values = np.repeat(generator.normal(size=40), 4) + 0.5 * generator.normal(size=160)
        for found, names in ((covered, patients), (naive, [str(index) for index in range(160)])):
            interval = Additive.mean(values, names).interval(seed=1, resamples=400)
            found.append(interval.low <= 0 <= interval.high)
    assert 0.90 <= np.mean(covered) <= 0.98
    assert np.mean(naive) < 0.80


def test_macro_f1_by_hand():
    references, found = [frozenset("a"), frozenset("ab"), frozenset()], [frozenset("a"), frozenset("b"), frozenset("b")]
    counts = Counts.of(references, found, "ab")
    additive = Additive(counts.values.reshape(3, -1), ("p", "q", "r"), "macro-f1", {"labels": 2})
    assert additive.value() == pytest.approx((2 / 3 + 2 / 3) / 2)
    assert additive.value() == macro_f1(counts.totals())


def test_precision_recall_micro_and_label_f1_by_hand():
    sums = np.array([[2.0, 1, 1, 0, 0, 3]])  # TP 2, 1; FP 1, 0; FN 0, 3
    assert Additive(sums, ("p",), "macro-precision", {"labels": 2}).value() == pytest.approx((2 / 3 + 1) / 2)
    assert Additive(sums, ("p",), "macro-recall", {"labels": 2}).value() == pytest.approx((1 + 1 / 4) / 2)
    assert Additive(np.array([[3.0, 1, 3]]), ("p",), "micro-f1").value() == pytest.approx(6 / 10)
    assert Additive(np.array([[3.0, 1, 3]]), ("p",), "label-f1").value() == pytest.approx(6 / 10)
    assert np.isnan(Additive(np.array([[0.0, 4, 0]]), ("p",), "label-f1").value())
    assert Additive(np.array([[0.0, 4, 0]]), ("p",), "micro-f1").value() == 0


def test_affine_mean_puts_zero_and_one_where_it_is_told():
    additive = Additive(np.array([[3.0, 4]]), ("p",), "affine-mean", {"zero": 0.25, "one": 0.75})
    assert additive.value() == pytest.approx(1.0)


def test_a_proportion_at_one_has_an_interval_with_a_width():
    additive = Additive.proportion([True] * 60, PATIENTS)
    interval = additive.interval(seed=0)
    assert interval.high == 1
    assert interval.low == pytest.approx(1 / (1 + 2.0452**2 / 30), abs=1e-4)  # t of 29; 30 patients, not 60 samples
    assert additive.method == "Wilson score with t, effective number of patients by linearisation"
    many = Additive.proportion([True] * 400, [str(index // 2) for index in range(400)])
    assert many.interval(seed=0).low == pytest.approx(1 / (1 + 1.959963984540054**2 / 200))
    assert many.method == "Wilson score, effective number of samples over patients"


def test_wilson_by_hand_and_wider_where_patients_are_alike():
    alone = np.stack([np.arange(100) < 20, np.ones(100)], axis=1).astype(float)
    interval = wilson_interval(alone)
    # Wilson's 95 % of 20 in 100 is 0.1334 to 0.2888; the design effect is 100 / 99 here
    assert (interval.low, interval.high) == pytest.approx((0.1334, 0.2888), abs=6e-4)
    alike = wilson_interval(4 * alone)  # four equal samples of each patient
    assert (alike.low, alike.high) == pytest.approx((interval.low, interval.high), abs=1e-12)


def test_wilson_never_takes_more_samples_than_there_are():
    even = np.tile([1.0, 2.0], (50, 1))  # each patient one hit in two: less spread than chance
    interval = wilson_interval(even)
    assert interval.high - interval.low == pytest.approx(2 * 0.0962, abs=5e-4)  # of 100 samples at 0.5


@pytest.mark.parametrize("hits", [0.0, 0.5, 1.0])
def test_patients_without_samples_are_no_evidence(hits):
    sums = np.array([[hits * 2, 2]] * 15 + [[0, 0]] * 85)
    assert wilson_interval(sums) == wilson_interval(sums[:15])
    for combine in ("mean", "proportion"):
        few = Additive(sums[1:], tuple(map(str, range(99))), combine).interval(seed=0)
        assert few.reason == "no interval: 14 patients, fewer than 15"
    few, all_rows = (
        Additive(rows, tuple(map(str, range(len(rows)))), "proportion").interval(seed=0) for rows in (sums[:15], sums)
    )
    assert (few.low, few.high) == pytest.approx((all_rows.low, all_rows.high), abs=1e-9)


def test_undefined_is_not_a_number_and_has_no_interval():
    additive = Additive(np.zeros((20, 3)), tuple(map(str, range(20))), "macro-f1", {"labels": 1})
    assert np.isnan(additive.value())
    assert "undefined" in additive.interval(0).reason


@pytest.mark.parametrize(
    ("sums", "patients", "message"),
    [
        (np.ones((3, 2)), ("p", "q"), r"shape \(3, 2\) for 2"),
        (np.ones(3), ("p", "q", "r"), r"shape \(3,\)"),
        (np.zeros((0, 2)), (), "are needed"),
        (np.array([[np.nan, 1.0]]), ("p",), "NaN or infinity"),
    ],
)
def test_bad_sums_are_refused(sums, patients, message):
    with pytest.raises(ValueError, match=message):
        Additive(sums, patients, "mean")


def test_an_unknown_function_is_told_with_the_nearest():
    with pytest.raises(UserError, match="did you mean 'macro-f1'"):
        Additive(np.ones((1, 3)), ("p",), "macro-f")


def test_parameters_must_be_json():
    with pytest.raises(TypeError):
        Additive(np.ones((1, 2)), ("p",), "mean", {"labels": {1, 2}})


def test_a_name_is_taken_once():
    with pytest.raises(ValueError, match="two combiners are named 'mean'"):
        combiner("mean")(lambda sums: sums[:, 0])


def test_a_score_keeps_its_sums_and_refuses_those_of_another_value(world):
    additive = Additive.mean(np.arange(60.0), PATIENTS)
    score = make_score("m", 29.5, world.context(), 60, 1.0, True, additive=additive)
    assert score.additive is additive
    interval = additive.interval(world.context().seed)
    assert (score.ci_low, score.ci_high) == (interval.low, interval.high)
    with pytest.raises(ValueError, match=r"m: the value is 29\.6, but its sums give 29\.5"):
        make_score("m", 29.6, world.context(), 60, 1.0, True, additive=additive)
    with pytest.raises(ValueError, match="one of the two"):
        make_score("m", 29.5, world.context(), 60, 1.0, True, interval, additive=additive)


def test_a_withheld_score_keeps_no_sums(world):
    additive = Additive.mean(np.arange(60.0), PATIENTS)
    score = make_score("m", None, world.context(), 60, 1.0, True, reason="why", additive=additive)
    assert isinstance(score, Score)
    assert (score.additive, score.ci_low, score.reason) == (None, None, "why")


def test_every_function_is_found_by_its_name_in_the_module_that_has_it():
    all_tasks()  # each registers its own

    ours = {name: f.__module__ for name, f in COMBINERS.items() if f.__module__.startswith("tasks.")}
    own = {"mean", "proportion", "affine-mean"}
    assert {name: module for name, module in ours.items() if name not in own} == HOMES


def test_sums_are_read_without_torch():
    code = (
        "import sys; from tasks.metrics.statistics.additive import HOMES, combine_of; [combine_of(name) for name in HOMES];"
        "import benchmark.results.check_sums, benchmark.results.comparisons, leaderboard.submission;"
        "print(sorted({'torch', 'transformers', 'torchmetrics'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr
