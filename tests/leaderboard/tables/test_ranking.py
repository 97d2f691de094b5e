import itertools

import numpy as np
import pytest

from leaderboard.record import Record
from leaderboard.tables.pairwise import Comparison
from leaderboard.tables.ranking import Standing, groups, shortened, standings, unranked_because


@pytest.fixture
def cell(make_record):
    def make(value=0.5, half=0.01, **changes):
        interval = {} if half is None else {"ci_low": value - half, "ci_high": value + half}
        return Record(**make_record(value=value, **interval, **changes))

    return make


def pair(run, against, verdict, **changes):
    """From one side; `both` gives the two."""
    fields = {
        "task": "report-generation",
        "metric": "BLEU-4",
        "dataset": "phantom",
        "fingerprint": "f",
        "split": "test",
        "protocol": "strict-v1",
        "model": f"model-{run}",
        "runs": [run],
        "value": 0.5,
        "against": f"model-{against}",
        "against_runs": [against],
        "against_value": 0.4,
        "difference": 0.1,
        "ci_low": 0.0,
        "ci_high": 0.2,
        "p": 0.01,
        "p_adjusted": 0.02,
        "family": 3,
        "test": "paired",
        "patients": 100,
        "margin": None,
        "verdict": verdict,
    }
    return Comparison(**(fields | changes))


def both(run, against, verdict):
    turned = {"better": "worse", "worse": "better"}.get(verdict, verdict)
    return [pair(run, against, verdict), pair(against, run, turned)]


def test_higher_and_lower_are_ranked_each_their_way(cell):
    assert standings({"a": cell(0.5), "b": cell(0.7), "c": cell(0.6)}) == {
        "b": Standing(1, True, True, "a"),
        "c": Standing(2, False, False, "b"),
        "a": Standing(3, False, False, "c"),
    }
    lower = standings({"a": cell(5.0, higher_is_better=False), "b": cell(7.0, higher_is_better=False)})
    assert lower["a"] == Standing(1, True, True, "a")


def test_values_of_another_direction_are_not_ranked_beside_the_rest(cell):
    turned = {"z": cell(0.1, higher_is_better=False), "a": cell(0.5), "b": cell(0.7)}
    assert standings(turned) == standings({name: turned[name] for name in "ab"})


def test_without_comparisons_intervals_must_not_overlap(cell):
    column = {"a": cell(0.70, 0.03), "b": cell(0.66, 0.02), "c": cell(0.60, 0.02)}
    found = standings(column)
    assert [found[name].best for name in "abc"] == [True, True, False]
    assert [found[name].place for name in "abc"] == [1, 1, 3]
    assert not any(standing.alone for standing in found.values())
    touching = standings({"a": cell(0.5, 0.25), "b": cell(1.0, 0.25)})
    assert touching["a"].place == touching["b"].place == 1


def test_a_comparison_comes_before_the_intervals(cell):
    column = {"a": cell(0.70, 0.1, run="r1"), "b": cell(0.66, 0.1, run="r2")}
    assert [standing.place for standing in standings(column).values()] == [1, 1]
    found = standings(column, both("r1", "r2", "better"))
    assert (found["a"], found["b"]) == (Standing(1, True, True, "a"), Standing(2, False, False, "b"))
    apart = {"a": cell(0.70, 0.01, run="r1"), "b": cell(0.66, 0.01, run="r2")}
    assert [s.place for s in standings(apart, both("r1", "r2", "not separable")).values()] == [1, 1]
    assert [s.place for s in standings(apart, both("r1", "r2", "non-inferior")).values()] == [1, 1]


def test_places_count_systems_that_are_better_and_not_values(cell):
    column = {name: cell(value, run=name) for name, value in (("a", 0.9), ("b", 0.8), ("c", 0.7))}
    compared = [*both("a", "b", "not separable"), *both("b", "c", "not separable"), *both("a", "c", "better")]
    found = standings(column, compared)
    assert [(found[n].place, found[n].letters, found[n].best) for n in "abc"] == [
        (1, "a", True),
        (1, "ab", True),
        (2, "b", False),
    ]


def test_seeds_of_a_system_are_one_and_are_not_told_apart(cell):
    column = {"m (seed 0)": cell(0.9, run="m0"), "m (seed 1)": cell(0.7, run="m1"), "n": cell(0.5, run="n")}
    compared = [
        pair("m", "n", "better", runs=["m0", "m1"]),
        pair("n", "m", "worse", against_runs=["m0", "m1"]),
    ]
    found = standings(column, compared)
    assert [(s.place, s.best) for s in found.values()] == [(1, True), (1, True), (2, False)]


def test_equal_values_share_a_place(cell):
    found = standings({"a": cell(0.5), "b": cell(0.5), "c": cell(0.4)})
    assert [found[name].place for name in "abc"] == [1, 1, 3]
    assert found["a"].best
    assert not found["a"].alone


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kind": "anchor"}, "an anchor"),
        ({"kind": "reported"}, "reported by the paper"),
        ({"coverage": 0.999}, "coverage 99.9%"),
        ({"n": 99}, "99 cases: ranking needs 100"),
        ({"higher_is_better": None}, "descriptive"),
        ({"metric": "KID (EfficientNet-Lite0)"}, "trained against"),
        ({"value": None, "reason": "no Java"}, "no Java"),
        ({}, "no interval"),
    ],
)
def test_what_may_not_be_ranked_never_is(cell, make_record, changes, words):
    barred = Record(**make_record(**{"value": 99.0, **changes}))
    assert words in unranked_because(barred)
    found = standings({"barred": barred, "a": cell(0.5), "b": cell(0.4)})
    assert list(found) == ["a", "b"]
    assert standings({"barred": barred, "a": cell(0.5)}) == {}


