"""The report checker: exact on the grammar, sensible on free text."""

import pytest

from medim.data.dataset import Checker
from medim.data.phantom.labels import LABELS
from medim.data.phantom.v1.cases import COHORT, sample_case
from medim.data.phantom.v1.report import write_report
from medim.data.phantom.v1.report_checker import CHECKER


def report_of(case):
    return write_report(case, COHORT.stream(case.split, "report", case.index))


def test_it_is_exact_on_ten_thousand_reports():
    cases = [sample_case("train", index) for index in range(10_000)]
    read = CHECKER([report_of(case) for case in cases])
    wrong = [(case.labels, report_of(case)) for case, found in zip(cases, read, strict=True) if found != set(case.labels)]
    assert wrong == []


TRICKY = [
    ("", ""),
    ("...", ""),
    ("the lungs are clear.", ""),
    ("left effusion and right nodule.", "left effusion, right nodule"),
    ("Small LEFT pleural effusion!", "left effusion"),
    ("no left effusion but a right pneumothorax is seen.", "right pneumothorax"),
    ("no pneumothorax, a small left effusion is seen.", "left effusion"),
    ("no pleural effusion. small left pleural effusion.", "left effusion"),
    ("bilateral pleural effusions, large on the left and small on the right.", "left effusion, right effusion"),
    ("left and right pleural effusions.", "left effusion, right effusion"),
    ("pleural effusion on the left and right.", "left effusion, right effusion"),
    ("pleural effusions.", "left effusion, right effusion"),
    ("pleural effusion.", ""),
    ("effusion and pneumothorax on the left.", "left effusion, left pneumothorax"),
    ("left effusion and pneumothorax.", "left effusion, left pneumothorax"),
    ("effusion on the left and nodule in the right lung.", "left effusion, right nodule"),
    ("effusion on the left and right and nodule in the left lung.", "left effusion, right effusion, left nodule"),
    ("consolidation in both lower zones.", "left consolidation, right consolidation"),
    ("right upper zone consolidation, left lower zone consolidation.", "left consolidation, right consolidation"),
    ("there there is small nodule left.", "left nodule"),
    ("left pneumothorax has resolved.", ""),
    ("pacemaker is absent.", ""),
    ("no pacemaker or tube.", ""),
    ("except for a pacemaker, no abnormality.", "pacemaker"),
    ("the heart is not enlarged.", ""),
    ("the heart is enlarged and no effusion is seen.", "cardiomegaly"),
    ("no pneumothorax and the heart is enlarged.", "cardiomegaly"),
    ("heart size is normal with a large right lung nodule.", "right nodule"),
    ("the heart size is increased.", "cardiomegaly"),
    ("large right effusion without pneumothorax.", "right effusion"),
    ("no change in the small right pleural effusion.", "right effusion"),
    ("no evidence of left pneumothorax, with a nodule in the left mid zone.", "left nodule"),
    ("no pneumothorax or effusion on the left, but there is consolidation in the right upper zone.", "right consolidation"),
    ("left lung is clear, right nodule.", "right nodule"),
    ("left chest pacemaker and right effusion.", "pacemaker, right effusion"),
    ("cellularity is not high.", ""),
    ("moderate cellularity.", ""),
    ("hypercellular tissue with necrosis and no pigment.", "high cellularity, necrosis"),
    ("low cell density, two glands with open lumens.", "low cellularity, glands"),
    ("dense lymphocytic infiltrate in moderate cellularity.", "lymphocytic infiltrate"),
    ("neither glands nor necrosis.", ""),
    ("necrosis is not seen.", ""),
    ("free of pigment and necrosis.", ""),
]


@pytest.mark.parametrize(("report", "expected"), TRICKY)
def test_tricky_sentences(report, expected):
    assert CHECKER([report]) == [frozenset(filter(None, expected.split(", ")))]


def test_flipping_a_side_or_a_denial_changes_what_is_read():
    for index in range(0, 400, 2):
        case = sample_case("val", index)
        sided = {label for label in case.labels if label.startswith(("left", "right"))}
        if len(sided) != 1 or "pacemaker" in case.labels:
            continue
        report = report_of(case)
        mirrored = report.replace("left", "@").replace("right", "left").replace("@", "right")
        assert CHECKER([mirrored])[0] ^ CHECKER([report])[0] == sided | {
            next(iter(sided)).replace("left", "@").replace("right", "left").replace("@", "right")
        }


def test_it_is_a_checker():
    assert isinstance(CHECKER, Checker)
    assert CHECKER.labels == LABELS
    assert CHECKER.fingerprint == "2a48ca3471846cf0"
    assert CHECKER([]) == []
