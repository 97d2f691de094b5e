"""The likelihood task on a model whose nats are known in closed form."""

import math
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest

from tasks.likelihood import BITS, Likelihood, other_cases
from tasks.protocols import Prediction, Scorable


class Known:
    """A report costs 10 nats with its own image, 14 alone, 18 with another's; an image 32. Nothing fits beyond `room` words."""

    name, fingerprint = "known", "known-1"
    report_vocabulary = 40

    def __init__(self, cases, room: int = 100) -> None:
        self.own = {case.report: case.image.tobytes() for case in cases}
        self.room = room
        self.seeds: dict[str, list[int]] = {}

    def tokenizers(self):
        return {"report_tokenizer": "words-1", "image_tokenizer": "bands-1"}

    def report_ids(self, reports):
        rows = np.zeros((len(reports), 20), int)
        for row, report in enumerate(reports):
            ids = [1 + len(word) for word in report.split()][:20]
            rows[row, : len(ids)] = ids
        return rows

    def log_likelihood(self, images, reports, condition, *, draws, seeds):
        own = np.array([self.own[report] == image.tobytes() for image, report in zip(images, reports, strict=True)])
        report = {"joint": 11.0, "report|image": np.where(own, 10.0, 18.0), "report": 14.0, "image|report": 0.0}[condition]
        image = {"joint": 33.0, "image|report": 32.0}.get(condition, 0.0)
        nats = np.stack([np.full(len(reports), image), np.broadcast_to(report, len(reports))], axis=1)
        nats[[len(report.split()) > self.room for report in reports]] = np.nan
        self.seeds.setdefault(condition, []).extend(seeds)
        words = np.array([len(report.split()) + 1 for report in reports])
        return SimpleNamespace(
            nats=nats,
            standard_error=np.full_like(nats, 0.5),
            estimator=f"known, {draws}",
            report_tokens=words,
            image_tokens=np.full(len(reports), 16),
            text_bytes=np.array([len(report.encode()) for report in reports]),
        )


@dataclass
class Asked:
    scores: dict
    samples: list
    predictions: list


def ask(world, model, cases=None, batch=32, drop=0) -> Asked:
    cases = world.cases if cases is None else cases
    task = Likelihood().prepared(cases, world)
    predictions: list[Prediction] = []
    for start in range(0, len(cases), batch):
        part = cases[start : start + batch]
        predictions += task.generate(model, part, [100 + start + index for index in range(len(part))])
    scores, samples = task.score(cases, predictions[drop:], world.context())
    return Asked({score.metric: score for score in scores}, samples, predictions)


def test_totals_are_set_against_tokens_bytes_and_cases(world):
    asked = ask(world, Known(world.cases))
    tokens = sum(len(case.report.split()) + 1 for case in world.cases)
    size = sum(len(case.report.encode()) for case in world.cases)
    value = {name: score.value for name, score in asked.scores.items()}
    assert value["nats per pair (joint)"] == pytest.approx(44)
    assert value["report nats per token (report|image)"] == pytest.approx(80 * 10 / tokens)
    assert value["report nats per token (report)"] == pytest.approx(80 * 14 / tokens)
    assert value["report bits per byte (report|image)"] == pytest.approx(80 * 10 / math.log(2) / size)
    assert value["image bits per token (image|report)"] == pytest.approx(32 / math.log(2) / 16)
    assert value["image bits per token (joint)"] == pytest.approx(33 * BITS / 16)
    assert value["report nats per token (image of another case)"] == pytest.approx(80 * 18 / tokens)
    assert value["image tells (nats per report)"] == pytest.approx(4)
    assert value["own image over another's (nats per report)"] == pytest.approx(8)
    assert value["own image preferred"] == 1
    assert asked.samples[0]["nats per token (report|image)"] == pytest.approx(10 / (len(world.cases[0].report.split()) + 1))


def test_intervals_cluster_in_patients_and_follow_from_sums(world):
    scores = ask(world, Known(world.cases)).scores
    score = scores["report nats per token (report|image)"]
    assert score.ci_low < score.value < score.ci_high
    assert "over patients" in score.signature["interval"]
    assert score.additive.sums.shape == (80, 2)
    # Equal values in every case: the mean over cases has no width.
    assert scores["nats per pair (joint)"].ci_low == pytest.approx(44)
    assert scores["own image preferred"].ci_low > 0.85


