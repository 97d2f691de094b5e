"""Reports: length, vocabulary, variety, order, wording."""

import re

import numpy as np
import pytest

from medim.data.phantom.v1.cases import COHORT, sample_case
from medim.data.phantom.v1.report import MAX_TOKENS, WORDS, count_tokens, write_report


def report_of(case):
    return write_report(case, COHORT.stream(case.split, "report", case.index))


@pytest.fixture(scope="module")
def reports():
    return [report_of(sample_case("test", index)) for index in range(2_048)]


def test_tokens_are_words_stops_and_commas():
    assert count_tokens("h&e section. no gland, necrosis or x-ray.") == 10


def test_reports_are_short_lower_case_sentences(reports):
    for report in reports:
        assert report == report.lower()
        assert re.fullmatch(r"(?:[a-z0-9&'-]+(?:,? [a-z0-9&'-]+)*\. ?)+", report), report
        assert not report.endswith(" ")
    lengths = [count_tokens(report) for report in reports]
    assert max(lengths) <= MAX_TOKENS
    assert 20 <= np.mean(lengths) <= 28


def test_vocabulary_is_small_and_reports_are_distinct(reports):
    words = {word for report in reports for word in re.findall(r"[a-z0-9&'-]+", report)}
    assert 90 < len(words) < 250
    assert len(set(reports)) / len(reports) > 0.97


def test_every_wording_has_room_beside_the_longest_others():
    """Four findings at their longest, with the longest opening, fit without any denial."""
    longest = {
        kind: max(count_tokens(text) for text in texts)
        for kind, texts in (*WORDS.one_side.items(), *((key, text) for key, text in WORDS.present.items()))
    }
    opening = max(count_tokens(text) for texts in WORDS.openings.values() for text in texts)
    assert opening + 4 * max(longest.values()) <= MAX_TOKENS + 2  # no case has four of the longest kind (nodules: at most two)
    assert opening + 2 * longest["nodule"] + 2 * max(v for k, v in longest.items() if k != "nodule") <= MAX_TOKENS
    for kind, texts in (*WORDS.both_sides.items(), *WORDS.unlike_sides.items()):
        assert max(map(count_tokens, texts)) <= 2 * longest[kind], "one sentence for two sides is not longer than two"


def test_every_wording_is_used(reports):
    corpus = " ".join(reports)
    for texts in (*WORDS.present.values(), *WORDS.openings.values()):
        for text in texts:
            pattern = re.sub(r"\\\{[a-z]+\\\}", "[a-z]+", re.escape(text))
            assert re.search(pattern, corpus), text


def test_most_reports_follow_the_anatomy():
    order = ["heart", "consolidation", "effusion", "pacemaker"]
    in_order = total = 0
    for index in range(0, 10_000, 2):
        case = sample_case("train", index)
        wanted = [
            label for label in ("cardiomegaly", "consolidation", "effusion", "pacemaker") if label in " ".join(case.labels)
        ]
        if len(wanted) < 3:
            continue
        report = report_of(case)
        places = [
            re.search(r"heart|cardi", report).start() if name == "heart" else re.search(rf"{name}|airspace", report).start()
            for name in order
            if (name if name != "heart" else "cardiomegaly") in wanted
        ]
        in_order += places == sorted(places)
        total += 1
    assert total > 40
    assert 0.75 < in_order / total < 0.98


def test_wording_varies_with_the_generator_alone():
    case = sample_case("train", 4)
    texts = {write_report(case, np.random.default_rng(seed)) for seed in range(40)}
    assert len(texts) > 30
    assert write_report(case, np.random.default_rng(7)) == write_report(case, np.random.default_rng(7))
