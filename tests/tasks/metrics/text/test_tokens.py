import csv
import json
import sys

import pytest

from tasks.metrics.text import tokens as ptb
from tasks.metrics.text.java import ScorerError
from tasks.metrics.text.tokens import JAR, PYTHON, r2gen_tokens, released_tokens, tokenise, tokenise_jar, tokenise_python

BROKEN_LINES = ["a\u2028b", "c\u0085d", "e\rf", "g"]

# What the jar itself makes of these.
KNOWN = {
    "No effusion.": "no effusion",
    "The patient's heart can't be seen; don't.": "the patient 's heart ca n't be seen do n't",
    "C7-T1, 5.5 cm x 3": "c7-t1 5.5 cm x 3",
    "a (b) [c] {d} \"e\" 'f'": "a -lrb- b -rrb- -lsb- c -rsb- -lcb- d -rcb- e f",
    "Dr. Smith vs. the U.S. on 12/3/2010 at 10:30": "dr. smith vs. the u.s. on 12/3/2010 at 10:30",
    "It is approx. 3-4 cm.": "it is approx 3-4 cm",
    "XXXX and/or 50% H&E": "xxxx and/or 50 % h&e",
    "μm \u2013 ½ “q” …": "μm 1/2 q",
    "I cannot": "i can not",
}


@pytest.mark.parametrize(("text", "tokens"), KNOWN.items())
def test_python_rules(text, tokens):
    assert tokenise_python(text) == tokens


def test_jar_agrees_with_the_list(java):
    assert tokenise_jar(list(KNOWN)) == list(KNOWN.values())


def test_unicode_line_breaks_do_not_shift_the_corpus(java):
    assert tokenise_jar(BROKEN_LINES) == ["a b", "c d", "e f", "g"]
    assert tokenise_jar(["", "x\n\ny", "", "z", ""]) == ["", "x y", "", "z", ""]


def test_unicode_line_breaks_without_java():
    assert [tokenise_python(text) for text in BROKEN_LINES] == ["a b", "c d", "e f", "g"]


def test_signature_names_the_tokenizer(java):
    assert tokenise(["A heart."]) == ptb.Tokenised(["a heart"], JAR)


def test_falls_back_without_java(no_java):
    assert tokenise(["A heart."]) == ptb.Tokenised(["a heart"], PYTHON)


def test_a_failing_jar_is_an_error_with_its_own_words(java, monkeypatch, tmp_path):
    broken = tmp_path / "broken.jar"
    broken.write_text("no jar")
    monkeypatch.setattr(ptb, "jar", lambda relative: broken)
    with pytest.raises(ScorerError, match=r"PTB tokenizer failed: .*[Ee]rror"):
        tokenise_jar(["a"])


def test_parity_with_the_jar_on_real_reports(java, shared_data):
    """Thousands of reports: at most one in a thousand differs, and then by a token or two."""
    csv.field_size_limit(sys.maxsize)
    with (shared_data / "text" / "iu_xray" / "indiana_reports.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    reports = [row[section] for row in rows for section in ("findings", "impression") if row[section]]
    for name in ("cxr", "pathology"):
        with (shared_data / name / "pairs.jsonl").open(encoding="utf-8") as stream:
            reports += [json.loads(line)["report"] for line in stream]
    reports = sorted(set(reports))
    assert len(reports) > 3000
    expected = tokenise_jar(reports)
    differ = sum(tokenise_python(report) != tokens for report, tokens in zip(reports, expected, strict=True))
    assert differ / len(reports) <= 1e-3


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("The heart is normal. No effusion.", "the heart is normal . no effusion ."),
        ("1. Clear lungs. 2. Normal heart. 3. No effusion", "clear lungs . normal heart . no effusion ."),
        ('Size 5.5 cm (stable), and/or "old"; 50% at C7-T1', "size 55 cm stable andor old 50 at c7-t1 ."),
        ("Line one\nline two.. End...", "line one line two . end ."),
        ("____ year old", "year old ."),
        ("", ""),
    ],
)
def test_r2gen(text, tokens):
    assert r2gen_tokens([text]).texts == [tokens]


def test_r2gen_cuts_only_when_asked():
    text = " ".join(f"word{n}" for n in range(80))
    assert len(r2gen_tokens([text]).texts[0].split()) == 81
    cut = r2gen_tokens([text], maximum=60)
    assert len(cut.texts[0].split()) == 60
    assert "cut at 60 tokens" in cut.tokenisation


def test_r2gen_on_its_own_cleaned_reports(shared_data):
    """Real reports, cleaned: another cleaning changes nothing, and every sentence ends in a token of its own."""
    import json

    reports = [e["report"] for e in json.loads((shared_data / "text/iu_xray/annotation_r2gen_mrg_rl.json").read_text())["test"]]
    once = r2gen_tokens(reports).texts
    assert r2gen_tokens(once).texts == once
    assert all(text.endswith(" .") and text == text.lower() for text in once)


def test_the_released_script_splits_off_full_stops_only():
    text = "No effusion, 5.5 cm.\r\nClear"
    (tokens,) = released_tokens([text]).texts
    assert tokens.split() == ["no", "effusion,", "5", ".5", "cm", "." + chr(0xE000 + 10) + "clear"]
