"""Sampler settings by name."""

import pytest

from medim.errors import UserError
from medim.sampling.settings import ModalitySettings, SamplerSettings


def test_settings_are_checked_by_name_and_range():
    changed = SamplerSettings().with_overrides({"image.steps": "3", "report.temperature": 0.5, "cache.refresh": "2"})
    assert (changed.image.steps, changed.report.temperature, changed.cache.refresh) == (3, 0.5, 2)
    with pytest.raises(UserError, match=r"did you mean 'steps'"):
        SamplerSettings().with_overrides({"image.step": 3})
    with pytest.raises(UserError, match="unknown sampler setting"):
        SamplerSettings().with_overrides({"imag.steps": 3})
    with pytest.raises(UserError, match="out of range"):
        SamplerSettings().with_overrides({"image.temperature": 0})
    with pytest.raises(UserError, match="is not a int"):
        SamplerSettings().with_overrides({"image.steps": "many"})
    with pytest.raises(UserError, match="did you mean 'halton'"):
        SamplerSettings().with_overrides({"image.order": "haltan"})
    assert SamplerSettings.from_dict(changed.to_dict()) == changed


def test_a_file_of_an_older_version_is_read():
    old = {"image": {"steps": 7, "order": "random"}, "report": {"steps": 48}}
    assert SamplerSettings.from_dict(old).image == ModalitySettings(steps=7, order="random")


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
        with pytest.raises(UserError, match=r"out of range|is not a (int|float)") as told:
            SamplerSettings().with_overrides({name: value})
        assert len(str(told.value)) < 200
