import numpy as np
import pytest

from leaderboard.site.choice import choose, higher_is_better, in_turn
from leaderboard.store import Sample


def samples(**scores):
    """One sample for each place in the lists of scores; None where it has no such score."""
    length = len(next(iter(scores.values())))
    return [
        Sample(
            id=f"s{i}", image=None, report="r", prompt=None, reference_image=None, reference_report=None, domain=None,
            scores={name: values[i] for name, values in scores.items() if values[i] is not None},
        )
        for i in range(length)
    ]  # fmt: skip


def told(choices):
    return {choice.sample.id: list(choice.why) for choice in choices}


def test_a_third_are_the_first_and_the_rest_are_ends():
    chosen = told(choose(samples(F1=[0.5, 0.9, 0.1, 0.5, 0.8, 0.2]), 3))
    assert chosen == {"s0": [], "s2": ["worst by F1"], "s1": ["best by F1"]}


def test_the_next_ones_follow_until_the_limit():
    chosen = told(choose(samples(F1=[0.5, 0.9, 0.1, 0.5, 0.8, 0.2]), 5))
    assert chosen == {"s0": [], "s1": ["best by F1"], "s2": ["worst by F1"], "s3": [], "s4": []}
    more = told(choose(samples(F1=[0.5, 0.9, 0.1, 0.5, 0.8, 0.2]), 12))
    assert more == {
        "s0": [], "s1": ["best by F1"], "s2": ["worst by F1"], "s3": [], "s4": ["best by F1"], "s5": ["worst by F1"],
    }  # fmt: skip


def test_little_is_good_of_some_scores():
    assert told(choose(samples(**{"nats per token (report)": [1.0, 9.0, 2.0]}), 2)) == {
        "s0": ["best by nats per token (report)"],
        "s1": ["worst by nats per token (report)"],
    }
    assert higher_is_better("distance (pixels)")


@pytest.mark.parametrize("score", ["contradicted findings", "repeated sentences", "flagged report"])
def test_few_faults_are_the_best(score):
    assert told(choose(samples(**{score: [2.0, 0.0, 1.0]}), 3)) == {
        "s0": [f"worst by {score}"], "s1": [f"best by {score}"], "s2": [],
    }  # fmt: skip


@pytest.mark.parametrize("score", ["length (tokens)", "nats per token (image of another case)"])
def test_a_descriptive_score_has_no_ends_and_disputes_nothing(score):
    assert higher_is_better(score) is None
    chosen = told(choose(samples(**{score: [9.0, 1.0, 5.0, 3.0], "F1": [0.1, 0.9, 0.4, 0.6]}), 12))
    assert {why for reasons in chosen.values() for why in reasons} == {"worst by F1", "best by F1"}


@pytest.mark.parametrize(
    ("values", "worst", "best"),
    [
        ([0.0, 0.0, 0.0, 0.0, 1.0], {4}, {0, 1, 2, 3}),
        ([1.0, 1.0, 1.0, 0.0], {0, 1, 2}, {3}),
        ([2.0, 1.0, 1.0, 1.0, 0.0], {0}, {4}),
        ([3.0, 2.0, 1.0, 0.0], {0, 1}, {2, 3}),
    ],
    ids=["most are best", "most are worst", "most are between", "all differ"],
)
def test_equal_values_are_never_worst_and_best(values, worst, best):
    score = "contradicted findings"
    chosen = told(choose(samples(**{score: values}), 30))
    assert {i for i in range(len(values)) if f"worst by {score}" in chosen[f"s{i}"]} == worst
    assert {i for i in range(len(values)) if f"best by {score}" in chosen[f"s{i}"]} == best


def test_the_most_disputed_is_where_two_scores_rank_otherwise():
    wording, truth = [0.1, 0.2, 0.9, 0.4, 0.5, 0.6], [0.1, 0.2, 0.0, 0.4, 0.5, 0.6]
    chosen = told(choose(samples(BLEU=wording, F1=truth), 6))
    assert chosen["s2"] == ["best by BLEU", "worst by F1", "disputed"]
    assert sum("disputed" in why for why in chosen.values()) == 1


def test_scores_that_agree_dispute_nothing():
    values = list(np.linspace(0, 1, 10))
    assert not any("disputed" in why for why in told(choose(samples(a=values, b=[10 * v for v in values]), 10)).values())


@pytest.mark.parametrize("scores", [{"F1": [1.0, 1.0, 1.0]}, {"F1": [None, None, None]}])
def test_without_a_score_that_tells_them_apart_all_are_the_first(scores):
    assert told(choose(samples(**scores), 2)) == {"s0": [], "s1": []}


def test_a_missing_score_is_neither_end():
    chosen = told(choose(samples(F1=[None, 0.3, None, 0.7]), 4))
    assert chosen == {"s0": [], "s1": ["worst by F1"], "s3": ["best by F1"], "s2": []}


def test_nothing():
    assert in_turn([]) == []
    assert choose([], 5) == []
    assert choose(samples(F1=[0.1, 0.9]), 0) == []
