import pytest

from medim.common.errors import UserError
from tasks.augmentation.settings import parse_settings

TEXT = "title: t\narms: [real+synthetic, real]\ntrain: 2%\n"


def test_fields_are_replaced_and_the_yardstick_is_always_there():
    settings = parse_settings(TEXT, "t.yaml", {"levels": "200,25", "min_agreement": "0.5", "seeds": "7"})
    assert settings.arms == ("real", "real-repeated", "real+synthetic")
    assert (settings.levels, settings.min_agreement, settings.seeds, settings.train) == ((25, 200), 0.5, (7,), 0.02)
    assert parse_settings(TEXT, "t.yaml", {"train": "0.25%"}).train == 0.0025


@pytest.mark.parametrize(
    ("text", "overrides", "message"),
    [
        (TEXT, {"stepps": "3"}, "did you mean 'steps'"),
        (TEXT, {"steps": "many"}, "field 'steps'"),
        (TEXT, {"arms": "real+syntetic"}, r"did you mean 'real\+synthetic'"),
        (TEXT, {"seeds": "1,1"}, "each once"),
        (TEXT + "marginn: 1\n", {}, "did you mean 'margin'"),
        ("title: [", {}, r"t\.yaml"),
    ],
)
def test_mistakes_are_told_in_one_line(text, overrides, message):
    with pytest.raises(UserError, match=message) as error:
        parse_settings(text, "t.yaml", overrides)
    assert "\n" not in str(error.value)
