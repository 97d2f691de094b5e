import json
import math
import os
import signal
import threading
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from medim.common.errors import UserError
from medim.pair import ImageReportPair
from medim.tokenizers.image import DESCRIPTION, WEIGHTS, ImageTokenizer
from medim.training.tokenizer import train as training
from medim.training.tokenizer.steps import TokenizerTraining
from medim.training.tokenizer.train import cached_images, newest_state, refuse_another, save_checkpoint, train_tokenizer
from tests.medim.training.tokenizer.tiny import RECIPE


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
        assert picture.size == (10 * 128, 2 * 128)
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
    with pytest.raises(UserError, match=r"recipe.learning_rate = 0.003, and now recipe.learning_rate = 0.1"):
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
        patch.setattr("medim.training.tokenizer.train.write_sheet", lambda *_, **__: 1 / 0)
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


class Greys:
    """Image i is grey i; odd ones are files."""

    name = "greys"

    def __init__(self, folder, count: int = 20) -> None:
        self.folder, self.count = folder, count

    def size(self, split: str) -> int:
        return self.count if split == "train" else 0

    def pair(self, split: str, index: int) -> SimpleNamespace:
        image = Image.new("L", (8, 8), index)
        if index % 2:
            path = self.folder / f"{index}.png"
            image.save(path)
            return SimpleNamespace(image=path)
        return SimpleNamespace(image=image)


def test_images_are_cached_square_and_in_order(tmp_path):
    cache = cached_images(Greys(tmp_path), "train", 4, 100, seed=0)
    assert cache.shape == (20, 4, 4, 3)
    assert cache.dtype == torch.uint8
    assert cache[:, 2, 2].max(1).values.tolist() == list(range(20))


def test_a_large_split_is_sampled_by_the_seed(tmp_path):
    greys = Greys(tmp_path)
    first, again, other = (cached_images(greys, "train", 4, 9, seed)[:, 2, 2, 0].tolist() for seed in (1, 1, 2))
    assert first == again != other
    assert len(set(first)) == 9
    assert first == sorted(first)


def test_an_empty_split_and_a_cut_file_are_named(tmp_path):
    with pytest.raises(UserError, match="data set 'greys' has no pairs in split 'val'"):
        cached_images(Greys(tmp_path), "val", 4, 9, seed=0)
    path = tmp_path / "cut.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:200])
    cut = SimpleNamespace(name="cut", size=lambda split: 1, pair=lambda split, index: SimpleNamespace(image=path))
    with pytest.raises(UserError, match=r"cut\.png"):
        cached_images(cut, "train", 4, 9, seed=0)


def test_checkpoints_keep_the_last_two_whole_ones(tmp_path):
    assert newest_state(tmp_path) is None
    for step in (5, 10, 100):
        save_checkpoint(tmp_path, step, {"step": step, "weights": torch.ones(2) * step})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint-10", "checkpoint-100"]
    (tmp_path / ".checkpoint-200.tmp").mkdir()
    (tmp_path / "checkpoint-notes").mkdir()
    assert newest_state(tmp_path)["weights"].tolist() == [100, 100]
    assert not (tmp_path / ".checkpoint-200.tmp").exists()
    save_checkpoint(tmp_path, 100, {"step": 100, "weights": torch.zeros(2)})  # saving a step twice replaces it
    assert newest_state(tmp_path)["weights"].tolist() == [0, 0]


def test_a_cut_checkpoint_is_named(tmp_path):
    save_checkpoint(tmp_path, 3, {"weights": torch.ones(1000)})
    path = tmp_path / "checkpoint-3" / "training_state.pt"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(UserError, match=r"checkpoint-3' cannot be continued from; remove it .*: '.* cannot be read"):
        newest_state(tmp_path)


def test_the_first_differing_key_is_named(tmp_path):
    config = {"data": {"name": "a"}, "recipe": {"codes": 3, "channels": [1, 2]}}
    refuse_another(tmp_path, config)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    refuse_another(tmp_path, config)
    with pytest.raises(UserError, match=r"holds a training with recipe.codes = 3, and now recipe.codes = 4"):
        refuse_another(tmp_path, config | {"recipe": {"codes": 4, "channels": [1, 2]}})
    with pytest.raises(UserError, match=r'data.name = "a", and now data.name = "b"'):
        refuse_another(tmp_path, config | {"data": {"name": "b"}})
