"""Reports of version 2: styles, lengths, rates, wording, comparison with the prior study, twins."""

import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from medim.common.errors import UserError
from medim.data.phantom.labels import CHEST, LABELS, LABELS_BY_DOMAIN, PATHOLOGY, kind_of
from medim.data.phantom.v2.cases import Case, change, sample_case, twin
from medim.data.phantom.v2.findings import TABLES, Finding
from medim.data.phantom.v2.reading.report_checker import read_sentence, sentences
from medim.data.phantom.v2.writing.phrases import WORDS, Phrase, count_word, joined, measure, sentence
from medim.data.phantom.v2.writing.report import MAX_TOKENS, SHARES, count_tokens
from medim.data.phantom.v2.writing.report import write_report as write
from medim.data.phantom.v2.writing.statements import COMPARED, DENIED, LIKELY, STYLES, Options, Streams

CELLULARITY = {"low cellularity", "high cellularity"}


def rng(*seed):
    return np.random.default_rng(seed)


def write_report(case, generator, style="mixed", **options):
    return write(case, Options(style=style, **options), generator)


@pytest.fixture(scope="module")
def cases():
    return [sample_case("test", index) for index in range(1_400)]


@pytest.fixture(scope="module")
def reports(cases):
    return {style: [write_report(case, rng(case.index), style) for case in cases] for style in STYLES}


def chest(*findings: Finding, prior: Case | None = None) -> Case:
    return Case("test", 0, CHEST, 0, 0 if prior is None else 1, findings, prior)


def test_tokens_are_words_and_stops_whatever_the_case():
    assert count_tokens("FINDINGS: A 12 mm nodule, 1.2 cm; H&E 50% and/or.") == 19


def test_styles_have_their_lengths(reports):
    lengths = {style: np.array([count_tokens(report.text) for report in reports[style]]) for style in STYLES}
    assert 4 <= np.median(lengths["terse"]) <= 16
    assert 18 <= np.median(lengths["standard"]) <= 36
    assert 55 <= np.median(lengths["long"]) <= 100
    assert max(values.max() for values in lengths.values()) <= MAX_TOKENS
    for report in reports["terse"]:
        assert len(re.findall(r"[.](?= [A-Z]|$)", report.text)) <= 3, report.text  # two, and one that names the examination


def test_a_patient_with_everything_still_fits(cases):
    """Every chest finding at once, three nodules a side, all compared: more than any case has."""
    everything = tuple(
        Finding(label, "severe", 80.0, 0.5, 3 if "nodule" in label else 1, "upper") for label in LABELS_BY_DOMAIN[CHEST]
    )
    case = chest(*everything, prior=chest(*(replace(finding, size=40.0) for finding in everything)))
    lengths = [count_tokens(write_report(case, rng(seed), "long").text) for seed in range(60)]
    assert 170 < max(lengths) <= MAX_TOKENS


def test_reports_are_sentences(reports):
    for style in STYLES:
        for report in reports[style]:
            assert not re.search(r"[{}_]|  | [.,;]|\.\.|,,|,\.|\bNone\b(?!\.| available)", report.text), report.text
            for line in report.text.splitlines():
                body = line.partition(": ")[2] if style == "long" else line
                assert body.endswith("."), line
                for text in re.split(r"(?<=[a-z)]\.) ", body):
                    assert re.match(r"[A-Z0-9]", text), line


def test_sections_make_up_the_text(reports):
    for report in reports["long"]:
        assert report.text == "\n".join(f"{name.upper()}: {text}" for name, text in report.sections.items())
        assert set(report.sections) >= {"findings", "impression", "comparison"}
    assert all(set(report.sections) == {"findings"} for report in reports["standard"])
    assert all(set(report.sections) == {"impression"} for report in reports["terse"])
    assert {report.style for report in reports["terse"]} == {"terse"}


def test_everything_present_is_mentioned_and_nothing_else_asserted(cases, reports):
    for style in STYLES:
        for case, report in zip(cases, reports[style], strict=True):
            assert {label for label, state in report.mentions.items() if state != "absent"} == set(case.labels)
            assert list(report.mentions) == [label for label in LABELS if label in report.mentions]


