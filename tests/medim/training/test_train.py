"""Training end to end on squares: what it writes, that it learns, that it continues exactly, what it refuses."""

import json
import os
import shutil
import signal
from datetime import timedelta

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from transformers import TrainerControl, TrainerState

from medim.common.errors import UserError
from medim.common.locks import held
from medim.data.sources.selection import MixedDataset, Subset
from medim.pipeline import MeDiMPipeline
from medim.tokenizers.image import ImageTokenizer
from medim.training import train, trainer
from medim.training.callbacks import MetricsFile, MovingAverage
from medim.training.folder import claim, refuse_another
from medim.training.recipe import ModelRecipe, load_recipe
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
    with pytest.raises(UserError, match=r"learning_rate = 0\.003, and now learning_rate = 0\.1"):
        train_model(str(recipe_file), squares, tmp_path / "out", steps=4, overrides=("learning_rate=0.1",), device="cpu")
    train_model(
        str(recipe_file), squares, tmp_path / "out", steps=2, overrides=("learning_rate=0.1",), overwrite=True, device="cpu"
    )


def test_a_training_goes_on_when_its_preset_has_learned_the_backbones_shape(tmp_path):
    recipe = {"backbone": "owner/name", "learning_rate": 1e-4}
    claim(tmp_path, {"recipe": recipe, "data": "squares"}, False)
    refuse_another(tmp_path, {"recipe": {**recipe, "backbone_shape": {"hidden_size": 576}}, "data": "squares"})


def test_processes_wait_for_the_tokens_longer_than_the_ten_minutes_of_nccl(squares, recipe_file, tmp_path, monkeypatch):
    def state(**options):
        raise TimeoutError(options["timeout"])

    monkeypatch.setattr("medim.training.train.PartialState", state)
    with pytest.raises(TimeoutError) as told:
        train_model(str(recipe_file), squares, tmp_path / "out", device="cpu")
    assert told.value.args[0] >= timedelta(days=1)


def test_an_image_tokenizer_that_was_trained_anew_is_refused(squares, recipe_file, tmp_path):
    def attempt(seed: int) -> None:
        tokenizer = ImageTokenizer.build(16, 4, 8, channels=(8, 8, 8), latent_channels=4, seed=seed)
        tokenizer.save_pretrained(tmp_path / "tokenizer")
        settings = {"tokenizer": str(tmp_path / "tokenizer"), "steps": 2, "device": "cpu"}
        train_model(str(recipe_file), squares, tmp_path / "out", **settings)

    attempt(0)
    with pytest.raises(UserError, match=r'image_tokenizer_fingerprint = "\w+", and now .*: choose another folder, or --over'):
        attempt(1)
    config = tmp_path / "out" / "config.yaml"
    older = yaml.safe_load(config.read_text())
    del older["image_tokenizer_fingerprint"]
    config.write_text(yaml.safe_dump(older))
    attempt(0)


def test_a_kill_in_the_final_save_leaves_no_training_that_passes_for_done(squares, recipe_file, tmp_path, monkeypatch):
    def killed(*arguments) -> None:
        raise SystemExit

    with monkeypatch.context() as patched:
        patched.setattr(train, "save", killed)
        with pytest.raises(SystemExit):
            train_model(str(recipe_file), squares, tmp_path / "out", steps=2, device="cpu")
    assert not (tmp_path / "out" / "training.json").exists()
    train_model(str(recipe_file), squares, tmp_path / "out", steps=2, device="cpu")
    assert (tmp_path / "out" / "training.json").exists()


