import json
import math

import numpy as np
import pytest
import torch

from medim.common.errors import UserError
from tasks.downstream import fitting
from tasks.downstream.fitting import CHECKPOINT, CURVE, WEIGHTS, Recipe, _factor, rows_of_step


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

    step, done = fitting._step, []

    def killed(*arguments):
        if len(done) == 5:  # behind the checkpoint of step 3
            raise KilledError
        done.append(1)
        return step(*arguments)

    monkeypatch.setattr(fitting, "_step", killed)
    with pytest.raises(KilledError):
        small.fit(train, validation, steps=9, seed=1, out=tmp_path / "killed", augment=True, evaluate_every=3)
    assert (tmp_path / "killed" / CHECKPOINT).is_file()
    resumed = []
    monkeypatch.setattr(fitting, "_step", lambda *arguments: resumed.append(arguments[5]) or step(*arguments))
    again = small.fit(train, validation, steps=9, seed=1, out=tmp_path / "killed", augment=True, evaluate_every=3)
    assert resumed == [3, 4, 5, 6, 7, 8]
    assert weights(tmp_path / "killed") == weights(tmp_path / "whole")
    assert again.fingerprint == whole.fingerprint
    assert (tmp_path / "killed" / CURVE).read_text() == (tmp_path / "whole" / CURVE).read_text()
    assert not (tmp_path / "killed" / CHECKPOINT).exists()


def test_steps_do_not_follow_the_number_of_examples(small, examples, tmp_path, monkeypatch):
    taken, step = [], fitting._step
    monkeypatch.setattr(fitting, "_step", lambda *arguments: taken.append(1) or step(*arguments))
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

    monkeypatch.setattr(fitting, "evaluate", evaluate)
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
    monkeypatch.setattr(fitting, "evaluate", lambda *_: math.nan)
    with pytest.raises(
        UserError, match=r"small: the training broke down: validation_loss is nan at step 1; no checkpoint was saved before"
    ):
        small.fit(examples(8), examples(4, 8), steps=1, seed=0, out=tmp_path)


def test_the_visual_part_has_its_own_rate(small):
    network = small.build(9)
    groups = fitting._optimizer(network, Recipe(learning_rate=1.0, visual_learning_rate=2.0)).param_groups
    assert [group["lr"] for group in groups] == [2.0, 1.0]
    assert len(groups[0]["params"]) == len(list(network.visual.parameters()))
    network.visual.requires_grad_(False)
    assert [group["lr"] for group in fitting._optimizer(network, Recipe(learning_rate=1.0)).param_groups] == [1.0]


def test_the_step_that_broke_and_the_checkpoint_before_it_are_named(small, examples, tmp_path, monkeypatch):
    honest = fitting._step

    def step(network, train, recipe, optimizer, seed, number, *rest):
        loss = honest(network, train, recipe, optimizer, seed, number, *rest)
        return math.nan if number == 4 else loss

    monkeypatch.setattr(fitting, "_step", step)
    with pytest.raises(UserError, match=r"the loss is no number at step 5; '.*checkpoint.pt' holds step 3"):
        small.fit(examples(8), examples(4, 8), steps=6, seed=0, out=tmp_path, evaluate_every=3)
