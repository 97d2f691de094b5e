"""Training end to end on squares: what it writes, that it learns, that it continues exactly, what it refuses."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

from medim.data.selection import MixedDataset, Subset
from medim.errors import UserError
from medim.locks import held
from medim.pipeline import MeDiMPipeline
from medim.training import trainer
from medim.training.train import train_model


def weights(out):
    return load_file(out / "model.safetensors")


def same(a, b) -> bool:
    a, b = weights(a), weights(b)
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_stopped_training_continues_to_bit_identical_weights(squares, recipe_file, tmp_path, optimizer):
    settings = (f"optimizer={optimizer}",)
    whole = train_model(str(recipe_file), squares, tmp_path / "whole", overrides=settings, device="cpu")
    half = tmp_path / "half"
    shutil.copytree(whole, half)
    for leftover in (*half.glob("checkpoint-8"), half / "model.safetensors", half / "training.json"):
        shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
    train_model(str(recipe_file), squares, half, overrides=settings, device="cpu")
    assert same(whole, half)
    steps = [json.loads(line)["step"] for line in (half / "metrics.jsonl").read_text().splitlines()]
    assert steps == sorted(steps)


def test_a_stopped_training_on_a_mixture_continues_to_bit_identical_weights(squares, recipe_file, tmp_path):
    class Others(type(squares)):
        name, fingerprint = "others", "others-1"

    data = MixedDataset([Subset(squares, 0.25), Others()], [3, 1])
    whole = train_model(str(recipe_file), data, tmp_path / "whole", device="cpu")
    half = tmp_path / "half"
    shutil.copytree(whole, half)
    for leftover in (*half.glob("checkpoint-8"), half / "model.safetensors", half / "training.json"):
        shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
    train_model(str(recipe_file), data, half, device="cpu")
    assert same(whole, half)
    assert json.loads((half / "training.json").read_text())["data"] == "squares:train=25%,weight=3+others"
    with pytest.raises(UserError, match="data_fingerprint"):
        train_model(str(recipe_file), MixedDataset(data.parts, [1, 1]), half, device="cpu")


def test_it_writes_a_model_that_generates(squares, recipe_file, tmp_path):
    out = train_model(str(recipe_file), squares, tmp_path / "out", device="cpu")
    names = {path.name for path in out.iterdir()}
    assert {"config.yaml", "metrics.jsonl", "training.json", "model.safetensors"} <= names
    logged = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert any("eval_report_given_image_report_nats_per_token" in line for line in logged)
    pipeline = MeDiMPipeline.from_pretrained(out, device="cpu")
    (image, report), *_ = pipeline.generate_pairs(["the square"], seeds=[1])
    assert image.size == (16, 16)
    assert report.startswith("the square")
    assert len(pipeline.generate_images(["the square is red."] * 3, seeds=[0, 1, 2])) == 3
    assert len(pipeline.generate_reports([image] * 2, seeds=[0, 1])) == 2
    with pytest.raises(UserError, match="leaves no room"):
        pipeline.generate_pairs(["the square is red. " * 9], seeds=[0])


def test_it_learns(squares, recipe_file, tmp_path):
    """A uniform code of 300 ids costs 5.7 nats a token."""
    settings = ("mixture={image-given: 1.0}", "eval_steps=120")
    out = train_model(str(recipe_file), squares, tmp_path / "out", overrides=settings, steps=120, device="cpu")
    assert json.loads((out / "training.json").read_text())["eval_report_given_image_report_nats_per_token"] < 2


def test_a_folder_that_another_process_trains_in_is_refused(squares, recipe_file, tmp_path):
    with held(tmp_path / "out"), pytest.raises(UserError, match="being worked on by another process"):
        train_model(str(recipe_file), squares, tmp_path / "out", device="cpu")
    assert not (tmp_path / "out" / "config.yaml").exists()


def test_another_configuration_into_the_same_folder_is_refused(squares, recipe_file, tmp_path):
    train_model(str(recipe_file), squares, tmp_path / "out", steps=4, device="cpu")
    with pytest.raises(UserError, match=r"learning_rate = 0\.003, not 0\.1"):
        train_model(str(recipe_file), squares, tmp_path / "out", steps=4, overrides=("learning_rate=0.1",), device="cpu")
    train_model(
        str(recipe_file), squares, tmp_path / "out", steps=2, overrides=("learning_rate=0.1",), overwrite=True, device="cpu"
    )


def test_half_a_checkpoint_is_passed_over(tmp_path):
    for step, files in ((4, ["trainer_state.json"]), (12, ["trainer_state.json"]), (16, ["model.safetensors"])):
        (tmp_path / f"checkpoint-{step}").mkdir()
        for name in files:
            (tmp_path / f"checkpoint-{step}" / name).touch()
    assert trainer.last_checkpoint(tmp_path).name == "checkpoint-12"


def test_mistakes_in_a_recipe_name_the_key_and_the_nearest(squares, recipe_file, tmp_path):
    def attempt(*overrides: str) -> str:
        with pytest.raises(UserError) as error:
            train_model(str(recipe_file), squares, tmp_path / "out", overrides=overrides, device="cpu")
        return str(error.value)

    assert "did you mean 'learning_rate'" in attempt("learnin_rate=1")
    assert "max_steps" in attempt("max_steps=-1")
    assert "did you mean 'joint'" in attempt("mixture.jont=1")
    assert "not of the form key=value" in attempt("steps")
    assert "unknown model 'phantom-tony'" in attempt("image_tokenizer=phantom-tony")
    assert "give --tokenizer DIR" in attempt("image_tokenizer=null")
    assert "report_vocabulary" in attempt("report_vocabulary=null")
    with pytest.raises(UserError, match="did you mean 'phantom-tiny'"):
        train_model("phantom-tinny", squares, tmp_path / "out", device="cpu")
