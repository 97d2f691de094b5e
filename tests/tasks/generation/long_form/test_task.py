"""Long reports: what contradicts itself, repeats itself, fades towards its end or runs on is seen, and real ones do not."""

import numpy as np
import pytest

from medim.data.loading import load_dataset
from medim.data.phantom.v1.report_checker import read
from tasks import task_named
from tasks.cases import cases_of
from tasks.generation.long_form.reading import (
    bare,
    contradicted,
    correlation,
    length_moments,
    quarter,
    quarter_counts,
    repeated_sentences,
    sentences_of,
)
from tasks.protocols import Prediction
from tasks.scoring.context import Context

TASK = task_named("long-form")
F = frozenset

pytestmark = pytest.mark.usefixtures("no_java")


@pytest.fixture(scope="module")
def long_world():
    dataset = load_dataset("phantom-v2:style=long")
    return cases_of(dataset, "val", 64, 40), Context.for_dataset(dataset)


def score(world, change):
    cases, context = world
    scores, samples = TASK.score(cases, [Prediction(case.id, report=change(case.report)) for case in cases], context)
    return {one.metric: one for one in scores}, samples


def test_sentences_keep_their_headings_and_numbers_until_they_are_compared():
    report = "FINDINGS: The heart is large. A 3.5 mm line!\nIMPRESSION: 1. Edema. 2. No effusion."
    assert sentences_of(report) == [
        "FINDINGS: The heart is large.",
        "A 3.5 mm line!",
        "IMPRESSION: 1. Edema.",
        "2. No effusion.",
    ]
    assert sentences_of("...\n-") == []
    assert bare("IMPRESSION: 2. No  Effusion.") == "no effusion"


def test_repetition_is_counted_within_a_report():
    assert repeated_sentences("Edema. No nodule. FINDINGS: edema. EDEMA.") == (2, 4)
    assert repeated_sentences("") == (0, 0)


def test_a_contradiction_is_between_sentences():
    states = [{"edema": "present"}, {"edema": "absent", "nodule": "absent"}, {"nodule": "uncertain"}]
    assert contradicted(states) == {"edema"}
    assert contradicted(states[1:]) == F()


def test_quarters():
    assert [quarter(place, 8) for place in range(8)] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert [quarter(place, 3) for place in range(3)] == [0, 1, 2]
    counts = quarter_counts(F("ab"), [F("a"), F(), F("b"), F()], [F("a"), F("c"), F(), F()])
    assert counts.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]]
    told_later = quarter_counts(F("a"), [F("a"), F(), F(), F()], [F(), F(), F(), F("a")])
    assert told_later.tolist() == [[0, 0, 0], [0, 0, 0], [0, 0, 0], [1, 0, 0]]


def test_correlation_is_pearsons():
    lengths = np.random.default_rng(0).normal(size=(50, 2)) @ np.array([[1.0, 0.6], [0.0, 1.0]]) + 30
    sums = length_moments(lengths).sum(axis=0, keepdims=True)
    assert correlation(sums)[0] == pytest.approx(np.corrcoef(lengths.T)[0, 1])
    assert np.isnan(correlation(length_moments(np.full((5, 2), 7.0)).sum(axis=0, keepdims=True))[0])


def test_the_reader_of_phantom_1_tells_denials():
    assert read("small left effusion. no pneumothorax. the heart is not enlarged.") == {
        "cardiomegaly": "absent",
        "left effusion": "present",
        "left pneumothorax": "absent",
        "right pneumothorax": "absent",
    }
    assert read("no left effusion. large left effusion.") == {"left effusion": "present"}


def test_real_reports_are_whole_and_consistent(long_world):
    found, samples = score(long_world, lambda report: report)
    assert found["reports that contradict themselves"].value == 0
    assert found["contradicted findings"].value == 0
    assert found["repeated sentences"].value < 0.03
    assert found["length ratio"].value == pytest.approx(1)
    assert found["length error"].value == 0
    assert found["length correlation"].value == pytest.approx(1)
    assert found["reports that end with a stop"].value == 1
    assert found["macro finding F1"].value > 0.99
    for name in ("first", "second", "third", "last"):
        one = found[f"finding F1 in the {name} quarter"]
        assert one.value is None or one.value > 0.99
    assert set(samples[0]) == {"finding F1", "contradicted findings", "repeated sentences", "length (tokens)"}


def test_a_report_that_breaks_off_loses_its_last_quarters(long_world):
    def half(report):
        sentences = sentences_of(report)
        return " ".join(sentences[: len(sentences) // 4])

    whole, broken = score(long_world, lambda report: report)[0], score(long_world, half)[0]
    last = "finding F1 in the last quarter"
    assert broken[last].value < whole[last].value
    assert broken["length ratio"].value < 0.5
    assert broken["length error"].value > 0.5


def test_a_report_that_denies_what_it_asserts_and_says_all_twice_is_caught(long_world):
    def denied(report):
        return f"{report}\nThe heart is enlarged. The heart is not enlarged."

    found, samples = score(long_world, denied)
    assert found["reports that contradict themselves"].value == 1
    assert all(sample["contradicted findings"] >= 1 for sample in samples)
    twice, samples = score(long_world, lambda report: f"{report}\n{report}")
    assert twice["repeated sentences"].value >= 0.5
    assert twice["length ratio"].value == pytest.approx(2, rel=0.05)
    assert twice["reports that contradict themselves"].value == 0


def test_a_missing_report_is_an_empty_one(long_world):
    cases, context = long_world
    scores, _ = TASK.score(cases, [], context)
    found = {one.metric: one for one in scores}
    assert found["macro finding F1"].value == 0
    assert found["macro finding F1"].coverage == 0
    assert found["repeated sentences"].value is None
    assert found["length ratio"].value == 0


def test_without_a_checker_form_is_still_measured(world):
    predictions = [Prediction(case.id, report=case.report) for case in world.cases]
    scores, _ = TASK.score(world.cases, predictions, world.context(False))
    found = {one.metric: one for one in scores}
    assert found["reports that contradict themselves"].value is None
    assert "no report checker" in found["finding F1 in the last quarter"].reason
    assert found["length ratio"].value == pytest.approx(1)


def test_it_asks_for_reports(world):
    predictions = TASK.generate(world.perfect(world.cases), world.cases, range(80))
    assert [one.report for one in predictions] == [case.report for case in world.cases]
