import pytest

from medim.data.checks.texts import damage, named, text_key, unusual, words


@pytest.mark.parametrize(
    ("report", "kinds"),
    [
        ("Heart size normal. No effusion? Unchanged.", []),
        ("38 °C, 5 µm, naïve, “quoted”, Müller, 肺炎", []),
        ("38 Â°C", ["mojibake"]),
        ("donâ€™t", ["mojibake"]),
        ("MÃ¼ller", ["mojibake"]),
        ("38 \ufffdC", ["replacement characters"]),
        ("38.3?C and 0.12?g/l", ["question marks inside words"]),
        ("size &lt; 3 cm &#176;", ["HTML entities"]),
        ("Smith & Wesson; AT&T;", []),
        ("line\nbreak\tand\r\n", []),
        ("bell\x07", ["control characters"]),
    ],
)
def test_damage_is_told_by_kind(report, kinds):
    assert damage(report) == kinds


def test_text_key_ignores_case_and_spacing_only():
    assert text_key("No  acute\nfinding.") == text_key("no acute finding. ")
    assert text_key("no acute finding") != text_key("no acute finding.")
    assert text_key(None) == text_key("") == text_key(" \n") == 0
    assert text_key("a") != 0


def test_words_and_characters():
    assert words("The patient's X-ray: 3 cm, post-op.") == ["the", "patient's", "x-ray", "3", "cm", "post-op"]
    assert unusual("5 µm µ\n") == {"µ": 2}
    assert named("µ") == "U+00B5 MICRO SIGN"
