import pytest
import yaml

from medim.common.errors import UserError
from medim.training.recipe import presets
from medim.training.tokenizer.recipe import SUFFIX, load_tokenizer_recipe

SHIPPED = sorted(presets(SUFFIX))


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_recipe_is_valid(name):
    recipe = load_tokenizer_recipe(name)
    assert recipe.resolution % recipe.downsampling == 0
    assert recipe.quantize_start < recipe.restart_until * recipe.steps


def test_the_preset_has_the_geometry_that_the_model_counts_on():
    recipe = load_tokenizer_recipe("phantom-tiny")
    assert (recipe.resolution, recipe.downsampling, recipe.codes) == (64, 8, 256)
    assert recipe.perceptual_weight == 0  # its network is the one that scores


def test_overrides_are_read_as_yaml():
    recipe = load_tokenizer_recipe("phantom-tiny", ["steps=7", "learning_rate=5e-4", "bf16=false", "channels=[8, 8, 8, 16]"])
    assert (recipe.steps, recipe.learning_rate, recipe.bf16, recipe.channels) == (7, 5e-4, False, (8, 8, 8, 16))


def test_a_short_run_still_gets_a_codebook():
    assert load_tokenizer_recipe("phantom-tiny").first_quantised_step == 200
    assert load_tokenizer_recipe("phantom-tiny", ["steps=20"]).first_quantised_step == 5
    assert load_tokenizer_recipe("phantom-tiny", ["steps=1"]).first_quantised_step == 0


def test_a_file_is_read_like_a_name(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(load_tokenizer_recipe("phantom-tiny").model_dump(mode="json")))
    assert load_tokenizer_recipe(path) == load_tokenizer_recipe("phantom-tiny")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["learning_rat=1"], "unknown recipe key 'learning_rat'; did you mean 'learning_rate'?"),
        (["steps=many"], "'steps': .*'many'"),
        (["steps=0"], "'steps': .*greater than or equal to 1"),
        (["steps"], "not of the form key=value"),
        (["steps=[1"], "--set steps: broken YAML"),
        (["downsampling=4"], "downsampling 4 does not fit 4 channels"),
        (["resolution=60"], "resolution 60 is not a multiple of downsampling 8"),
    ],
)
def test_mistakes_are_named(overrides, message):
    with pytest.raises(UserError, match=message) as caught:
        load_tokenizer_recipe("phantom-tiny", overrides)
    assert "\n" not in str(caught.value)


def test_unknown_recipes_and_broken_files(tmp_path):
    with pytest.raises(UserError, match="did you mean 'phantom-tiny'"):
        load_tokenizer_recipe("phantom-tinny")
    with pytest.raises(UserError, match=r"'gone\.yaml' does not exist"):
        load_tokenizer_recipe("gone.yaml")
    path = tmp_path / "broken.yaml"
    path.write_text("steps: [1")
    with pytest.raises(UserError, match=r"broken\.yaml': broken YAML"):
        load_tokenizer_recipe(path)
    path.write_text("- steps")
    with pytest.raises(UserError, match="a mapping of fields to values is needed"):
        load_tokenizer_recipe(path)
