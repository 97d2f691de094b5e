import json

import pytest

from benchmark.augmentation.augment import load_preset
from benchmark.augmentation.regime import check_regime
from medim.common.errors import UserError
from medim.data.sources.selection import Subset
from tasks.augmentation.splits import divide

from .conftest import Scenes


@pytest.fixture
def division():
    return divide(Scenes(), train=0.2, further=0, validation=20, test=20)


@pytest.fixture
def trained(tmp_path):
    """A folder that looks like a trained model: only what it says of its data is read."""

    def make(model: str, tokenizer: str):
        (tmp_path / "image_tokenizer").mkdir()
        (tmp_path / "config.json").write_text("{}")
        (tmp_path / "model.safetensors").write_bytes(b"")
        (tmp_path / "training.json").write_text(
            json.dumps({"data": "d", "data_fingerprint": model, "recipe": {"pretrained": False}})
        )
        stated = {"training": {"data": {"name": "d", "fingerprint": tokenizer}}}
        (tmp_path / "image_tokenizer" / "image_tokenizer.json").write_text(json.dumps(stated))
        return str(tmp_path)

    return make


def test_a_generator_of_the_low_data_set_is_budget_matched(division, trained):
    own = division.subset.fingerprint
    told = check_regime("budget-matched", trained(own, own), division, load_preset("quick", {}))
    assert told == {"regime": "budget-matched", "trained_on": "d", "pretrained": False}


@pytest.mark.parametrize("part", ["model", "image tokenizer"])
def test_a_generator_that_saw_more_is_refused_with_the_command_that_mends_it(division, trained, part):
    own, more = division.subset.fingerprint, Subset(Scenes(), 0.5).fingerprint
    folder = trained(more if part == "model" else own, more if part == "image tokenizer" else own)
    with pytest.raises(UserError, match=f"its {part} was trained on .*train model .*--data 'scenes:train=20%'"):
        check_regime("budget-matched", folder, division, load_preset("quick", {}))
    assert check_regime("external-prior", folder, division, load_preset("quick", {}))["regime"] == "external-prior"


def test_the_shipped_model_saw_more_than_a_low_data_set(division):
    with pytest.raises(UserError, match="trained on 'phantom'"):
        check_regime("budget-matched", "phantom-tiny", division, load_preset("quick", {}))


def test_a_checker_trained_on_other_cases_may_not_filter_a_matched_budget(division, trained):
    own = division.subset.fingerprint
    with pytest.raises(UserError, match="no min_agreement"):
        check_regime("budget-matched", trained(own, own), division, load_preset("quick", {"min_agreement": "0.5"}))
