import pytest

from tasks.metrics.text.report_text import r2gen_tokens, released_tokens


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
