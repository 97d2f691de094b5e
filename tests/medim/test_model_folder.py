"""A checkpoint's folder: whatever its files of settings hold is read rightly or refused in one line; all weights or none."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

from medim.checkpoints import SHIPPED
from medim.common.errors import UserError
from medim.model_folder import read_model
from medim.pipeline import MeDiMPipeline
from medim.sampling.settings import SamplerSettings
from medim.tokenizers.image import ImageTokenizer
from medim.tokenizers.report import ReportTokenizer
from medim.training.recipe import ModelRecipe, load_recipe
from medim.training.train import report_tokenizer, train_model

WRONG = ["48", None, [1], float("nan"), float("inf"), 10**18, -1, 0, 2.5, {"a": 1}, True, [[[[[[[[[[1]]]]]]]]]]]
FILES = {
    "config.json": None,
    "config.json#backbone": "backbone",
    "image_tokenizer/config.json": None,
    "image_tokenizer/image_tokenizer.json": None,
    "sampler.json": None,
    "sampler.json#image": "image",
    "sampler.json#cache": "cache",
}


@pytest.fixture(scope="module")
def trained(squares, recipe_file, tmp_path_factory):
    return train_model(str(recipe_file), squares, tmp_path_factory.mktemp("trained") / "model", steps=2, device="cpu")


@pytest.fixture
def model(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "model")


def opened(folder) -> MeDiMPipeline:
    return MeDiMPipeline.from_pretrained(folder, device="cpu")


def refused(folder) -> str:
    with pytest.raises(UserError) as error:
        opened(folder)
    assert "\n" not in str(error.value)
    return str(error.value)


def keys_of(place: str) -> list[str]:
    values = json.loads((SHIPPED / "phantom-tiny" / place.split("#")[0]).read_text())
    return list(values[FILES[place]] if FILES[place] else values)


def read(folder, place: str) -> None:
    """By the part of the pipeline that reads the file, without the others."""
    if place.startswith("config"):
        read_model(folder, torch.float32)
    elif place.startswith("image"):
        ImageTokenizer.from_pretrained(folder / "image_tokenizer")
    else:
        SamplerSettings.read(folder / "sampler.json")


def reason(folder, place: str) -> str | None:
    """Why it is refused; None where it is read. Any other error is a test that failed."""
    try:
        read(folder, place)
    except UserError as error:
        return str(error)
    return None


@pytest.mark.parametrize("place", FILES)
def test_a_value_of_any_other_type_is_read_rightly_or_refused_in_one_line(model, place):
    path, inner = model / place.split("#")[0], FILES[place]
    values = json.loads(path.read_text())
    part = values[inner] if inner else values
    for key in keys_of(place):
        said = []
        for value in WRONG:
            changed = part | {key: value}
            path.write_text(json.dumps(values | {inner: changed} if inner else changed))
            said.append(reason(model, place))
        lines = [line for line in said if line is not None]
        assert lines, f"{key}: nothing was refused"
        assert all("\n" not in line and len(line) < 700 for line in lines)
        assert all(path.name in line or "model in" in line for line in lines), lines


@pytest.mark.parametrize("name", dict.fromkeys(place.split("#")[0] for place in FILES))
@pytest.mark.parametrize(
    "content", [b"", b'"abc"', b"[]", b"null", b"1", b"{", b"[" * 5000, b"<!doctype html>", b"version https://git-lfs.x"]
)
def test_a_file_of_something_else_is_refused_in_one_line(model, name, content):
    (model / name).write_bytes(content)
    assert Path(name).name in refused(model)


@pytest.mark.parametrize("name", dict.fromkeys(place.split("#")[0] for place in FILES))
def test_a_byte_order_mark_changes_nothing(model, name):
    path = model / name
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    opened(model)


@pytest.mark.parametrize("content", [b"", b"<html>", b"version https://git-lfs.github.com/spec/v1", b"\xef\xbb\xbf{}"])
def test_a_report_tokenizer_that_is_no_file_of_one_is_told(model, content):
    (model / "report_tokenizer" / "tokenizer.json").write_bytes(content)
    assert "tokenizer.json'" in refused(model)


def change(path, how):
    save_file(how(load_file(path)), path, metadata={"format": "pt"})


@pytest.mark.parametrize("file", ["model.safetensors", "image_tokenizer/diffusion_pytorch_model.safetensors"])
def test_no_tensor_of_a_checkpoint_stays_random(model, file):
    path = model / file
    kept = path.read_bytes()
    lost = sorted(load_file(path))[0]
    for how, said in (
        (lambda tensors: {name: tensor for name, tensor in tensors.items() if name != lost}, f"missing ({lost})"),
        (lambda tensors: {f"_orig_mod.{name}": tensor for name, tensor in tensors.items()}, "a compiled model's"),
        (lambda tensors: {f"module.{name}": tensor for name, tensor in tensors.items()}, "a distributed model's"),
        (lambda tensors: {**tensors, "more": torch.ones(2)}, "1 have no place in the model (more)"),
        (lambda tensors: {**tensors, lost: torch.ones(7)}, f"{lost}: (7,) in the file"),
    ):
        change(path, how)
        assert said in refused(model)
        path.write_bytes(kept)


def test_a_tokenizer_of_another_size_or_vocabulary_is_refused(model, trained):
    config = json.loads((model / "config.json").read_text())
    pipeline = opened(model)
    assert config["report_tokenizer"] == pipeline.reports.vocabulary
    assert config["image_tokenizer"] == pipeline.images.vocabulary
    words = [f"word{number} of another language" for number in range(60)]
    for size in (300, 280):
        ReportTokenizer.train(words, size, 16).save_pretrained(model / "report_tokenizer")
        assert "put that one back" in refused(model)
    shutil.copytree(trained / "report_tokenizer", model / "report_tokenizer", dirs_exist_ok=True)
    ImageTokenizer.build(16, 4, 8, channels=(8, 8, 8), latent_channels=4, seed=5).save_pretrained(model / "image_tokenizer")
    assert "image tokenizer in" in refused(model)
    ImageTokenizer.build(16, 4, 9, channels=(8, 8, 8), latent_channels=4).save_pretrained(model / "image_tokenizer")
    assert "has 9 codes and 16 tokens an image, the model 8 and 16" in refused(model)


def test_of_an_older_checkpoint_the_sizes_are_compared(tmp_path):
    model = shutil.copytree(SHIPPED / "phantom-tiny", tmp_path / "old")
    size = opened(model).reports.size
    assert "report_tokenizer" not in json.loads((model / "config.json").read_text())
    ReportTokenizer.train(["heart", "lung"], 400, 16).save_pretrained(model / "report_tokenizer")
    assert f"ids, the model {size}" in refused(model)


def test_half_precision_keeps_the_vocabularies(model, tmp_path):
    opened(model).save_pretrained(tmp_path / "half", torch.float16)
    opened(tmp_path / "half")


@pytest.fixture
def backbone(tmp_path):
    """A causal LM with rows for each id of its tokenizer, no more."""
    tokenizer = ReportTokenizer.train(["the square is red"], 300, 16).tokenizer
    shape = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    LlamaForCausalLM(LlamaConfig(**shape, vocab_size=len(tokenizer))).save_pretrained(tmp_path / "lm")
    tokenizer.save_pretrained(tmp_path / "lm")
    return tmp_path / "lm", tokenizer


def recipe_of(folder, recipe_file) -> ModelRecipe:
    return load_recipe(ModelRecipe, str(recipe_file), "", [f"backbone={folder}", "report_vocabulary=null", "pretrained=true"])


@pytest.mark.parametrize("special", [False, True])
def test_added_tokens_without_rows_are_refused_before_anything_is_tokenised(backbone, recipe_file, squares, special):
    folder, tokenizer = backbone
    rows = len(tokenizer)
    report_tokenizer(recipe_of(folder, recipe_file), squares)
    if special:
        tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    else:
        tokenizer.add_tokens(["pneumothorax"])
    tokenizer.save_pretrained(folder)
    with pytest.raises(UserError, match=f"knows {rows} text ids, and its tokenizer has {rows + 1}: .* is id {rows}\\."):
        report_tokenizer(recipe_of(folder, recipe_file), squares)


def test_a_special_token_that_no_report_holds_needs_no_row(backbone, recipe_file, squares):
    folder, tokenizer = backbone
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    tokenizer.save_pretrained(folder)
    report_tokenizer(recipe_of(folder, recipe_file), squares)


def test_only_a_start_from_weights_is_written_as_pretrained(backbone, recipe_file, squares, trained, tmp_path):
    told = json.loads((trained / "training.json").read_text())["recipe"]
    assert told["pretrained"] is False
    recipe = recipe_of(backbone[0], recipe_file)
    assert recipe.starts_pretrained
    assert not recipe.model_copy(update={"replaced_by": "dit"}).starts_pretrained
    assert not recipe.model_copy(update={"backbone": {"model_type": "llama"}}).starts_pretrained
    adapter = "base_model.model."
    change(backbone[0] / "model.safetensors", lambda tensors: {adapter + name: tensor for name, tensor in tensors.items()})
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe_file.read_text().replace("pretrained: false", "pretrained: true"))
    overrides = (f"backbone={backbone[0]}", "report_vocabulary=null")
    with pytest.raises(UserError, match="an adapter's"):
        train_model(str(path), squares, tmp_path / "out", steps=1, overrides=overrides, device="cpu")
    assert not (tmp_path / "out" / "training.json").exists()


def test_a_shipped_models_tokenizers_are_those_of_its_card(tmp_path):
    folder = shutil.copytree(SHIPPED / "phantom-tiny", tmp_path / "tiny")
    path = folder / "report_tokenizer" / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    words, first, second = tokenizer["model"]["vocab"], *list(tokenizer["model"]["vocab"])[300:302]
    words[first], words[second] = words[second], words[first]
    path.write_text(json.dumps(tokenizer))
    assert "report tokenizer in" in refused(folder)
    shutil.copy(SHIPPED / "phantom-tiny" / "report_tokenizer" / "tokenizer.json", path)
    weights = folder / "image_tokenizer" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(weights)
    tensors["quantize.embedding.weight"] = tensors["quantize.embedding.weight"].flip(0).contiguous()
    save_file(tensors, weights, metadata={"format": "pt"})
    assert "image tokenizer in" in refused(folder)