def test_labels_and_states_are_all_covered(reports):
    seen = Counter((label, state) for style in STYLES for r in reports[style] for label, state in r.mentions.items())
    for label in LABELS:
        assert seen[label, "present"] > 10
        assert seen[label, "absent"] > 10
        assert (seen[label, "uncertain"] > 0) == (label not in ("pacemaker", "endotracheal tube")), label


def _share_within(hits: int, total: int, rate: float) -> bool:
    return abs(hits / total - rate) < 4 * np.sqrt(rate * (1 - rate) / total)


@pytest.mark.parametrize("style", STYLES)
def test_rates_are_those_asked_for(cases, style):
    total = omitted = uncertain = likely = sure = 0
    words = re.compile(r"\b(?:likely|probabl[ey]|presumed|appearances|in keeping with|compatible)\b", re.IGNORECASE)
    for case in cases[:700]:
        report = write_report(case, rng(case.index, 5), style, omission=0.2, uncertainty=0.3)
        for label in case.labels:
            total += 1
            omitted += label not in report.mentions
            sure += label not in ("pacemaker", "endotracheal tube") and label in report.mentions
            uncertain += report.mentions.get(label) == "uncertain"
        likely += len(case.labels) == 1 and bool(words.search(report.text))
    assert _share_within(omitted, total, 0.2)
    assert _share_within(uncertain, sure, 0.3)
    assert likely > 8


def test_nothing_is_hedged_or_omitted_at_rate_zero(cases):
    for case in cases[:500]:
        report = write_report(case, rng(case.index), "standard", omission=0.0, uncertainty=0.0)
        assert {label for label, state in report.mentions.items() if state == "present"} == set(case.labels)
        assert not re.search(r"\b(?:possibl|suspect|question|likely|probabl|may|excluded)", report.text)


def test_an_omitted_finding_is_not_denied(cases):
    for case in cases[:300]:
        report = write_report(case, rng(case.index), "long", omission=1.0)
        assert not set(case.labels) & set(report.mentions)
        assert not set(case.labels) & {label for text in sentences(report.text) for label, _ in read_sentence(text)}


def test_absent_kinds_are_denied_at_the_rate_of_the_style(cases, reports):
    for style in STYLES:
        total = denied = 0
        for case, report in zip(cases, reports[style], strict=True):
            if case.prior is None and case.domain == CHEST and not case.has("cardiomegaly"):
                total += 1
                denied += report.mentions.get("cardiomegaly") == "absent"
        assert _share_within(denied, total, DENIED[style])


def test_mixed_draws_the_styles_by_their_shares(cases):
    drawn = Counter(write_report(case, rng(case.index)).style for case in cases)
    for style, share in zip(STYLES, SHARES, strict=True):
        assert _share_within(drawn[style], len(cases), share)


def test_reports_are_varied(cases, reports):
    for style, least in (("terse", 0.7), ("standard", 0.9), ("long", 0.97)):
        texts = [report.text for report in reports[style]]
        assert len(set(texts)) / len(texts) > least, style
    words = Counter(word for style in STYLES for r in reports[style] for word in re.findall(r"[a-z'&-]+", r.text.lower()))
    assert 300 < len(words) < 600
    assert len({write_report(cases[4], rng(seed), "standard").text for seed in range(60)}) > 50


@pytest.mark.parametrize("frames", [WORDS.frames["open"], WORDS.frames["likely"], *WORDS.course.values()])
def test_every_frame_is_used(frames, reports):
    corpus = "\n".join(report.text.lower() for style in ("standard", "long") for report in reports[style])
    for frame in frames:
        fixed = max(re.split(r"\{[a-z]+\}", frame), key=len).strip(" ,")
        assert fixed in corpus, frame


def test_every_kind_has_four_wordings_or_more():
    for kind, wording in WORDS.findings.items():
        assert len(wording.full) + len(wording.present) >= 6, kind
        assert len(wording.full) >= 4, kind


