"""Reports of many styles, taken apart by hand here and by the parser there."""

import csv
import os
import textwrap
from pathlib import Path

import pytest

from medim.data.archives.sections import canonical, deidentified, parse

SHARED = Path(os.environ.get("MEDIM_SHARED_DATA", Path(__file__).parents[4] / ".." / "shared" / "data"))

STANDARD = """\
                                 FINAL REPORT
 EXAMINATION:  CHEST (PA AND LAT)
 
 INDICATION:  ___ year old woman with cough  // pneumonia?
 
 TECHNIQUE:  Chest PA and lateral
 
 COMPARISON:  ___
 
 FINDINGS: 
 
 The heart is enlarged.  A left effusion is
 new.
 
 Degenerative changes of the spine.
 
 IMPRESSION: 
 
 New left effusion.
"""  # noqa: W293, W291


def test_the_usual_report():
    parsed = parse(STANDARD)
    assert parsed.sections == {
        "examination": "CHEST (PA AND LAT)",
        "indication": "___ year old woman with cough // pneumonia?",
        "technique": "Chest PA and lateral",
        "comparison": "___",
        "findings": "The heart is enlarged. A left effusion is new.\nDegenerative changes of the spine.",
        "impression": "New left effusion.",
    }
    assert parsed.how == "heading"
    assert parsed.unknown == ()
    assert parsed.body == (
        "INDICATION: ___ year old woman with cough // pneumonia?\nTECHNIQUE: Chest PA and lateral\nCOMPARISON: ___\n"
        "FINDINGS: The heart is enlarged. A left effusion is new.\nDegenerative changes of the spine.\n"
        "IMPRESSION: New left effusion."
    )


def test_the_text_asked_for():
    parsed = parse(STANDARD)
    assert parsed.text("impression") == "New left effusion."
    assert parsed.text("both") == parsed.text("findings") + "\n" + parsed.text("impression")
    assert parsed.text("report") == parsed.body
    assert parsed.text("technique") == "Chest PA and lateral"
    assert parsed.text("recommendation") is None
    assert parse("IMPRESSION: Fine.").text("findings") is None
    assert parse("IMPRESSION: Fine.").text("both") == "Fine."


@pytest.mark.parametrize(
    "report",
    [
        "FINDINGS: Clear lungs.\nIMPRESSION: Normal.",
        "FINDINGS:\nClear lungs.\n\nIMPRESSION:\nNormal.",
        "FINDINGS:Clear lungs.\nIMPRESSION:Normal.",
        "Findings: Clear\nlungs.\nImpression: Normal.",
        "Findings\nClear lungs.\nImpression\nNormal.",
        "FINDINGS\n\n Clear lungs.\n\nCONCLUSION\n\n Normal.",
        "FINDING:  Clear lungs.\nIMPRESSIONS:  Normal.",
        "FINIDNGS: Clear lungs.\nIMPRESSSION: Normal.",
        "FINDINGS - Clear lungs.\nOPINION - Normal.",
        "FINDINGS.  Clear lungs.\nIMPRESSION  Normal.",
        "CHEST FINDINGS: Clear lungs.\nFINAL IMPRESSION: Normal.",
        "FINDINGS AND RECOMMENDATION: Clear lungs.\nSUMMARY: Normal.",
        "FINDINGS: Clear lungs. IMPRESSION: Normal.",
        "HISTORY: Cough. FINDINGS: Clear lungs. IMPRESSION: Normal.",
        "CHEST RADIOGRAPH\n\nFINDINGS: Clear lungs.\n\n\nIMPRESSION: Normal.\n______________________________\n",
        "CHEST, SINGLE AP VIEW:  Clear lungs.\n\nIMPRESSION: Normal.".replace("Clear", "The x ray shows clear"),
        "FINDINGS: Clear lungs.\r\nIMPRESSION: Normal.\r\n",
    ],
)
def test_styles_of_headings(report):
    parsed = parse(report)
    assert parsed.how == "heading"
    assert parsed.sections["findings"].replace("The x ray shows clear", "Clear") == "Clear lungs."
    assert parsed.sections["impression"] == "Normal."