def test_only_one_measure_is_ranked(cell):
    same = {"metric": "BLEU-4", "resolution": 64}
    column = {
        "a": cell(0.5, signature={**same, "model": "x", "generated_by": ["1"]}),
        "b": cell(
            0.4, signature={**same, "model": "y", "settings": {"steps": 9}, "interval": "95 %", "statistics": {"file": "f"}}
        ),
        "c": cell(0.9, signature={**same, "resolution": 128}),
        "d": cell(0.9, n=512, signature=same),
    }
    assert list(standings(column)) == ["a", "b"]


@pytest.mark.parametrize("own", ["standard_error_of_draws", "scored"])
def test_what_a_systems_own_answers_say_keeps_none_apart(cell, own):
    column = {"a": cell(0.5, signature={"draws": 8, own: 3}), "b": cell(0.4, signature={"draws": 8, own: 4})}
    assert list(standings(column)) == ["a", "b"]


ARM = {"overrides": {}, "steps": 920, "image_tokenizer": "i", "report_tokenizer": "r", "preset": "mini"}


def arm(cell, value, metric="nats per pair (joint)", **signature):
    return cell(value, 1.0, task="ablation", metric=metric, higher_is_better=False, signature=ARM | signature)


def test_the_arms_of_an_ablation_are_ranked_against_each_other(cell):
    column = {
        "full (seed 0)": arm(cell, 226.2),
        "full (seed 1)": arm(cell, 226.4),
        "no-adaln": arm(cell, 226.1, overrides={"timestep": "additive"}),
        "report-image": arm(cell, 226.3, overrides={"order": "report-image"}),
        "no-pretrained": arm(cell, 240.0, overrides={"pretrained": False}),
    }
    found = standings(column)
    assert set(found) == set(column)
    assert {label for label, standing in found.items() if standing.best} == set(column) - {"no-pretrained"}


@pytest.mark.parametrize(
    "other", [{"steps": 200}, {"image_tokenizer": "j"}, {"report_tokenizer": "s"}, {"preset": "smollm2"}], ids=str
)
def test_arms_of_other_tokens_or_steps_are_not(cell, other):
    column = {
        "full": arm(cell, 226.2),
        "no-adaln": arm(cell, 227.1, overrides={"timestep": "additive"}),
        "other": arm(cell, 9.0, overrides={"some": "thing"}, **other),
    }
    assert set(standings(column)) == {"full", "no-adaln"}


def test_a_change_against_a_base_is_not_ranked(cell):
    column = {name: arm(cell, value, "change of nats per pair (joint)") for name, value in (("a", 0.1), ("b", 9.0))}
    assert standings(column) == {}
    assert "against a base" in unranked_because(column["a"])


@pytest.mark.parametrize("seed", range(20))
def test_letters_are_shared_exactly_by_what_is_not_apart(seed):
    generator = np.random.default_rng(seed)
    labels = "abcdefgh"
    apart = {(x, y) for x, y in itertools.combinations(labels, 2) if generator.random() < 0.5}
    apart |= {(y, x) for x, y in apart}
    letters = groups(labels, apart)
    for one, other in itertools.combinations(labels, 2):
        assert bool(set(letters[one]) & set(letters[other])) == ((one, other) not in apart)
    assert letters["a"].startswith("a")
    members = {letter: {label for label in labels if letter in letters[label]} for letter in "".join(letters.values())}
    assert not any(one < other for one in members.values() for other in members.values())  # no letter says what another says


def test_letters_beyond_the_alphabet_stay_apart():
    labels = [f"m{index:02d}" for index in range(30)]
    letters = groups(labels, set(itertools.permutations(labels, 2)))
    assert len(set(letters.values())) == 30
    assert letters["m26"] == "a1"


def test_one_group_needs_no_letters():
    assert groups("abc", set()) == {"a": "", "b": "", "c": ""}


def test_the_letters_of_a_hundred_systems_are_short():
    """Of systems that only distant ones can be told apart from, each is in thirty groups."""
    order = [f"m{place:03}" for place in range(100)]
    apart = {(one, other) for i, one in enumerate(order) for j, other in enumerate(order) if abs(i - j) > 30}
    letters = groups(order, apart)
    assert max(map(len, letters.values())) > 50
    shown = [shortened(letters[label]) for label in order]
    assert max(map(len, shown)) <= 18
    assert shown[:2] == ["a", "ab"]
    assert shown[9] == "abcd\N{HORIZONTAL ELLIPSIS}j (10)"
    assert shortened("z a1b1".replace(" ", "")) == "za1b1"


def test_a_column_shows_few_letters(cell):
    column = {f"m{i:02}": cell(i / 100, 0.1) for i in range(60)}
    assert 8 <= max(len(standing.letters) for standing in standings(column).values()) <= 18
