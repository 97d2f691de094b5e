import pytest

from medim.common.errors import UserError
from tasks.adapters.adapter import read_settings

DEFAULTS = {"steps": 4, "guidance": 7.5, "sample": False, "prompt": "", "seed": None}


def test_values_take_the_types_of_the_defaults():
    given = {"steps": "8", "guidance": "2", "sample": "Yes", "prompt": "a=b", "seed": "x"}
    settings = read_settings(given, DEFAULTS, "it")
    assert settings == {"steps": 8, "guidance": 2.0, "sample": True, "prompt": "a=b", "seed": "x"}
    assert [type(value) for value in settings.values()] == [int, float, bool, str, str]
    assert read_settings({}, DEFAULTS, "it") == DEFAULTS


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"step": "1"}, "unknown setting of it 'step'; did you mean 'steps'"),
        ({"steps": "1.5"}, "--set steps=1.5: it takes a whole number here"),
        ({"guidance": "high"}, "takes a number here"),
        ({"guidance": "-1"}, "no negative number"),
        ({"sample": "1"}, "true or false"),
    ],
)
def test_mistakes_are_named(given, message):
    with pytest.raises(UserError, match=message):
        read_settings(given, DEFAULTS, "it")
