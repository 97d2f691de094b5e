import copy
import json
import math
import os
import signal
import threading

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from medim.common.errors import UserError
from medim.pair import ImageReportPair
from medim.tokenizers.discriminator import adaptive_weight
from medim.tokenizers.image import DESCRIPTION, WEIGHTS, ImageTokenizer
from medim.training.tokenizer import train as training
from medim.training.tokenizer.recipe import TokenizerRecipe
from medim.training.tokenizer.run import BreakdownError
from medim.training.tokenizer.train import TokenizerTraining, batch_indices, perceptual_distance, train_tokenizer

RECIPE = TokenizerRecipe(
    resolution=16,
    downsampling=4,
    codes=16,
    latent_channels=4,
    channels=(8, 8, 16),
    attention=False,
    steps=12,
    batch_size=8,
    learning_rate=3e-3,
    warmup_steps=2,
    quantize_start=3,
    restart_every=3,
    eval_every=5,
    save_steps=5,
    logging_steps=2,
    bf16=False,
    weights="float32",
)


class Squares:
    """Grey images with one bright square of a random place and colour."""

    name, fingerprint, synthetic, terms, domains = "squares", "1", True, "none", ("squares",)

    def __init__(self, train: int = 40) -> None:
        self.sizes = {"train": train, "val": 10, "test": 0}

    def size(self, split: str) -> int:
        return self.sizes[split]

    def pair(self, split: str, index: int) -> ImageReportPair:
        rng = np.random.default_rng([len(split), index])
        values = np.full((16, 16, 3), 60, np.uint8)
        row, column = rng.integers(0, 12, 2)
        values[row : row + 4, column : column + 4] = rng.integers(120, 256, 3)
        return ImageReportPair(f"{split}-{index}", Image.fromarray(values), None, split, str(index), str(index))

    def image_checker(self) -> None:
        return None

    def report_checker(self) -> None:
        return None


def lines(out) -> list[dict]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def without_time(rows: list[dict]) -> list[dict]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    return out, train_tokenizer(Squares(), RECIPE, out, device="cpu", progress=False)


def test_a_finished_training_leaves_what_is_promised(finished):
    out, tokenizer = finished
    back = ImageTokenizer.from_pretrained(out)
    assert back.fingerprint == tokenizer.fingerprint
    assert back.training["data"] == {"name": "squares", "fingerprint": "1"}
    assert back.training["recipe"]["steps"] == 12
    assert sorted(p.name for p in out.glob("checkpoint-*")) == ["checkpoint-10", "checkpoint-12"]
    assert not list(out.glob(".checkpoint*"))
    assert (out / "config.yaml").is_file()
    with Image.open(out / "reconstructions.png") as picture:
        assert picture.size == (12 * 128, 2 * 128)
    rows = lines(out)
    assert [(r["step"], r["split"]) for r in rows if r["split"] != "train"] == [(5, "val"), (10, "val"), (12, "final")]
    assert [r["step"] for r in rows if r["split"] == "train"] == [2, 4, 6, 8, 10, 12]
    assert rows[-1]["psnr"] == pytest.approx(back.training["val"]["psnr"], abs=1e-6)
    assert tokenizer.codebook.square().mean().item() == pytest.approx(1, abs=1e-3)


def test_what_a_round_trip_loses_is_told_and_made_again_where_it_is_missing(finished):
    out, tokenizer = finished
    told = json.loads((out / "reconstruction.json").read_text())
    assert told["tokenizer"] == tokenizer.fingerprint
    assert (told["split"], told["all"]["images"]) == ("val", 10)
    assert told["all"]["psnr"] == pytest.approx(
        lines(out)[-1]["psnr"], abs=0.05
    )  # of 8-bit images, and of what the decoder gave
    assert told["all"]["codes_used"] == lines(out)[-1]["codes_used"]
    (out / "reconstruction.json").unlink()
    train_tokenizer(Squares(), RECIPE, out, device="cpu", progress=False)
    assert json.loads((out / "reconstruction.json").read_text()) == told


def test_no_more_images_are_read_than_the_steps_see():
    train, val = training.read_images(Squares(2000), RECIPE.model_copy(update={"batch_size": 50}), progress=False)
    assert (len(train), len(val)) == (600, 10)
    train, _ = training.read_images(Squares(2000), RECIPE.model_copy(update={"cache_images": 100}), progress=False)
    assert len(train) == 100


def test_the_same_call_again_reads_what_is_there(finished):
    out, tokenizer = finished
    written = (out / WEIGHTS).stat().st_mtime_ns
    assert train_tokenizer(Squares(), RECIPE, out, device="cpu", progress=False).fingerprint == tokenizer.fingerprint
    assert (out / WEIGHTS).stat().st_mtime_ns == written


