import numpy as np
import pytest

from leaderboard.choice import choose, in_turn, lower_is_better
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
    assert not lower_is_better("distance (pixels)")


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
