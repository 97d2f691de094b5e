"""The report checker of version 2: exact on the grammar, right on tricky sentences, sensible on what a model may write."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from medim.data.dataset import Checker
from medim.data.phantom.labels import LABELS
from medim.data.phantom.v1.dataset import PhantomV1
from medim.data.phantom.v2.cases import sample_case
from medim.data.phantom.v2.reading.report_checker import CHECKER, read
from medim.data.phantom.v2.writing.report import write_report
from medim.data.phantom.v2.writing.statements import STYLES, Options

TRICKY = json.loads((Path(__file__).parents[1] / "tricky_sentences.json").read_text())


def _reports(start, count, **options):
    for index in range(start, start + count):
        chosen = Options(style=STYLES[index // 2 % 3], **options)
        yield write_report(sample_case("train", index), chosen, np.random.default_rng([index, 1]))


def _wrong(reports):
    return [(report.text, report.mentions, found) for report in reports if (found := read(report.text)) != report.mentions]


def test_it_is_exact_on_ten_thousand_reports_of_every_style():
    """Mentions, not only assertions; with omissions, doubt and comparisons."""
    assert _wrong(_reports(0, 10_000, omission=0.1, uncertainty=0.2)) == []


@pytest.mark.slow
def test_it_is_exact_on_ten_thousand_reports_of_each_style():
    for style in STYLES:
        cases = (sample_case("train", index) for index in range(20_000, 30_000))
        options = Options(style=style, omission=0.1, uncertainty=0.3)
        assert _wrong(write_report(case, options, np.random.default_rng(case.index)) for case in cases) == []


def test_there_are_a_hundred_tricky_sentences_of_every_sort():
    assert len({row["report"] for row in TRICKY}) >= 100
    topics = [row["topic"] for row in TRICKY]
    assert {topic: topics.count(topic) for topic in sorted(set(topics))} == {
        "denial that is none": 16,
        "gone since the prior study": 14,
        "laterality": 22,
        "not a statement about this picture": 4,
        "pathology": 6,
        "scope of a denial": 24,
        "structured and terse": 4,
        "uncertainty": 20,
    }
    assert all(set(row["mentions"]) <= set(LABELS) for row in TRICKY)


@pytest.mark.parametrize("row", TRICKY, ids=lambda row: row["report"])
def test_tricky_sentences(row):
    assert read(row["report"]) == row["mentions"]


# What a model may write: repetition, lost stops and words, odd case, loops. Asserted labels only.
MALFORMED = [
    ("", ""),
    ("...", ""),
    (". . , ; : / %", ""),
    ("FINDINGS: IMPRESSION:", ""),
    ("there there is small nodule left.", "left nodule"),
    ("Small LEFT pleural effusion!!", "left effusion"),
    ("a a small right right pneumothorax is is seen", "right pneumothorax"),
    ("no no effusion", ""),
    ("left left effusion effusion effusion", "left effusion"),
    ("FINDINGS: the heart is enlarged IMPRESSION: cardiomegaly", "cardiomegaly"),
    ("impression : 1 . small left effusion . 2 . pacemaker . 3 .", "left effusion, pacemaker"),
    ("endotracheal tube 3 . 5 cm above the carina . no effusion", "endotracheal tube"),
    ("The mild cardiomegaly. No the pneumothorax.", "cardiomegaly"),
    ("pleural effusion left, right nodule, the heart enlarged", "left effusion, right nodule, cardiomegaly"),
    ("nodule in the right upper zone measuring 18 mm measuring 18 mm", "right nodule"),
    ("There is no. Left effusion.", "left effusion"),
    ("consolidation in the the left", "left consolidation"),
    ("Lungs clear. Heart normal. Pleura: no effusion.", ""),
    ("two glands of 60 micrometres and and necrosis", "glands, necrosis"),
    ("hypercellular hypercellular tissue tissue, pigment", "high cellularity, pigment"),
    ("The tissue is hypocellular, there is is no necrosis", "low cellularity"),
    ("bilateral bilateral effusions without", "left effusion, right effusion"),
    ("pacemaker pacemaker; endotracheal", "pacemaker, endotracheal tube"),
    ("effusion on the", ""),
    ("possible", ""),
    ("left", ""),
    ("Stable small left pleural effusion compared with the prior", "left effusion"),
    ("no evidence of evidence of left pneumothorax", ""),
]


@pytest.mark.parametrize(("report", "expected"), MALFORMED)
def test_malformed_reports(report, expected):
    assert CHECKER([report]) == [frozenset(filter(None, expected.split(", ")))]


def _mirrored(text):
    swap = {"left": "right", "right": "left", "Left": "Right", "Right": "Left"}
    return re.sub("|".join(swap), lambda match: swap[match.group()], text)


FORMS = {
    "one lower-case line": lambda text: " ".join(text.lower().split()),
    "spaced tokens": lambda text: " ".join(re.findall(r"[a-z0-9&'-]+|[.,:;/%]", text.lower())),
    "told twice": lambda text: f"{text} {text}",
    "upper case": str.upper,
}


@pytest.mark.parametrize("form", FORMS)
def test_the_form_of_the_text_does_not_matter(form):
    for report in _reports(12_000, 400, uncertainty=0.2):
        assert read(FORMS[form](report.text)) == report.mentions


def test_mirrored_reports_say_the_mirrored_thing():
    for report in _reports(13_000, 400, uncertainty=0.2):
        assert read(_mirrored(report.text)) == {_mirrored(label): state for label, state in report.mentions.items()}


def test_broken_reports_are_read_without_an_error():
    """Words dropped, swapped and cut at random: any answer will do, as long as it is one."""
    rng = np.random.default_rng(0)
    for report in _reports(14_000, 300, uncertainty=0.2):
        words = [word for word in report.text.split() if rng.random() > 0.2]
        rng.shuffle(words)
        found = read(" ".join(words)[: int(rng.integers(1, 400))])
        assert set(found) <= set(LABELS)
        assert set(found.values()) <= {"present", "absent", "uncertain"}


def test_a_denied_assertion_is_no_assertion():
    for report in _reports(15_000, 300, uncertainty=0.0, comparison=False):
        asserted = [label for label, state in report.mentions.items() if state == "present" and "cellularity" not in label]
        for label in asserted:
            assert read(f"No {label}.") == {label: "absent"}
            assert read(f"There is a {label}.") == {label: "present"}
            assert read(f"Possible {label}.") == {label: "uncertain"}
            assert read(f"No new {label}.") == {}
            assert read(f"No change in the {label}.") == {label: "present"}


def test_an_assertion_outweighs_doubt_and_doubt_a_denial():
    assert read("No effusion. Possible left effusion.") == {"left effusion": "uncertain", "right effusion": "absent"}
    assert read("Possible left effusion. Left effusion. No left effusion.") == {"left effusion": "present"}


def test_it_reads_the_reports_of_version_1():
    for index in range(2_000):
        assert CHECKER([PhantomV1().reworded("test", index)]) == [frozenset(PhantomV1.case("test", index).labels)]


def test_what_a_report_leaves_open_counts_as_present():
    report = "Possible left effusion, and a right nodule. No edema."
    assert CHECKER([report, ""]) == [{"left effusion", "right nodule"}, frozenset()]
    assert CHECKER.name == "phantom-v2-report-checker[uncertain=present]"


def test_it_is_a_checker():
    assert isinstance(CHECKER, Checker)
    assert CHECKER.labels == LABELS
    assert CHECKER.fingerprint == "728b86bab78af302"
    assert CHECKER([]) == []