def test_the_generator_decides_everything():
    case = sample_case("train", 44)
    assert write_report(case, rng(3)) == write_report(case, rng(3))
    used = rng(3)
    assert write_report(case, used) != write_report(case, used), "the state of the generator counts, not its seed"


@pytest.mark.parametrize(
    ("label", "size", "told"),
    [
        ("left nodule", 7.6, {"8 mm"}),
        ("left nodule", 17.4, {"17 mm", "1.7 cm"}),
        ("left nodule", 183.0, {"185 mm", "18.5 cm"}),
        ("left nodule", 20.2, {"20 mm", "2 cm"}),
        ("pigment", 63.0, {"65 micrometres", "65 microns"}),
        ("pigment", 136.0, {"140 micrometres", "140 microns"}),
    ],
)
def test_numbers_are_rounded_as_a_reader_would(label, size, told):
    finding = Finding(label, "mild", size, 0.5)
    assert {measure(finding, rng(seed)) for seed in range(20)} == told


def test_small_words():
    assert Phrase("18 mm nodule").indefinite == "an 18 mm nodule"
    assert Phrase("8 mm nodule").indefinite == "an 8 mm nodule"
    assert Phrase("1.8 cm nodule").indefinite == "a 1.8 cm nodule"
    assert Phrase("19 mm nodule").indefinite == "a 19 mm nodule"
    assert Phrase("mild cardiomegaly", counted=False).indefinite == "mild cardiomegaly"
    assert Phrase("two glands", plural=True).definite == "the two glands"
    assert joined(["a", "b", "c"], "or") == "a, b or c"
    assert sentence("the  heart is  enlarged") == "The heart is enlarged."
    assert [count_word(number) for number in (1, 6, 9)] == ["one", "six", "several"]


def test_sizes_counts_and_zones_come_from_the_finding():
    nodules = chest(Finding("right nodule", "severe", 26.0, 0.5, 2, "upper"))
    texts = {write_report(nodules, rng(seed), "standard", uncertainty=0.0).text for seed in range(200)}
    found = {
        match
        for text in texts
        for match in re.findall(r"\d+ mm|\d+\.\d cm|\b(?:one|two|three) |(?:upper|mid|lower) zone", text)
    }
    assert found >= {"26 mm", "2.6 cm", "two ", "upper zone"}
    assert found <= {"26 mm", "2.6 cm", "two ", "upper zone"}


@pytest.mark.parametrize(
    ("before", "now", "words", "state"),
    [
        (20.0, 28.0, ("increas", "larger", "grown", "enlarg", "worsening", "previously 20 mm", "compared with"), "present"),
        (28.0, 20.0, ("decreas", "smaller", "shrunk", "improving", "residual", "previously 28 mm", "compared with"), "present"),
        (
            20.0,
            20.0,
            ("unchanged", "stable", "persist", "again", "no change", "no significant interval change", "still", "not changed"),
            "present",
        ),
        (None, 20.0, ("new", "developed", "appeared", "now present", "not seen"), "present"),
        (20.0, None, ("resol", "disappear", "no longer"), "absent"),
    ],
)
def test_change_since_the_prior_study_is_told(before, now, words, state):
    label = "left nodule"
    prior = chest(*([Finding(label, "moderate", before, 0.5, 1, "mid")] if before else []))
    case = chest(*([Finding(label, "moderate", now, 0.5, 1, "mid")] if now else []), prior=prior)
    for seed in range(120):
        report = write_report(case, rng(seed), "long", uncertainty=0.0)
        assert report.mentions[label] == state
        assert any(word in report.text.lower() for word in words), report.text
        silent = write_report(case, rng(seed), "long", uncertainty=0.0, comparison=False)
        assert "COMPARISON" not in silent.text
        assert not re.search(r"\b(?:prior|previous|interval|new|resolved|unchanged|increas|no longer)", silent.text), (
            silent.text
        )


def test_comparison_is_told_at_the_rate_of_the_style(cases):
    followed = [case for case in cases if case.prior is not None and any(change(case, label) == "resolved" for label in LABELS)]
    pattern = re.compile(r"resol|clear|no longer|remov|disappear|withdrawn", re.IGNORECASE)
    for style in STYLES:
        told = [
            bool(pattern.search(write_report(case, rng(case.index), style).text.replace("clear space", "")))
            for case in followed
            if case.domain == PATHOLOGY and sum(change(case, label) == "resolved" for label in set(LABELS) - CELLULARITY) == 1
        ]
        assert abs(np.mean(told) - COMPARED[style]) < 0.15


