import itertools

import pytest

from leaderboard.record import Record
from leaderboard.site.verdicts import p_text, pair_rows, verdicts
from leaderboard.tables.boards import boards
from leaderboard.tables.pairwise import Comparison, Comparisons


@pytest.fixture
def table(make_record):
    """A table of models by value, with comparisons: `better` names the pairs (winner, loser)."""

    def make(values, better, metric="BLEU-4", up=True, margin=None, non_inferior=(), scope="methods", smallest=None):
        board = {"dataset": "phantom", "fingerprint": "f", "split": "test", "protocol": "strict-v1"}
        records = [
            Record(
                **make_record(
                    model=m, value=v, ci_low=v - 0.01, ci_high=v + 0.01, run=f"r-{m}", metric=metric, higher_is_better=up
                )
            )
            for m, v in values.items()
        ]
        pairs = []
        for one, other in itertools.permutations(values, 2):
            verdict = "better" if (one, other) in better else "worse" if (other, one) in better else "not separable"
            verdict = "non-inferior" if (one, other) in non_inferior else verdict
            pairs.append(
                Comparison(
                    task="report-generation",
                    metric=metric,
                    **board,
                    model=one,
                    runs=[f"r-{one}"],
                    value=values[one],
                    against=other,
                    against_runs=[f"r-{other}"],
                    against_value=values[other],
                    difference=values[one] - values[other],
                    ci_low=-0.5,
                    ci_high=0.5,
                    p=0.0001 if verdict in ("better", "worse") else 0.4,
                    p_adjusted=0.0004 if verdict in ("better", "worse") else 0.4,
                    family=3,
                    test="swaps",
                    patients=100,
                    margin=margin,
                    verdict=verdict,
                    scope=scope,
                    smallest_found=smallest,
                )
            )
        fingerprints = {record.run: "f" for record in records}
        return boards(records, fingerprints, Comparisons(pairs))[0].tables[0]

    return make


def test_a_leader_and_two_that_cannot_be_told_apart(table):
    said = verdicts(table({"a": 0.9, "b": 0.6, "c": 0.5}, {("a", "b"), ("a", "c")}))
    assert said == ["BLEU-4: a is better than b and c (adjusted p < 0.001); b and c cannot be told apart from each other."]


def test_what_cannot_be_told_apart_need_not_be_a_group(table):
    said = verdicts(table({"a": 0.9, "b": 0.8, "c": 0.5}, {("b", "c")}))
    assert said == ["BLEU-4: a cannot be told apart from b and c; b is better than c."]


def test_the_lower_value_leads_where_lower_is_better(table):
    said = verdicts(table({"a": 9.0, "b": 2.0}, {("b", "a")}, up=False))
    assert said == ["BLEU-4: b is better than a (adjusted p < 0.001)."]


def test_non_inferiority_is_told_with_its_margin(table):
    made = table({"a": 0.9, "b": 0.89}, set(), margin=0.05, non_inferior={("a", "b"), ("b", "a")})
    assert verdicts(made) == [
        "BLEU-4: a cannot be told apart from b.",
        "BLEU-4: a is non-inferior to b at the stated margin of 0.05 "
        "(by its own interval, not corrected for the number of pairs).",
        "BLEU-4: b is non-inferior to a at the stated margin of 0.05 "
        "(by its own interval, not corrected for the number of pairs).",
    ]
    (row,) = pair_rows(made)
    assert row.verdict == "not separable; b non-inferior at a margin of 0.05"


def test_each_pair_stands_once_from_the_better_side(table):
    (row,) = pair_rows(table({"a": 0.5, "b": 0.9}, {("b", "a")}))
    assert (row.pair.model, row.pair.against, row.pair.difference, row.verdict) == ("b", "a", pytest.approx(0.4), "better")
    assert (p_text(row.pair.p), row.places) == ("< 0.001", 3)
    (lower,) = pair_rows(table({"a": 0.5, "b": 0.9}, {("a", "b")}, up=False))
    assert (lower.pair.model, lower.pair.difference) == ("a", pytest.approx(-0.4))


def test_nothing_compared_says_nothing(table):
    made = table({"a": 0.5}, set())
    assert (verdicts(made), list(pair_rows(made))) == ([], [])


def test_what_is_said_of_checkpoints_says_so(table):
    said = verdicts(table({"a": 0.9, "b": 0.6}, {("a", "b")}, scope="checkpoints"))
    assert said[1] == "This is said of these checkpoints, not of the methods: that needs two trainings or more of each."


def test_what_could_have_been_found_stands_beside_what_was_not(table):
    made = table({"a": 0.9, "b": 0.89}, set(), smallest=0.12)
    assert verdicts(made) == ["BLEU-4: a cannot be told apart from b (80 % of repetitions would find a difference of 0.120)."]
    assert next(pair_rows(made)).verdict == "not separable (80 % of repetitions would find 0.1200)"


def test_what_was_not_compared_is_not_called_equal(table):
    made = table({"a": 0.9, "b": 0.8, "c": 0.5}, {("a", "b")})
    made.comparisons.pairs[:] = [pair for pair in made.comparisons.pairs if "c" not in (pair.model, pair.against)]
    made.comparisons.pairs.append(
        made.comparisons.pairs[0].model_copy(update={"model": "c", "against": "a", "value": 0.5, "verdict": "worse"})
    )
    assert verdicts(made)[0].endswith("some pairs were not compared (other cases, too few, or no value).")


def test_the_one_with_a_single_training_is_named(table):
    made = table({"a": 0.9, "b": 0.8, "c": 0.5}, {("a", "b")})
    made.comparisons.pairs[:] = [
        pair.model_copy(update={"scope": "checkpoints"}) if "c" in (pair.model, pair.against) else pair
        for pair in made.comparisons.pairs
    ]
    assert verdicts(made)[1].startswith("What is said of c is said of these checkpoints, not of the methods")
