"""Arms as data: all that ship are recipes that validate, mistakes name the nearest, bases come first."""

import pytest

from benchmark.ablation.arms import SETS, Arm, backbone_arm, chosen_arms, load_arm, shipped, tokenizer_arm
from benchmark.ablation.comparison import table4
from medim.common.errors import UserError
from medim.training.recipe import ModelRecipe, load_recipe


@pytest.mark.parametrize("name", sorted(shipped()))
def test_every_shipped_arm_is_a_recipe_and_names_a_row_that_exists(name):
    arm = load_arm(name)
    settings = ["torch_compile=false", *arm.settings(100)]
    assert load_recipe(ModelRecipe, "phantom-tiny", "", settings)
    assert arm.paper is None or arm.paper in table4()
    assert arm.base in (None, *shipped())


def test_sets_hold_arms_that_exist_and_table4_holds_every_row_of_the_paper():
    assert {name for names in SETS.values() for name in names} == set(shipped())
    assert {load_arm(name).paper for name in SETS["table4"]} == set(table4())


@pytest.mark.parametrize("name", ["no-pretrained", "dit-backbone", "unidisc-backbone", "smollm2-random"])
def test_random_weights_are_trained_whole(name):
    settings = ["lora_rank=8", *load_arm(name).settings(100)]
    assert load_recipe(ModelRecipe, "mini-liquid-diffusion", "", settings).lora_rank is None


def test_a_share_of_the_steps():
    assert "mask_annealing=40" in load_arm("annealing").settings(200)


def test_an_unknown_arm_names_the_nearest():
    with pytest.raises(UserError, match="did you mean 'no-adaln'"):
        load_arm("no-adaln2")


def test_the_base_comes_first_though_it_was_not_named():
    assert [arm.name for arm in chosen_arms(["causal-report-image"])] == ["full", "causal-mask", "causal-report-image"]


def test_an_arm_of_the_user(tmp_path):
    path = tmp_path / "wide.yaml"
    path.write_text("title: wider\noverrides: {report_weight: 3.0}\n")
    arm = load_arm(str(path))
    assert (arm.name, arm.base, arm.settings(10)) == ("wide", "full", ["report_weight=3.0"])
    path.write_text("title: wider\noverides: {}\n")
    with pytest.raises(UserError, match="did you mean 'overrides'"):
        load_arm(str(path))
    path.write_text("title: wider\nname: other\n")
    with pytest.raises(UserError, match="named by its file"):
        load_arm(str(path))
    path.write_text("title: wider\nbase: wide\n")
    with pytest.raises(UserError, match="compared with itself"):
        chosen_arms([str(path)])
    with pytest.raises(UserError, match="cannot be read"):
        load_arm(str(tmp_path / "none.yaml"))


def test_a_tokenizer_is_an_arm():
    arm = tokenizer_arm("codes-16=some/folder")
    assert arm == Arm(name="codes-16", title="image tokenizer codes-16", overrides={"image_tokenizer": "some/folder"})
    fair = tokenizer_arm("codes-16=some/folder", codes_known=True)
    random = {"pretrained": False, "lora_rank": None}
    assert (fair.base, fair.overrides) == ("no-pretrained", {"image_tokenizer": "some/folder", **random})
    for wrong in ("codes-16", "codes-16=", "../up=folder"):
        with pytest.raises(UserError):
            tokenizer_arm(wrong)


def test_a_backbone_is_an_arm_and_brings_its_own_words():
    arm = backbone_arm("other=some/model")
    recipe = load_recipe(ModelRecipe, "mini-liquid-diffusion", "", arm.settings(100))
    assert (recipe.backbone, recipe.pretrained, recipe.backbone_image_offset) == ("some/model", True, None)
    assert (recipe.report_vocabulary, recipe.backbone_shape) == (None, None)
    with pytest.raises(UserError, match="smollm2="):
        backbone_arm("other")


def test_two_arms_of_one_name_are_refused():
    with pytest.raises(UserError, match="two arms are named 'full'"):
        chosen_arms(["full"], [tokenizer_arm("full=folder")])
