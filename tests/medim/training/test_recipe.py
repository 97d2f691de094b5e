"""Recipes: what is no number, of another type or out of all bounds is refused in one line that names key and value."""

import pytest

from medim.common.errors import UserError
from medim.training.recipe import ModelRecipe, load_recipe
from medim.training.tokenizer.recipe import load_tokenizer_recipe

BOTH = {
    "learning_rate": ("inf", "nan", "1e30", "0", "-1", "fast", "true", "1e-40", "[1]"),
    "weight_decay": ("inf", "1e9", "-1"),
    "max_grad_norm": ("nan", "-1", "inf"),
    "warmup_steps": (str(10**18), "-1", "2.5"),
    "save_steps": ("0", "9" * 47),
    "logging_steps": (str(10**18),),
    "seed": ("-1", str(2**32)),
}
MODEL = {
    "muon_learning_rate": ("inf",),
    "adam_beta1": ("1", "-0.1", "nan"),
    "adam_beta2": ("1.0", "1.5", "nan", "inf"),
    "max_steps": (str(10**18), "true", "3.5"),
    "eval_steps": ("9" * 47,),
    "per_device_train_batch_size": (str(10**12),),
    "report_length": (str(10**9), "1"),
    "report_vocabulary": (str(10**12),),
    "layers": ("0", str(10**12)),
    "largest_weight": ("inf", "1"),
    "min_snr": ("nan", "1e-40"),
    "image_weight": ("inf", "-1"),
    "ema_decay": ("1", "nan"),
    "lora_alpha": ("inf",),
    "restart_steps": (str(10**20),),
    "mixture": (
        "{joint: 0}",
        "{joint: -1}",
        "{joint: .inf}",
        "{joint: .nan}",
        "{joint: {a: 1}}",
        "3.5",
        "{joint: 1e308, independent: 1e308}",
    ),
    "backbone": ("3", "[llama]", "null"),
    "attn_implementation": ("3",),
    "bf16": ("2", "maybe"),
}
TOKENIZER = {
    "codes": ("1", str(10**12), "many"),
    "resolution": (str(10**9), "0"),
    "channels": ("[]", "[0]", "16"),
    "commitment": ("inf", "-1"),
    "codebook_decay": ("1", "nan"),
    "restart_until": ("1.5",),
    "cache_images": (str(10**30),),
}


def rows(table: dict[str, tuple[str, ...]]) -> list[tuple[str, str]]:
    return [(key, value) for key, values in table.items() for value in values]


def model(*overrides: str) -> ModelRecipe:
    return load_recipe(ModelRecipe, "phantom-tiny", "", overrides)


@pytest.mark.parametrize(("key", "value"), rows(BOTH | MODEL))
def test_a_value_out_of_bounds_is_named_with_its_key(key, value):
    with pytest.raises(UserError, match=rf"^recipe phantom-tiny\.yaml: .*{key}") as told:
        model(f"{key}={value}")
    assert "given: " in str(told.value)
    assert len(str(told.value)) < 300


@pytest.mark.parametrize(("key", "value"), rows(BOTH | TOKENIZER))
def test_so_it_is_for_a_tokenizer(key, value):
    with pytest.raises(UserError, match=rf"^recipe phantom-tiny-tokenizer\.yaml: .*{key}"):
        load_tokenizer_recipe("phantom-tiny", [f"{key}={value}"])


def test_weights_that_leave_nothing_to_learn_are_refused():
    for overrides in (
        ("image_weight=0", "report_weight=0"),
        ("report_weight=0", "mixture={image-given: 1}"),
        ("image_weight=0", "mixture={report-given: 1, joint: 0}"),
    ):
        with pytest.raises(UserError, match="leave nothing to learn"):
            model(*overrides)
    assert model("report_weight=0", "mixture={report-given: 1}").image_weight == 1
    with pytest.raises(UserError, match="are all 0: nothing is learned"):
        load_tokenizer_recipe("phantom-tiny", [f"{key}_weight=0" for key in ("l1", "l2", "gradient", "perceptual")])


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("mixture.joint: 3.5", "key 'mixture.joint' is for --set; in a file write mixture: {joint: ...}"),
        ("min_snr: " + "[" * 100 + "]" * 100, "lists and objects are nested more than 100 deep"),
        ("eval_steps: " + "9" * 5000, "broken YAML: Exceeds the limit"),
        ("extends: [phantom-tiny]", "unknown preset that .* extends"),
        ("backbone: &b {model_type: llama, x: *b}", "nested more than 100 deep"),
        ("layers: '4'", "field 'layers': Input should be a valid integer"),
        ("max_steps: 4.0", "field 'max_steps': Input should be a valid integer"),
        ("bf16: 'no'", "field 'bf16': Input should be a valid boolean"),
        ("learning_rate: '1e-4'", "field 'learning_rate': Input should be a valid number"),
        ("max_steps: 4\nmax_steps: 5", "broken YAML: 'max_steps' stands twice .line 3"),
        ("layers: 2020-01-01", "'layers': .*given: .2020-01-01"),
    ],
)
def test_a_file_that_is_odd_is_refused_in_one_line(tmp_path, line, says):
    path = tmp_path / "own.yaml"
    path.write_text(("" if line.startswith("extends") else "extends: phantom-tiny\n") + line + "\n", encoding="utf-8")
    with pytest.raises(UserError, match=says) as told:
        load_recipe(ModelRecipe, str(path), "")
    assert len(str(told.value).splitlines()) == 1


def test_small_numbers_are_numbers_as_people_write_them(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text("extends: phantom-tiny\nlearning_rate: 1e-4\nmuon_learning_rate: 2E-3\n", encoding="utf-8")
    recipe = load_recipe(ModelRecipe, path, "")
    assert (recipe.learning_rate, recipe.muon_learning_rate) == (1e-4, 2e-3)
    assert load_recipe(ModelRecipe, path, "", ["learning_rate=3e-5"]).learning_rate == 3e-5
