"""The gallery calls a sample worst and best by its scores: in the direction that the metrics of the same name declare."""

import pytest

from leaderboard.site.gallery import higher_is_better
from medim.data.loading import load_dataset
from tasks import task_named
from tasks.cases import cases_of
from tasks.protocols import Prediction
from tasks.scoring.context import Context


@pytest.mark.parametrize(("task", "least"), [("long-form", 2), ("report-generation", 5)])
def test_scores_of_samples_have_the_direction_of_their_metric(task, least):
    dataset = load_dataset("phantom-v2:style=long")
    cases = cases_of(dataset, "val", 64, 8)
    reports = [Prediction(case.id, report=case.report) for case in cases]
    scores, samples = task_named(task).score(cases, reports, Context.for_dataset(dataset))
    declared = {score.metric: score.higher_is_better for score in scores if score.metric in samples[0]}
    assert len(declared) >= least
    assert {name: higher_is_better(name) for name in declared} == declared
