import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from medim.common.errors import UserError
from tasks.downstream import Example, training_loop
from tasks.downstream.training_loop import (
    CHECKPOINT,
    CURVE,
    GAIN,
    SHIFT,
    WEIGHTS,
    Pictures,
    Recipe,
    _factor,
    augmented,
    rows_of_step,
)


def test_every_example_is_seen_once_before_any_is_seen_twice():
    shown = np.concatenate([rows_of_step(10, 4, 3, step) for step in range(10)])
    for turn in range(4):
        assert sorted(shown[10 * turn : 10 * turn + 10]) == list(range(10))
    assert not np.array_equal(shown[:10], shown[10:20])


def test_a_batch_may_be_larger_than_the_examples():
    assert sorted(rows_of_step(3, 7, 0, 0)[:6]) == [0, 0, 1, 1, 2, 2]


def test_cosine_rises_and_falls_and_a_step_is_a_tenth():
    cosine = [_factor("cosine", step, 100) for step in range(100)]
    assert cosine[0] == pytest.approx(0.2)
    assert max(cosine) == pytest.approx(1, abs=1e-3)
    assert cosine.index(max(cosine)) in (4, 5)
    assert cosine[-1] < 1e-3
    assert [_factor("step", step, 10) for step in (0, 4, 5, 9)] == [1, 1, 0.1, 0.1]


def weights(folder):
    return (folder / WEIGHTS).read_bytes()


def test_a_killed_training_continues_to_the_same_weights(small, examples, tmp_path, monkeypatch):
    train, validation = examples(12), examples(4, 12)
    whole = small.fit(train, validation, steps=9, seed=1, out=tmp_path / "whole", augment=True, evaluate_every=3)

    class KilledError(Exception):
        pass

    step, done = training_loop._step, []

    def killed(*arguments):
        if len(done) == 5:  # behind the checkpoint of step 3
            raise KilledError
        done.append(1)
        return step(*arguments)

    monkeypatch.setattr(training_loop, "_step", killed)
    with pytest.raises(KilledError):
        small.fit(train, validation, steps=9, seed=1, out=tmp_path / "killed", augment=True, evaluate_every=3)
    assert (tmp_path / "killed" / CHECKPOINT).is_file()
    resumed = []
    monkeypatch.setattr(training_loop, "_step", lambda *arguments: resumed.append(arguments[5]) or step(*arguments))
    again = small.fit(train, validation, steps=9, seed=1, out=tmp_path / "killed", augment=True, evaluate_every=3)
    assert resumed == [3, 4, 5, 6, 7, 8]
    assert weights(tmp_path / "killed") == weights(tmp_path / "whole")
    assert again.fingerprint == whole.fingerprint
    assert (tmp_path / "killed" / CURVE).read_text() == (tmp_path / "whole" / CURVE).read_text()
    assert not (tmp_path / "killed" / CHECKPOINT).exists()


def test_steps_do_not_follow_the_number_of_examples(small, examples, tmp_path, monkeypatch):
    taken, step = [], training_loop._step
    monkeypatch.setattr(training_loop, "_step", lambda *arguments: taken.append(1) or step(*arguments))
    for count in (3, 16):
        taken.clear()
        small.fit(examples(count), examples(4, 12), steps=5, seed=0, out=tmp_path / str(count))
        assert len(taken) == 5


def test_the_best_evaluation_is_kept_not_the_last(small, examples, tmp_path, monkeypatch):
    losses = iter([3.0, 1.0, 2.0])
    kept = []

    def evaluate(network, *_):
        kept.append(network.head.bias.detach().clone())
        return next(losses)

    monkeypatch.setattr(training_loop, "evaluate", evaluate)
    fitted = small.fit(examples(8), examples(4, 8), steps=3, seed=0, out=tmp_path, evaluate_every=1)
    assert fitted.settings()["best_step"] == 2
    assert fitted.network.head.bias.equal(kept[1])
    curve = [json.loads(line) for line in (tmp_path / CURVE).read_text().splitlines()]
    assert [line["validation_loss"] for line in curve] == [3.0, 1.0, 2.0]