def test_ctrl_c_in_the_final_evaluation_stops_and_continues_to_the_same_weights(squares, recipe_file, tmp_path, monkeypatch):
    evaluate, settings = trainer.DiffusionTrainer.evaluate, {"overrides": ("eval_steps=1000",), "device": "cpu"}

    def interrupted(self, **options) -> dict[str, float]:
        if not options:  # those while training have some
            os.kill(os.getpid(), signal.SIGINT)
        return evaluate(self)

    with monkeypatch.context() as patched:
        patched.setattr(trainer.DiffusionTrainer, "evaluate", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train_model(str(recipe_file), squares, tmp_path / "half", **settings)
    assert not (tmp_path / "half" / "training.json").exists()
    for name in ("half", "whole"):
        train_model(str(recipe_file), squares, tmp_path / name, **settings)
    assert same(tmp_path / "half", tmp_path / "whole")


def test_a_kill_while_the_log_is_shortened_leaves_it_whole(tmp_path, monkeypatch):
    log = tmp_path / "metrics.jsonl"
    log.write_text('{"step": 1}\n{"step": 2}\n')

    def killed(*arguments) -> None:
        raise SystemExit

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(SystemExit):
        MetricsFile(log).on_train_begin(None, TrainerState(global_step=1), TrainerControl())
    assert log.read_text() == '{"step": 1}\n{"step": 2}\n'


@pytest.mark.parametrize(("device", "index"), [(None, 0), ("cuda", 0), ("cuda:2", 2)])
def test_one_process_trains_on_one_gpu_the_one_that_was_chosen(tmp_path, monkeypatch, device, index):
    """CUDA as transformers sees it, with three GPUs: by itself it would take all of them."""
    current = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    recipe = load_recipe(ModelRecipe, "phantom-tiny", "", ["bf16=false"])
    arguments = trainer.training_arguments(recipe, tmp_path, device)
    assert arguments.device == current[-1] == torch.device("cuda", index)
    assert arguments.n_gpu == 1
    assert arguments.train_batch_size == recipe.per_device_train_batch_size


def test_a_device_that_is_not_there_is_told_before_anything_is_written(squares, recipe_file, tmp_path):
    with pytest.raises(UserError, match="device cuda:99: PyTorch finds"):
        train_model(str(recipe_file), squares, tmp_path / "out", device="cuda:99")
    assert not (tmp_path / "out").exists()


def test_without_a_compiler_a_recipe_that_compiles_trains_uncompiled_and_says_so(squares, recipe_file, tmp_path, monkeypatch):
    monkeypatch.setenv("CXX", str(tmp_path / "none"))
    settings = {"steps": 2, "overrides": ("torch_compile=true",), "device": "cpu"}
    with pytest.warns(UserWarning, match="no compiler is found"):
        out = train_model(str(recipe_file), squares, tmp_path / "out", **settings)
    assert yaml.safe_load((out / "config.yaml").read_text())["recipe"]["torch_compile"]


def test_half_a_checkpoint_is_passed_over(tmp_path):
    """Not even begun, or with a last file that a kill left empty or cut off."""
    for step, state in ((4, "{}"), (12, '{"global_step": 12}'), (16, None), (20, ""), (24, '{"global_step": 2')):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        (folder / "model.safetensors").touch()
        if state is not None:
            (folder / "trainer_state.json").write_text(state)
    assert trainer.last_checkpoint(tmp_path).name == "checkpoint-12"
    assert trainer.last_checkpoint(tmp_path, averaged=True) is None


def test_mistakes_in_a_recipe_name_the_key_and_the_nearest(squares, recipe_file, tmp_path):
    def attempt(*overrides: str) -> str:
        with pytest.raises(UserError) as error:
            train_model(str(recipe_file), squares, tmp_path / "out", overrides=overrides, device="cpu")
        return str(error.value)

    assert "did you mean 'learning_rate'" in attempt("learnin_rate=1")
    assert "max_steps" in attempt("max_steps=-1")
    assert "seed" in attempt("seed=-1")
    assert "did you mean 'cosine'" in attempt("lr_scheduler_type=consine")
    assert "unknown lr_scheduler_type" in attempt("lr_scheduler_type=cosine_with_min_lr")
    assert "did you mean 'joint'" in attempt("mixture.jont=1")
    assert "not of the form key=value" in attempt("steps")
    assert "unknown model 'phantom-tony'" in attempt("image_tokenizer=phantom-tony")
    assert "give --tokenizer DIR" in attempt("image_tokenizer=null")
    assert "report_vocabulary" in attempt("report_vocabulary=null")
    with pytest.raises(UserError, match="did you mean 'phantom-tiny'"):
        train_model("phantom-tinny", squares, tmp_path / "out", device="cpu")


def test_a_backbone_that_a_preset_makes_is_told_with_its_command(squares, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="'runs/mini-liquid' does not exist; this trains it: medim-bench train model"):
        train_model("mini-liquid-diffusion", squares, tmp_path / "out", device="cpu")


def test_a_loss_that_is_no_number_stops_the_training_and_names_the_last_finite_checkpoint(
    squares, recipe_file, tmp_path, monkeypatch
):
    honest = trainer.DiffusionTrainer.compute_loss

    def loss(self, model, inputs, **options):
        value = honest(self, model, inputs, **options)
        return value * torch.nan if self.state.global_step == 5 else value

    monkeypatch.setattr(trainer.DiffusionTrainer, "compute_loss", loss)
    with pytest.raises(UserError, match=r"the loss is nan at step 6; the last finite checkpoint is '.*checkpoint-4'"):
        train_model(str(recipe_file), squares, tmp_path / "out", device="cpu")
    assert not (tmp_path / "out" / "model.safetensors").exists()
    assert not (tmp_path / "out" / "training.json").exists()
    assert '"loss": 0.0' not in (tmp_path / "out" / "metrics.jsonl").read_text()


@pytest.mark.parametrize("settings", [(), ("ema_decay=0.5",)])
def test_a_weight_that_is_no_number_is_never_saved(squares, recipe_file, tmp_path, monkeypatch, settings):
    """As the last step leaves it, with a loss that was finite before it."""
    honest = torch.optim.AdamW.step

    def step(self, *arguments):
        done = honest(self, *arguments)
        if all(float(state["step"]) == 8 for state in self.state.values()):
            with torch.no_grad():
                self.param_groups[0]["params"][0].view(-1)[0] = torch.inf
        return done

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    with pytest.raises(
        UserError, match=r"weight \S+ is NaN or infinite at step 8; the last finite checkpoint is '.*checkpoint-4'"
    ):
        train_model(str(recipe_file), squares, tmp_path / "out", overrides=(*settings, "eval_steps=100"), device="cpu")
    assert {path.name for path in (tmp_path / "out").glob("checkpoint-*")} == {"checkpoint-4"}
    assert not (tmp_path / "out" / "model.safetensors").exists()


def test_a_checkpoint_that_lacks_a_tensor_or_is_damaged_is_not_continued_from(tmp_path):
    model, checkpoint = torch.nn.Linear(2, 3), tmp_path / "checkpoint-4"
    checkpoint.mkdir()
    save_file(model.state_dict(), checkpoint / "model.safetensors")
    torch.save({"step": 4}, checkpoint / "optimizer.pt")
    trainer.check_checkpoint(checkpoint, model)
    save_file({"weight": model.weight.detach()}, checkpoint / "model.safetensors")
    with pytest.raises(UserError, match=r"checkpoint-4': 1 of 2 tensors are missing \(bias\).*; remove that folder"):
        trainer.check_checkpoint(checkpoint, model)
    save_file(model.state_dict(), checkpoint / "model.safetensors")
    (checkpoint / "optimizer.pt").write_bytes(b"")
    with pytest.raises(UserError, match=r"optimizer\.pt' is empty"):
        trainer.check_checkpoint(checkpoint, model)
    average = MovingAverage(0.9)
    save_file({"weight": model.weight.detach()}, checkpoint / "ema.safetensors")
    with pytest.raises(UserError, match=r"average '.*1 of 2 tensors are missing \(bias\)"):
        average.start(model, checkpoint)


def test_the_log_of_a_training_that_was_continued_and_asked_for_again_is_that_of_one_sitting(
    squares, recipe_file, tmp_path, monkeypatch
):
    settings = {"overrides": ("save_steps=2",), "device": "cpu"}
    whole = train_model(str(recipe_file), squares, tmp_path / "whole", **settings)
    half = tmp_path / "half"
    shutil.copytree(whole, half)
    shutil.rmtree(half / "checkpoint-8")
    (half / "training.json").unlink()
    train_model(str(recipe_file), squares, half, **settings)
    (half / "training.json").unlink()  # as after a kill in the final save: no step is left
    train_model(str(recipe_file), squares, half, **settings)
    logs = [(out / "metrics.jsonl").read_text().splitlines() for out in (whole, half)]
    assert logs[0] == logs[1]
    assert not any("train_loss" in line for line in logs[0])
    assert sum("eval_loss" in line for line in logs[0]) == 2
    state = {path: path.stat().st_mtime_ns for path in half.rglob("*") if path.name != ".lock"}
    monkeypatch.setattr(trainer.DiffusionTrainer, "train", None)
    train_model(str(recipe_file), squares, half, **settings)  # a finished one is left as it is
    assert {path: path.stat().st_mtime_ns for path in state} == {
        **state,
        half / "config.yaml": (half / "config.yaml").stat().st_mtime_ns,
    }


def test_a_disk_that_is_full_at_a_checkpoint_is_told_in_one_line_and_the_same_command_continues(
    squares, recipe_file, tmp_path, monkeypatch
):
    def full(self, folder):
        raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 57280 vs 57172")

    with monkeypatch.context() as patched:
        patched.setattr(trainer.DiffusionTrainer, "_save_optimizer_and_scheduler", full)
        with pytest.raises(OSError, match="no space left on the device"):
            train_model(str(recipe_file), squares, tmp_path / "half", device="cpu")
    for name in ("half", "whole"):
        train_model(str(recipe_file), squares, tmp_path / name, device="cpu")
    assert same(tmp_path / "half", tmp_path / "whole")


def test_a_model_and_an_image_tokenizer_with_weights_that_are_no_numbers_are_refused(squares, recipe_file, tmp_path):
    out = train_model(str(recipe_file), squares, tmp_path / "out", steps=2, device="cpu")
    for file in (out / "image_tokenizer" / "diffusion_pytorch_model.safetensors", out / "model.safetensors"):
        tensors = load_file(file)
        name = sorted(tensors)[0]
        tensors[name].view(-1)[0] = torch.nan
        save_file(tensors, file, metadata={"format": "pt"})
        with pytest.raises(UserError, match=rf"tensor {name} holds NaN or infinite numbers"):
            MeDiMPipeline.from_pretrained(out, device="cpu")


def test_logits_that_are_no_numbers_name_the_model(squares, recipe_file, tmp_path):
    out = train_model(str(recipe_file), squares, tmp_path / "out", steps=2, device="cpu")
    pipeline = MeDiMPipeline.from_pretrained(out, device="cpu")
    with torch.no_grad():
        pipeline.model.image_head.weight[0, 0] = torch.nan
    with pytest.raises(UserError, match="model 'out': its logits are NaN or infinite"):
        pipeline.generate_images(["the square is red."], seeds=[0])


def test_a_short_training_tokenises_what_it_draws_and_a_longer_one_goes_on_from_there(
    squares, recipe_file, tmp_path, monkeypatch
):
    encoded, encode = [], ImageTokenizer.encode_images

    def counted(self, pictures, *arguments):
        encoded.append(len(pictures))
        return encode(self, pictures, *arguments)

    monkeypatch.setattr(ImageTokenizer, "encode_images", counted)
    train_model(str(recipe_file), squares, tmp_path / "out", steps=3, device="cpu")
    assert sum(encoded) == 8 + 3 * 4  # validation, and three steps of four
    train_model(str(recipe_file), squares, tmp_path / "whole", device="cpu")
    encoded.clear()
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "cache").symlink_to(tmp_path / "out" / "cache")
    train_model(str(recipe_file), squares, tmp_path / "more", device="cpu")
    assert sum(encoded) == 32 - 12
    assert same(tmp_path / "more", tmp_path / "whole")
    told = [json.loads((tmp_path / name / "training.json").read_text()) for name in ("more", "whole")]
    assert told[0]["unigram_report_nats_per_token"] == told[1]["unigram_report_nats_per_token"]


def test_reports_that_do_not_fit_are_told_with_what_happens_to_them_and_the_option(squares, recipe_file, tmp_path, capsys):
    train_model(str(recipe_file), squares, tmp_path, steps=2, overrides=("report_length=4", "train_limit=8"), device="cpu")
    assert "8 of 8 reports do not fit the canvas: each keeps its beginning and has no end; --set report_length=N" in (
        capsys.readouterr().out
    )


def test_a_model_that_cannot_be_built_claims_no_folder(squares, recipe_file, tmp_path):
    for wrong, said in (
        ("layers=3", "3 requested, but 'the recipe's backbone' has 2"),
        ("backbone.hidden_sise=3", "did you mean 'hidden_size'"),
        ("backbone.hidden_act=sillu", "did you mean 'silu'"),
    ):
        with pytest.raises(UserError, match=said):
            train_model(str(recipe_file), squares, tmp_path / "out", steps=2, overrides=(wrong,), device="cpu")
        assert not {path.name for path in (tmp_path / "out").iterdir()} - {".lock"}
    train_model(str(recipe_file), squares, tmp_path / "out", steps=2, device="cpu")