def _names(label: str, text: str) -> bool:
    """Whether a sentence is about the kind of the label."""
    stems = {
        "cardiomegaly": "cardi|heart",
        "pulmonary edema": "edema|perihilar|hila",
        "endotracheal tube": "tube|intubated|devices",
        "pacemaker": "pacemaker|devices",
        "effusion": "effusion|costophrenic|fluid",
        "consolidation": "consolid|opacity|airspace|density in the",
        "pneumothorax": "pneumothora",
        "lymphocytic infiltrate": "lympho|small dark nuclei",
        "glands": "gland",
        "pigment": "pigment",
        "necrosis": "necro",
    }
    if label in CELLULARITY:
        return re.search(r"cellular|cell density", text, re.IGNORECASE) is not None
    return re.search(stems.get(kind_of(label), kind_of(label)), text, re.IGNORECASE) is not None


def _split(text: str) -> Counter:
    text = re.sub(r"(?<=[.:] )\d+\. (?=[A-Z0-9])", "", text)  # numbers of an impression
    text = re.sub(r" (?:without|but no|with no) [a-z ]+\.", ".", text)  # a denial hung on another sentence of the region
    text = re.sub(r"(?m)^[A-Z]+: ", "", text)
    return Counter(part.strip() for part in re.findall(r"(?:\d\.\d|[^.\n])+\.", text))


@pytest.mark.parametrize("style", ["standard", "long"])
def test_a_twin_differs_only_in_what_it_says_of_the_changed_finding(cases, style):
    whole = {sentence(text) for text in (*WORDS.normal[CHEST], *WORDS.normal[PATHOLOGY], *WORDS.unchanged_overall)}
    compared = 0
    for case in cases[:110]:
        original = write_report(case, rng(case.index), style)
        for label in LABELS_BY_DOMAIN[case.domain]:
            try:
                other = twin(case, label)
            except UserError:  # no room for it in the picture
                continue
            report = write_report(other, rng(case.index), style)
            changed = {name for name in LABELS if report.mentions.get(name) != original.mentions.get(name)}
            assert changed <= (CELLULARITY if label in CELLULARITY else {label})
            assert label in CELLULARITY or changed or not original.mentions.get(label)
            kind = kind_of(label)
            region = next((kinds for kinds in TABLES.regions[case.domain].values() if kind in kinds), ("cellularity",))
            told = _split(original.text), _split(report.text)
            conspicuity = [text for texts in WORDS.conspicuity.get(kind, {}).values() for text in texts]
            own = {sentence(text) for text in (*WORDS.details.get(kind, ()), *conspicuity)}
            for text in (told[0] - told[1]) + (told[1] - told[0]):
                said = dict(read_sentence(text.lower().removesuffix(".")))
                absences = said and set(said.values()) == {"absent"} and {kind_of(name) for name in said} <= set(region)
                assert _names(label, text) or absences or text in whole | own, (label, text, original.text, report.text)
            compared += 1
    assert compared > 500


def test_streams_depend_on_their_name_and_the_generator():
    one, other = Streams(rng(1)), Streams(rng(2))
    assert one.of("told", "left nodule").random() == one.of("told", "left nodule").random()
    values = {
        one.of("told", "left nodule").random(),
        one.of("told", "right nodule").random(),
        one.of("said", "left nodule").random(),
    }
    assert len(values | {other.of("told", "left nodule").random()}) == 4
    draws = np.array([[Streams(rng(seed)).of("said", label).random() for label in LABELS[:4]] for seed in range(2_000)])
    assert np.abs(np.corrcoef(draws.T) - np.eye(4)).max() < 0.08


def test_what_is_left_open_and_what_is_likely_fit_into_one():
    assert (1.0 + LIKELY) * 0.66 <= 1.0  # the largest uncertainty
