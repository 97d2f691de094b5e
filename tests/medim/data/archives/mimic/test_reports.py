"""The reports of MIMIC-CXR: sections, marks of de-identification, exceptions, and where they lie."""

import pytest

from medim.common.errors import UserError
from medim.data.archives.archive import open_archive


@pytest.mark.parametrize(
    ("section", "ids", "reports"),
    [
        ("findings", "a1 a2 a3 c1 e1 e2", {"a3": "Small effusion.", "c1": "Device in place."}),
        ("impression", "a1 a2 b1 b2 c1", {"a1": "Normal.", "c1": "Device in place."}),
        (
            "report",
            "a1 a2 a3 b1 b2 c1 c2 d1 e1 e2 f2 f3",
            {
                "b1": "HISTORY: Cough.\nIMPRESSION: Pneumonia.",
                "f2": "LUNGS: Clear.\nRECOMMENDATION(S): None needed.",
            },
        ),
    ],
)
def test_sections(mimic, section, ids, reports):
    pairs, excluded, _, _ = mimic.listed(section=section)
    assert " ".join(pairs) == ids
    assert {name: pairs[name]["report"] for name in reports} == reports
    assert len(pairs) + len(excluded) == 12
    assert {item.reason for item in excluded} == ({f"no {section} section"} if section != "report" else set())


def test_without_the_fallback(mimic):
    pairs, excluded, _, _ = mimic.listed(fallback="false")
    assert " ".join(pairs) == "a1 a2 a3 b1 b2 c1 e1 e2"
    assert len(excluded) == 4


@pytest.mark.parametrize(
    ("policy", "report", "indication"),
    [
        ("keep", "Seen by Dr. ___, the lungs are clear.\nNormal.", "___ man."),
        ("drop", "Seen by Dr., the lungs are clear.\nNormal.", "man."),
        ("mask", "Seen by Dr. [deid], the lungs are clear.\nNormal.", "[deid] man."),
    ],
)
def test_one_policy_for_the_marks_of_deidentification(mimic, policy, report, indication):
    pairs, excluded, _, _ = mimic.listed(underscores=policy)
    assert pairs["a1"]["report"] == report
    assert pairs["a1"]["sections"]["indication"] == indication
    only_marks = [item for item in excluded if item.reason == "nothing but de-identification marks"]
    assert ("e1" in pairs, len(only_marks)) == ((False, 2) if policy == "drop" else (True, 0))


def test_exceptions(mimic, tmp_path):
    text = mimic.reports[50000005]
    start = text.index("As compared")
    path = mimic.write_csv(
        tmp_path / "exceptions.csv",
        ["study", "section", "start", "end"],
        [
            ["s50000009", "Recommendation", "", ""],
            ["50000005", "findings", start, start + 11],
            ["50000006", "impression", "", ""],
            ["50000099", "report", "", ""],
        ],
    )
    pairs, _, losses, archive = mimic.listed(exceptions=str(path))
    assert pairs["f2"]["report"] == pairs["f3"]["report"] == "None needed."
    assert pairs["c2"]["report"] == pairs["c2"]["sections"]["findings"] == "As compared"
    assert pairs["c2"]["parsed_by"] == "exception"
    assert [item.item for item in losses] == ["d1", "f1"]
    assert "takes 'impression', which" in losses[0].reason
    facts = archive.facts()["reports"]
    assert facts["by"] == {"heading": 5, "last paragraph": 0, "none": 0, "exception": 3}
    assert facts["exceptions_unused"] == ["s50000099"]


@pytest.mark.parametrize(
    ("header", "row", "message"),
    [
        (["study_id", "section"], ["1", "findings"], "column 'study' is missing; the columns are: study_id, section"),
        (["study", "section"], ["one", "findings"], "exceptions.csv:2: column 'study': 'one' is not a number"),
        (["study", "section"], ["1", ""], "exceptions.csv:2: column 'section' is empty"),
        (["study", "section", "start", "end"], ["1", "findings", "9", "3"], r"'end' \(3\) is not after 'start' \(9\)"),
        (["study", "section", "start", "end"], ["1", "findings", "9", ""], "column 'end': '' is not a number"),
    ],
)
def test_exceptions_that_cannot_be_used(mimic, tmp_path, header, row, message):
    path = mimic.write_csv(tmp_path / "exceptions.csv", header, [row])
    with pytest.raises(UserError, match=message):
        mimic.listed(exceptions=str(path))


def test_reports_elsewhere(mimic, tmp_path):
    (mimic.root / "files" / "mimic-cxr").rename(tmp_path / "reports")
    with pytest.raises(UserError, match=r"no reports \(files/p10/.*reports=DIR"):
        open_archive("mimic-cxr", mimic.root)
    assert len(mimic.listed(reports=str(tmp_path / "reports"))[0]) == 11
    with pytest.raises(UserError, match=r"option 'reports': folder '.*nothing' does not exist"):
        open_archive("mimic-cxr", mimic.root, None, {"reports": str(tmp_path / "nothing")})
    (mimic.root / "mimic-cxr-reports.zip").write_bytes(b"")
    with pytest.raises(UserError, match=r"unpack '.*mimic-cxr-reports.zip'"):
        open_archive("mimic-cxr", mimic.root)


def test_reports_that_cannot_be_read_are_losses_of_each_image(mimic):
    reports = mimic.root / "files" / "mimic-cxr" / "2.1.0" / "files"
    (reports / "p10/p10000032/s50000001.txt").write_bytes(b"FINDINGS: \xff.")
    (reports / "p10/p10000032/s50000002.txt").write_text(" \n")
    _, _, losses, _ = mimic.listed()
    begun = " cannot be read: not"
    assert [(loss.item, loss.reason.split("'")[2][:20]) for loss in losses] == [
        ("a1", begun),
        ("a2", begun),
        ("a3", " is empty"),
        ("f1", " does not exist"),
    ]
