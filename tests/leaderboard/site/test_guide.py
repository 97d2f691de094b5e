from leaderboard.site.guide import entries_for


def test_only_what_the_page_shows_is_explained():
    assert [e.title for e in entries_for(["BLEU-4", "CIDEr"])] == ["BLEU-1 to BLEU-4", "CIDEr"]
    assert entries_for(["unheard of"]) == []


def test_the_traps_are_told():
    text = {
        e.title: e.text
        for e in entries_for(["KID (EfficientNet-Lite0)", "Fréchet distance (EfficientNet-Lite0)", "joint agreement"])
    }
    assert "not FID" in text["Fréchet distance (EfficientNet-Lite0)"]
    assert "not ranked" in text["KID (EfficientNet-Lite0)"]
    assert "(real \N{MINUS SIGN} shuffled)" in text["Joint agreement"]