def test_signatures_hold_what_makes_values_comparable(world):
    scores = ask(world, Known(world.cases)).scores
    given = scores["report nats per token (report|image)"].signature
    assert (given["report_tokenizer"], given["estimator"], given["draws"]) == ("words-1", "known, 8", 8)
    assert "image_tokenizer" not in given
    assert "report_tokenizer" not in scores["report bits per byte (report|image)"].signature
    assert scores["image bits per token (image|report)"].signature["image_tokenizer"] == "bands-1"
    assert {"image_tokenizer", "report_tokenizer"} <= set(scores["nats per pair (joint)"].signature)
    tokens = sum(len(case.report.split()) + 1 for case in world.cases)
    assert given["standard_error_of_draws"] == pytest.approx(math.sqrt(80) * 0.5 / tokens, rel=0.01)


def test_the_unigram_code_is_that_of_training_and_better_than_uniform(world):
    value = ask(world, Known(world.cases)).scores["report nats per token (unigram code)"].value
    tokens = sum(len(case.report.split()) + 1 for case in world.cases) / 80
    assert 0 < value < 20 * math.log(40) / tokens


def test_batches_do_not_matter_and_every_condition_gets_the_case_s_seed(world):
    whole, parts = Known(world.cases), Known(world.cases)
    first, second = ask(world, whole, batch=80), ask(world, parts, batch=7)
    assert {name: score.value for name, score in first.scores.items()} == {
        name: score.value for name, score in second.scores.items()
    }
    assert parts.seeds["report|image"].count(100) == 2  # with the own image and with another's
    assert parts.seeds["joint"] == list(range(100, 180))


def test_a_case_without_an_answer_withholds_everything(world):
    scores = ask(world, Known(world.cases), drop=1).scores
    assert {score.value for score in scores.values()} == {None}
    assert {score.reason for score in scores.values()} == {"1 of 80 cases have no likelihood"}


def test_reports_that_do_not_fit_are_left_out_and_counted(world):
    room = max(len(case.report.split()) for case in world.cases) - 1
    long = [case for case in world.cases if len(case.report.split()) > room]
    asked = ask(world, Known(world.cases, room))
    score = asked.scores["report nats per token (report|image)"]
    assert score.coverage == pytest.approx(1 - len(long) / 80)
    assert score.reason == f"{len(long)} reports do not fit the model's canvas and are left out"
    tokens = sum(len(case.report.split()) + 1 for case in world.cases if case not in long)
    assert score.value == pytest.approx((80 - len(long)) * 10 / tokens)
    assert [bool(sample) for sample in asked.samples] == [case not in long for case in world.cases]
    none = ask(world, Known(world.cases, 0)).scores["own image preferred"]
    assert (none.value, none.reason) == (None, "no report fits the model's canvas")


def test_other_cases_are_of_the_same_domain_and_of_another_patient(world):
    others = other_cases(world.cases)
    assert len(others) == 80
    assert all(others[case.id].domain == case.domain and others[case.id].patient != case.patient for case in world.cases)
    assert len({other.id for other in others.values()}) > 60
    assert other_cases(world.cases[:2]) == {}  # one of each domain


def test_without_another_case_its_scores_alone_are_withheld(world):
    scores = ask(world, Known(world.cases), world.cases[:2]).scores
    assert scores["own image preferred"].reason == "a case is alone in its domain"
    assert scores["report nats per token (report|image)"].value is not None


def test_a_system_without_a_likelihood_is_refused(world):
    assert isinstance(Known(world.cases), Scorable)
    assert Likelihood().refuses(Known(world.cases)) is None
    assert "tells no likelihood" in Likelihood().refuses(world.perfect(world.cases))
    with pytest.raises(ValueError, match="prepare the task"):
        Likelihood().generate(Known(world.cases), world.cases, range(80))
    assert Likelihood().anchors(world.cases, world.train, None, 0) == []