@pytest.mark.parametrize("heading", ["FINDINGS AND IMPRESSION", "Findings/Impression", "IMPRESSION & FINDINGS"])
def test_one_section_for_both(heading):
    parsed = parse(f"{heading}: Clear.\n\nNOTIFICATION: Dr. ___ was called.")
    assert parsed.sections["findings and impression"] == "Clear."
    assert parsed.text("findings") == parsed.text("impression") == parsed.text("both") == "Clear."


def test_what_stands_before_the_final_report_is_not_the_report():
    parsed = parse(
        " WET READ: ___ ___ 9:32 PM\n  IMPRESSION: Maybe an effusion.\n WET READ VERSION #1\n  Earlier.\n"
        + "_" * 78
        + "\n                                 FINAL REPORT\n FINDINGS:  Clear.\n"
    )
    assert parsed.sections == {
        "wet read": "___ ___ 9:32 PM IMPRESSION: Maybe an effusion. WET READ VERSION #1 Earlier.",
        "findings": "Clear.",
    }
    assert parsed.body == "FINDINGS: Clear."
    parsed = parse(" FINAL ADDENDUM\n ADDENDUM:  Discussed.\n______________\n FINAL REPORT\n IMPRESSION:  Clear.")
    assert parsed.sections == {"addendum": "Discussed.", "impression": "Clear."}


def test_without_the_words_final_report():
    parsed = parse("WET READ: No effusion.\n\nStill none.\n____________\nHeart is large.\n")
    assert parsed.sections == {"wet read": "No effusion.\nStill none.", "last paragraph": "Heart is large."}
    assert parse("IMPRESSION: Clear.\n                 FINAL REPORT\n").sections == {"impression": "Clear."}
    assert parse("FINDINGS: Clear.\n\nADDENDUM: Read again.").text("both") == "Clear."


def test_two_sections_of_one_name_are_joined_and_repetitions_dropped():
    parsed = parse("FINDINGS: One.\nIMPRESSION: Two.\nFINDINGS: Three.\nIMPRESSION: Two.")
    assert parsed.sections == {"findings": "One.\nThree.", "impression": "Two."}


def test_headings_without_a_name_stay_in_their_section():
    parsed = parse("FINDINGS:\nLUNGS: Clear.\nHEART: Large.\nIMPRESSION: Large heart.")
    assert parsed.sections["findings"] == "LUNGS: Clear. HEART: Large."
    assert parsed.unknown == ("lungs", "heart")


def test_headings_without_a_name_end_a_section_of_one_paragraph():
    parsed = parse("COMPARISON: None.\nTUBES AND LINES: None.\n\nLUNGS: Clear.\nIMPRESSION: Clear.")
    assert parsed.sections == {"comparison": "None.", "impression": "Clear."}
    assert parsed.text("report") == "COMPARISON: None.\nTUBES AND LINES: None.\nLUNGS: Clear.\nIMPRESSION: Clear."


def test_the_last_paragraph_stands_in_and_is_named():
    parsed = parse(
        " FINAL REPORT\n PORTABLE AP CHEST, 9:00 A.M., ___\n\n REASON FOR EXAMINATION:  Follow-up.\n\n"
        " Compared to ___.\n\n Edema is\n unchanged.\n\n DR. ___ ___\n"
    )
    assert parsed.how == "last paragraph"
    assert parsed.sections == {
        "examination": "PORTABLE AP CHEST, 9:00 A.M., ___",
        "indication": "Follow-up.",
        "last paragraph": "Edema is unchanged.",
    }
    assert parsed.text("both") == "Edema is unchanged."
    assert parsed.text("both", fallback=False) is None
    assert parsed.text("findings") is None


@pytest.mark.parametrize(
    "report", ["", "\n \n", "FINAL REPORT\n", "AP CHEST, ___\n\nINDICATION: Cough.", "FINDINGS:\n\nIMPRESSION:\n"]
)
def test_reports_that_say_nothing(report):
    parsed = parse(report)
    assert parsed.how == "none"
    assert parsed.text("both") is None


