"""Sampler settings by name."""

import pytest
from pydantic import ValidationError

from medim.common.errors import UserError
from medim.sampling.settings import ModalitySettings, SamplerSettings


def test_settings_are_checked_by_name_and_range():
    changed = SamplerSettings().with_overrides({"image.steps": "3", "report.temperature": 0.5, "cache.refresh": "2"})
    assert (changed.image.steps, changed.report.temperature, changed.cache.refresh) == (3, 0.5, 2)
    with pytest.raises(UserError, match=r"did you mean 'image\.steps'"):
        SamplerSettings().with_overrides({"image.step": 3})
    with pytest.raises(UserError, match="unknown sampler setting"):
        SamplerSettings().with_overrides({"imag.steps": 3})
    with pytest.raises(UserError, match=r"field 'image\.temperature': .* greater than"):
        SamplerSettings().with_overrides({"image.temperature": 0})
    with pytest.raises(UserError, match=r"field 'image\.steps': .* valid integer"):
        SamplerSettings().with_overrides({"image.steps": "many"})
    with pytest.raises(UserError, match=r"field 'image\.order': Input should be .*'halton'"):
        SamplerSettings().with_overrides({"image.order": "haltan"})
    assert SamplerSettings.from_dict(changed.to_dict()) == changed


def test_a_file_of_an_older_version_is_read():
    old = {"image": {"steps": 7, "order": "random"}, "report": {"steps": 48}}
    assert SamplerSettings.from_dict(old).image == ModalitySettings(steps=7, order="random")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("steps", "7"),
        ("steps", 7.0),
        ("steps", True),
        ("temperature", "1"),
        ("temperature", False),
        ("order", 3),
        ("length", None),
    ],
)
def test_a_file_states_numbers_as_numbers(key, value):
    with pytest.raises(UserError, match=rf"^sampler settings: field 'report\.{key}': Input should be "):
        SamplerSettings.from_dict({"report": {key: value}})
    assert SamplerSettings.from_dict({"report": {"temperature": 1}}).report.temperature == 1.0


def test_settings_that_depend_on_each_other_are_set_at_once():
    names = {"image.remask": "cap", "image.remask_rate": 0.1, "image.order": "ancestral"}
    assert SamplerSettings().with_overrides(names).image.remask == "cap"
    with pytest.raises(UserError, match="goes with order 'ancestral'"):
        SamplerSettings().with_overrides({"image.remask": "cap"})
    with pytest.raises(UserError, match="no plane"):
        SamplerSettings().with_overrides({"report.order": "halton"})
    with pytest.raises(UserError, match=r"only report\.length"):
        SamplerSettings().with_overrides({"image.length": 3})


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("image.steps", (0, 10**18, "1" + "0" * 18, 3.7, True, float("inf"), float("nan"))),
        ("report.temperature", ("1e-40", "inf", "nan", 0, -1, True, 10**400)),
        ("image.top_p", (0, 1.1, "nan", "1e-40")),
        ("image.guidance", ("inf", 1e9, -1, "nan")),
        ("image.confidence_noise", ("inf",)),
        ("image.start", (-0.1, 1.0, "nan")),
        ("report.stop", (0, 1.5)),
        ("report.guidance_stop", ("inf", 0)),
        ("report.length", (10**18, -1)),
        ("cache.refresh", (0, 10**18)),
        ("steering.candidates", (10**18,)),
        ("steering.repairs", (10**18,)),
        ("steering.budget", ("inf", "nan")),
        ("edit.guidance", ("inf",)),
        ("edit.share", (0, 2)),
    ],
)
def test_every_number_has_bounds(name, values):
    for value in values:
        with pytest.raises(UserError, match=r"^sampler settings: field '") as error:
            SamplerSettings().with_overrides({name: value})
        assert len(str(error.value)) < 200


def test_settings_of_the_own_procedure_are_what_they_were():
    """Committed results and stored runs name them so."""
    assert set(SamplerSettings().to_dict()) == {"image", "report", "cache", "steering", "edit"}


def test_the_released_procedure_takes_nothing_of_the_own_one():
    shipped = SamplerSettings().with_overrides({"image.steps": 48, "cache.refresh": 2, "steering.share": 0.5})
    theirs = shipped.with_overrides({"procedure": "released", "released.steps": "64"})
    values = theirs.to_dict()
    assert values.pop("procedure") == "released"
    assert values.pop("released") == {"steps": 64, "guidance": 5.0, "noise": 10.0}
    assert set(values) == {"steering", "edit"}
    assert SamplerSettings.from_dict(theirs.to_dict()) == theirs
    assert theirs.steering.share == 0.5
    assert theirs.with_overrides({"procedure": "own"}) == SamplerSettings().with_overrides({"steering.share": 0.5})
    for name, value in (("image.steps", 8), ("image.steps", 16), ("report.order", "margin"), ("cache.refresh", 2)):
        with pytest.raises(UserError, match=f"setting {name}: not for procedure 'released': leave it out"):
            shipped.with_overrides({name: value, "procedure": "released"})
    with pytest.raises(UserError, match=r"setting released\.steps: not for procedure 'own': leave it out"):
        shipped.with_overrides({"released.steps": 64})
    with pytest.raises(ValidationError, match="image: not for procedure 'released': leave it out"):
        SamplerSettings(image=ModalitySettings(steps=8), procedure="released")
    with pytest.raises(UserError, match="field 'procedure': Input should be 'own' or 'released'"):
        shipped.with_overrides({"procedure": "releasd"})
    with pytest.raises(UserError, match="did you mean 'procedure'"):
        shipped.with_overrides({"procedur": "released"})
    with pytest.raises(UserError, match="field 'procedure': Input should be"):
        SamplerSettings.from_dict({"procedure": {"name": "released"}})