def test_seeds_decide_and_nothing_else_does(small, examples, tmp_path):
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        small.fit(examples(8), examples(4, 8), steps=2, seed=seed, out=tmp_path / name)
    assert torch.random.get_rng_state().equal(before)
    assert weights(tmp_path / "a") == weights(tmp_path / "b") != weights(tmp_path / "c")


def test_a_loss_that_is_not_finite_is_an_error(small, examples, tmp_path, monkeypatch):
    monkeypatch.setattr(training_loop, "evaluate", lambda *_: math.nan)
    with pytest.raises(
        UserError, match=r"small: the training broke down: validation_loss is nan at step 1; no checkpoint was saved before"
    ):
        small.fit(examples(8), examples(4, 8), steps=1, seed=0, out=tmp_path)


def test_the_visual_part_has_its_own_rate(small):
    network = small.build(9)
    groups = training_loop._optimizer(network, Recipe(learning_rate=1.0, visual_learning_rate=2.0)).param_groups
    assert [group["lr"] for group in groups] == [2.0, 1.0]
    assert len(groups[0]["params"]) == len(list(network.visual.parameters()))
    network.visual.requires_grad_(False)
    assert [group["lr"] for group in training_loop._optimizer(network, Recipe(learning_rate=1.0)).param_groups] == [1.0]


def test_the_step_that_broke_and_the_checkpoint_before_it_are_named(small, examples, tmp_path, monkeypatch):
    honest = training_loop._step

    def step(network, train, recipe, optimizer, seed, number, *rest):
        loss = honest(network, train, recipe, optimizer, seed, number, *rest)
        return math.nan if number == 4 else loss

    monkeypatch.setattr(training_loop, "_step", step)
    with pytest.raises(UserError, match=r"the loss is no number at step 5; '.*checkpoint.pt' holds step 3"):
        small.fit(examples(8), examples(4, 8), steps=6, seed=0, out=tmp_path, evaluate_every=3)


def test_files_and_images_alike_and_each_is_read_once(tmp_path, monkeypatch):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (8, 8, 3), np.uint8))
    image.save(tmp_path / "a.png")
    here = Example("a", "a", image, "text")
    read = []
    monkeypatch.setattr(Example, "picture", lambda self: read.append(self.id) or Image.open(tmp_path / "a.png"))
    rows = Pictures([here, replace(here, id="b", image=tmp_path / "a.png")], 8)
    shown = rows.rows([0, 1, 1, 0])
    assert read == ["a", "b"]
    assert shown[0].equal(shown[2])
    assert shown[0, :, 3, 5].numpy() == pytest.approx(np.array(image.getpixel((5, 3))) / 127.5 - 1, abs=1e-6)


def test_what_does_not_fit_is_read_again(monkeypatch):
    monkeypatch.setattr(training_loop, "MEMORY", 0)
    read, picture = [], Image.new("RGB", (8, 8), (9, 9, 9))
    monkeypatch.setattr(Example, "picture", lambda self: read.append(1) or picture)
    rows = Pictures([Example("a", "a", picture, "text")], 8)
    assert rows.rows([0]).equal(rows.rows([0]))
    assert len(read) == 2


def test_augmentation_depends_on_the_place_alone():
    images = torch.rand(4, 3, 16, 16) * 2 - 1
    whole = augmented(images, 7, 20)
    assert torch.allclose(augmented(images[2:], 7, 22), whole[2:], atol=1e-6)
    assert not torch.allclose(augmented(images, 8, 20), whole, atol=1e-2)
    assert whole.abs().max() <= 1


def test_augmentation_moves_a_little_and_never_mirrors():
    """A bright spot in the upper left stays there, within the largest shift and turn; brightness within its gain."""
    images = torch.full((200, 3, 64, 64), -1.0)
    images[:, :, 14:18, 14:18] = 0.0
    moved = augmented(images, 0, 0)
    mass = (moved[:, 0] + 1).flatten(1)
    grid = torch.stack(torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")).flatten(1)
    centre = mass @ grid.T / mass.sum(1, keepdim=True)
    reach = SHIFT * 64 + np.deg2rad(5) * np.hypot(16, 16) + 1
    assert (centre - 15.5).abs().max() <= reach
    assert (centre - 15.5).abs().max() > SHIFT * 64 / 2
    assert ((mass.amax(1) - 1).abs() <= GAIN + 1e-4).all()