@pytest.mark.parametrize(
    "prose",
    [
        "No acute findings: the lungs are clear.",
        "Heart normal. Impression: none is given here.",
        "Taken at 9:30 and 10:45, the films agree.",
        "the findings: clear.",
        "THE CHEST IS CLEAR. NO EFFUSION.",
    ],
)
def test_prose_is_no_heading(prose):
    assert parse(prose).sections == {"last paragraph": prose}


def test_paragraphs_under_no_heading_are_counted_and_kept_in_the_body():
    parsed = parse("COMPARISON: None.\n\nThe heart is large.\n\nLungs are clear.\n\nIMPRESSION: Large heart.")
    assert (parsed.how, parsed.unheaded) == ("heading", 2)
    assert parsed.text("both") == "Large heart."
    assert parsed.text("report") == "COMPARISON: None.\nThe heart is large.\nLungs are clear.\nIMPRESSION: Large heart."


def test_a_title_opens_a_section_that_has_no_text_yet():
    parsed = parse("IMPRESSION:\n\n AP CHEST COMPARED TO ___:\n\n Edema has cleared.")
    assert parsed.sections == {"impression": "AP CHEST COMPARED TO ___:\nEdema has cleared."}


def test_names_of_headings():
    assert canonical("REASON FOR THIS EXAMINATION") == "indication"
    assert canonical("INDICATION/HISTORY") == "indication"
    assert canonical("TECHNIQUE AND FINDINGS") == "findings"
    assert canonical("IMPRESSION AND RECOMMENDATION(S)") == "impression"
    assert canonical("RECOMMENDATION(S)") == "recommendation"
    assert canonical("PROVISIONAL FINDINGS IMPRESSION (PFI)") == "provisional"
    assert canonical("PRELIMINARY FINDINGS") == "provisional"
    assert canonical("LUNGS") is None
    assert canonical("NO FINDINGS") is None
    assert canonical("No acute findings") is None


@pytest.mark.parametrize(
    ("text", "dropped"),
    [
        ("Compared to ___, the heart is larger.", "Compared to, the heart is larger."),
        ("___-year-old man with ___.", "year-old man with."),
        ("Dr. ___ (___) at ___ on ___, ___.", "Dr. at on."),
        ("Done. ___. Next.", "Done. Next."),
        ("Dr. ___'s note, _____ , as is.", "Dr. note, as is."),
        ("(___ seen) and (___, ___)", "(seen) and"),
        ("___", ""),
        ("One ___\n___ two\n___\nthree", "One\ntwo\nthree"),
        ("a _ b, c.. d ( e", "a _ b, c.. d ( e"),
    ],
)
def test_dropping_the_marks_of_deidentification(text, dropped):
    assert deidentified(text, "drop") == dropped
    assert deidentified(text, "keep") == text


def test_masking_the_marks_of_deidentification():
    assert deidentified("At ___ by Dr. _____.", "mask") == "At [deid] by Dr. [deid]."


def test_real_sections_come_back_out_of_reports_made_of_them():
    path = SHARED / "text" / "iu_xray" / "indiana_reports.csv"
    if not path.is_file():
        pytest.skip(f"the Indiana reports are not at {path}")
    wrong, total = [], 0
    with path.open(encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            texts = {name: " ".join(row[name].split()) for name in ("comparison", "indication", "findings", "impression")}
            if texts["findings"] and texts["impression"]:
                folded = {name: textwrap.fill(text, 78, break_on_hyphens=False) for name, text in texts.items()}
                report = "FINAL REPORT\n" + "\n \n".join(f" {name.upper()}: \n \n {text}" for name, text in folded.items())
                sections = parse(report).sections
                total += 1
                if any(sections.get(name, "").replace("\n", " ") != texts[name] for name in ("findings", "impression")):
                    wrong.append(row["uid"])
    assert total > 2400
    assert wrong == ["2415"]  # its impression holds a whole report of its own