def test_another_configuration_is_refused_by_key(finished):
    out, _ = finished
    with pytest.raises(UserError, match=r"recipe.learning_rate = 0.003, not 0.1"):
        train_tokenizer(Squares(), RECIPE.model_copy(update={"learning_rate": 0.1}), out, progress=False)


def test_killed_and_continued_it_ends_with_the_same_weights(finished, tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    advance = TokenizerTraining.advance

    def dies_at_step_8(self, cache):
        if self.step == 8:
            raise Killed
        return advance(self, cache)

    monkeypatch.setattr(TokenizerTraining, "advance", dies_at_step_8)
    with pytest.raises(Killed):
        train_tokenizer(Squares(), RECIPE, tmp_path, device="cpu", progress=False)
    assert not (tmp_path / DESCRIPTION).exists()
    with (tmp_path / "metrics.jsonl").open("a") as stream:
        stream.write('{"step": 8, "spl')  # a line cut by the kill
    (tmp_path / ".checkpoint-8.tmp").mkdir()
    monkeypatch.setattr(TokenizerTraining, "advance", advance)
    tokenizer = train_tokenizer(Squares(), RECIPE, tmp_path, device="cpu", progress=False)
    out, uninterrupted = finished
    assert tokenizer.fingerprint == uninterrupted.fingerprint
    assert without_time(lines(tmp_path)) == without_time(lines(out))
    assert not list(tmp_path.glob(".checkpoint*"))


def test_killed_after_its_last_line_it_writes_that_line_once(finished, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("medim.training.tokenizer.train.picture", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train_tokenizer(Squares(), RECIPE, tmp_path, device="cpu", progress=False)
    assert lines(tmp_path)[-1]["split"] == "final"
    train_tokenizer(Squares(), RECIPE, tmp_path, device="cpu", progress=False)
    assert without_time(lines(tmp_path)) == without_time(lines(finished[0]))


@pytest.mark.skipif(threading.current_thread() is not threading.main_thread(), reason="signals reach the main thread only")
def test_ctrl_c_saves_and_says_so(finished, tmp_path, monkeypatch):
    advance = TokenizerTraining.advance

    def pressed_at_step_6(self, cache):
        if self.step == 6:
            os.kill(os.getpid(), signal.SIGINT)
        return advance(self, cache)

    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(TokenizerTraining, "advance", pressed_at_step_6)
    with pytest.raises(KeyboardInterrupt):
        train_tokenizer(Squares(), RECIPE, tmp_path, device="cpu", progress=False)
    assert signal.getsignal(signal.SIGINT) is before
    assert (tmp_path / "checkpoint-7").is_dir()
    monkeypatch.setattr(TokenizerTraining, "advance", advance)
    assert train_tokenizer(Squares(), RECIPE, tmp_path, device="cpu", progress=False).fingerprint == finished[1].fingerprint


def test_it_learns(tmp_path):
    recipe = RECIPE.model_copy(update={"steps": 100, "quantize_start": 40, "codes": 32, "save_steps": 1000, "l2_weight": 4.0})
    tokenizer = train_tokenizer(Squares(200), recipe, tmp_path, device="cpu", progress=False)
    final = lines(tmp_path)[-1]
    mean = np.stack([np.asarray(Squares().pair("train", i).image) for i in range(40)]).mean(0)
    images = np.stack([np.asarray(Squares().pair("val", i).image) for i in range(10)])
    constant = (10 * np.log10(255**2 / ((images - mean) ** 2).mean((1, 2, 3)))).mean()
    assert final["psnr"] > constant + 3  # the squares come back, not only the ground
    assert final["codes_used"] > 0.3
    assert len({tuple(t) for t in tokenizer.encode_images([Squares().pair("val", i).image for i in range(10)]).tolist()}) == 10


def test_adversarial_and_perceptual_losses_reach_the_decoder(monkeypatch):
    class Pools(nn.Module):
        def stages(self, images):
            return [nn.functional.avg_pool2d(images, k) for k in (2, 4)]

    monkeypatch.setattr(training, "_perceptual", Pools)
    update = {"adversarial_weight": 0.5, "adversarial_start": 5, "perceptual_weight": 0.5, "l2_weight": 1.0}
    run = TokenizerTraining(RECIPE.model_copy(update=update), "cpu")
    cache = training.cached_images(Squares(), "train", 16, 40, 0)
    rows = [run.advance(cache) for _ in range(8)]
    assert all({"l1", "l2", "perceptual"} <= row.keys() for row in rows)
    assert [("discriminator" in row) for row in rows] == [False] * 5 + [True] * 3
    other = TokenizerTraining(RECIPE.model_copy(update=update), "cpu")
    other.load(copy.deepcopy(run.state()))
    assert without_time([run.advance(cache)]) == without_time([other.advance(cache)])


def test_the_adversary_learns_and_its_weight_is_the_ratio_of_the_gradients(monkeypatch):
    """Esser et al. 2021, eq. 6 and 7: lambda = |grad L_rec| / (|grad L_GAN| + delta) at the decoder's last layer."""
    seen = []

    def spy(reconstruction, adversarial, last_layer):
        of_reconstruction, of_adversarial = (
            torch.autograd.grad(loss, last_layer, retain_graph=True)[0] for loss in (reconstruction, adversarial)
        )
        balance = adaptive_weight(reconstruction, adversarial, last_layer)
        seen.append((balance.item(), (of_reconstruction.norm() / (of_adversarial.norm() + 1e-6)).item()))
        return balance

    monkeypatch.setattr(training, "adaptive_weight", spy)
    update = {"adversarial_weight": 0.5, "adversarial_start": 20, "steps": 80, "l2_weight": 1.0, "quantize_start": 15}
    run = TokenizerTraining(RECIPE.model_copy(update=update), "cpu")
    cache = training.cached_images(Squares(200), "train", 16, 200, 0)
    rows = [run.advance(cache) for _ in range(70)]
    losses = [row["discriminator"] for row in rows if "discriminator" in row]
    assert len(losses) == len(seen) == 50
    assert losses[0] == pytest.approx(1, abs=0.25)  # both hinges at their start
    assert np.mean(losses[10:30]) < 0.8 * losses[0]  # it tells blurred squares from sharp ones
    assert all(math.isfinite(balance) and balance > 0 for balance, _ in seen)
    assert [balance for balance, _ in seen] == pytest.approx([expected for _, expected in seen], rel=1e-4)
    assert run.adversary.param_groups[0]["lr"] == run.optimizer.param_groups[0]["lr"] < RECIPE.learning_rate  # one schedule
    assert [row["adversarial_balance"] for row in rows[20:]] == [balance for balance, _ in seen]
    assert rows[-1]["psnr"] > rows[20]["psnr"] - 1.5  # it costs something; it does not undo the reconstruction


def test_a_loss_that_is_not_finite_stops(monkeypatch):
    run = TokenizerTraining(RECIPE, "cpu")
    next(run.model.parameters()).data.fill_(float("nan"))
    with pytest.raises(BreakdownError, match="the loss is nan at step 1"):
        run.advance(training.cached_images(Squares(), "train", 16, 8, 0))


@pytest.mark.parametrize(
    ("step", "says"), [(8, "the loss is nan at step 8"), (12, r"weight \S+ is NaN or infinite at step 12")]
)
def test_a_training_that_breaks_down_names_the_last_finite_checkpoint_and_saves_nothing(tmp_path, monkeypatch, step, says):
    honest = TokenizerTraining.advance

    def advance(self, cache):
        if self.step == step - 1 == 7:
            next(self.model.parameters()).data.fill_(math.nan)
        figures = honest(self, cache)
        if self.step == step == 12:
            next(self.model.parameters()).data.fill_(math.inf)
        return figures

    monkeypatch.setattr(TokenizerTraining, "advance", advance)
    with pytest.raises(UserError, match=f"{says}; the last finite checkpoint is '.*checkpoint-{step // 6 * 5}'"):
        train_tokenizer(Squares(), RECIPE, tmp_path, "cpu", progress=False)
    assert not list(tmp_path.glob("*.safetensors"))


def test_every_image_once_per_epoch_and_a_new_order_each():
    seen = np.concatenate([batch_indices(10, 4, step, seed=3) for step in range(5)])
    assert sorted(seen[:10]) == sorted(seen[10:]) == list(range(10))
    assert list(seen[:10]) != list(seen[10:])
    assert len(batch_indices(3, 8, 5, seed=0)) == 8  # fewer images than a batch
    assert not np.array_equal(batch_indices(10, 4, 0, seed=3), batch_indices(10, 4, 0, seed=4))


def test_learning_rate_warms_up_and_falls_to_zero():
    run = TokenizerTraining(RECIPE, "cpu")
    rates = []
    for step in range(RECIPE.steps):
        run.step = step
        rates.append(run._learning_rate())
    assert rates[:3] == pytest.approx([1.5e-3, 3e-3, 3e-3])
    assert rates[7] == pytest.approx(3e-3 * 0.5)
    assert rates[-1] == pytest.approx(3e-3 * 0.5 * (1 + math.cos(math.pi * 0.9)))


def test_perceptual_distance_ignores_scale_and_is_two_between_orthogonal_features():
    a = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1).expand(1, 2, 3, 3)
    b = torch.tensor([0.0, 5.0]).view(1, 2, 1, 1).expand(1, 2, 3, 3)
    assert perceptual_distance([a], [7 * a]).item() == pytest.approx(0)
    assert perceptual_distance([a, a], [b, a]).item() == pytest.approx(1)
