"""Settings from YAML: the first mistake in one line, with its place and the nearest field."""

import pytest
from pydantic import BaseModel, ConfigDict, field_validator

from medim.common.declared import checked, read_mapping, read_yaml
from medim.common.errors import UserError


class Shape(BaseModel):
    model_config = ConfigDict(extra="forbid")

    width: int
    sides: list[int] = []

    @field_validator("width")
    @classmethod
    def _is_even(cls, width: int) -> int:
        if width % 2:
            raise ValueError("width has to be even")
        return width


def test_what_is_declared_is_read():
    assert checked(Shape, read_mapping("width: 4\nsides: [1, 2]", "a.yaml"), "a.yaml") == Shape(width=4, sides=[1, 2])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("width: [", "a.yaml: broken YAML: "),
        ("- 1", "a.yaml: a mapping of fields to values is needed"),
        ("", "a.yaml: a mapping of fields to values is needed"),
        ("widht: 4\nwidth: 4", "a.yaml: unknown field 'widht'; did you mean 'width'? (known: sides, width)"),
        ("sides: []", "a.yaml: field 'width': Field required"),
        ("width: 4\nsides: [1, x]", "a.yaml: field 'sides.1': Input should be a valid integer"),
        ("width: 3", "a.yaml: field 'width': width has to be even"),
        ("width: 4\nsides: []\nwidth: 6", "a.yaml: broken YAML: 'width' stands twice (line 3, column 1)"),
        ("width: 4\nsides: [{a: 1, b: 2, a: 1}]", "a.yaml: broken YAML: 'a' stands twice (line 2, column 22)"),
        ("[" * 9000, "a.yaml: lists and objects are nested more than 100 deep"),
        ("width: " + "[" * 100 + "]" * 100, "a.yaml: lists and objects are nested more than 100 deep"),
        ("width: " + "[" * 99 + "]" * 99, "a.yaml: field 'width': Input should be a valid integer"),
        ("width: " + "4" * 9000, "a.yaml: broken YAML: Exceeds the limit"),
        ("width: '4'", "a.yaml: field 'width': Input should be a valid integer"),
        ("width: 4.0", "a.yaml: field 'width': Input should be a valid integer"),
        ("width: true", "a.yaml: field 'width': Input should be a valid integer"),
        ("width: 4\nsides: &a [*a, *a]", "a.yaml: lists and objects are nested more than 100 deep"),
        ("? [1]\n: 2", "a.yaml: "),
    ],
)
def test_a_mistake_is_told_in_one_line(text, message):
    with pytest.raises(UserError) as error:
        checked(Shape, read_mapping(text, "a.yaml"), "a.yaml")
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [("010", "010"), ("1:30", "1:30"), ("2026-1-1", "2026-1-1"), ("1e-4", 1e-4), ("1_000", 1000), ("0x10", 16), ("-.5", -0.5)],
)
def test_a_number_is_read_as_it_stands_or_stays_text(text, value):
    read = read_yaml(text, "f")
    assert (read, type(read)) == (value, type(value))


def test_what_json_has_no_form_for_is_no_text():
    with pytest.raises(UserError, match=r"^f: cannot be read: .*bytes"):
        checked(Shape, {"width": b"4"}, "f")
