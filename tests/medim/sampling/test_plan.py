"""What is known of a trajectory before it begins."""

import numpy as np
import pytest
import torch

from medim.common.errors import UserError
from medim.sampling.plan import halton_order, plan, radical_inverse, rounds_of
from medim.sampling.settings import ModalitySettings, SamplerSettings
from medim.sampling.step import noise


def planned(toy, settings, count=40, report=None):
    vacant = toy.blank(count, report).masked
    return vacant, plan(toy.layout, vacant, settings, noise(range(count), rounds_of(toy.layout, vacant, settings), 8))


@pytest.mark.parametrize("order", ["random", "left", "halton", "ancestral", "first-hitting"])
def test_planned_orders_reveal_every_vacant_place_once(toy, order):
    own = {"order": order, "steps": 3}
    report = own | {"order": "left" if order == "halton" else order}
    vacant, rounds = planned(toy, SamplerSettings(image=ModalitySettings(**own), report=ModalitySettings(**report)))
    seen = torch.zeros_like(vacant, dtype=torch.int)
    for entry in rounds:
        for turn in entry.turns:
            seen[:, toy.layout.of(turn.modality)] += turn.reveal
            place, idle = turn.places(vacant[:, toy.layout.of(turn.modality)])
            assert place.shape == (40, turn.room)
            assert torch.equal((~idle).sum(1), turn.reveal.sum(1))
    assert torch.equal(seen, vacant.int())


def test_remasked_places_are_revealed_again_and_no_other(toy):
    own = ModalitySettings(order="ancestral", steps=12, schedule="linear", remask="rescale", remask_rate=0.8)
    vacant, rounds = planned(toy, SamplerSettings(image=own, report=own), report=[0, 1])
    masked = vacant[:, toy.layout.image].clone()
    times = torch.zeros_like(masked, dtype=torch.int)
    for entry in rounds:
        (turn,) = entry.turns
        assert not (turn.reveal & ~masked).any()
        remask = torch.zeros_like(masked) if turn.remask is None else turn.remask
        assert not (remask & masked).any()
        assert torch.equal((turn.reveal | remask).sum(1), turn.changed)
        masked = (masked & ~turn.reveal) | remask
        times += turn.reveal
    assert not masked.any()
    assert times.min() == 1
    assert times.max() > 1


def test_each_modality_keeps_to_its_window(toy):
    settings = SamplerSettings(
        image=ModalitySettings(steps=4, start=0.5, order="random"), report=ModalitySettings(steps=8, stop=0.5, order="random")
    )
    _, rounds = planned(toy, settings, count=2)
    by = {m: [entry.index for entry in rounds for turn in entry.turns if turn.modality == m] for m in ("image", "report")}
    assert max(by["report"]) < 4 <= min(by["image"])


def test_one_modality_alone_has_the_whole_trajectory(toy):
    settings = SamplerSettings(image=ModalitySettings(steps=4, start=0.9, order="random", schedule="linear"))
    _, rounds = planned(toy, settings, count=2, report=[0, 0])
    assert [entry.index for entry in rounds] == [0, 1, 2, 3]


def test_first_hitting_counts_tokens(toy):
    settings = SamplerSettings(image=ModalitySettings(order="first-hitting"), report=ModalitySettings(order="first-hitting"))
    assert rounds_of(toy.layout, toy.blank(2).masked, settings) == 6
    with pytest.raises(UserError, match="both modalities"):
        rounds_of(toy.layout, toy.blank(2).masked, SamplerSettings(image=ModalitySettings(order="first-hitting")))


def test_a_plan_of_one_row_is_that_of_the_row_in_a_batch(toy):
    for order in ("random", "ancestral", "first-hitting"):
        settings = SamplerSettings(image=ModalitySettings(order=order, steps=3), report=ModalitySettings(order=order, steps=3))
        vacant = toy.blank(5).masked
        numbers = noise(range(5), rounds_of(toy.layout, vacant, settings), 8)
        together = {e.index: e for e in plan(toy.layout, vacant, settings, numbers)}
        for entry in plan(toy.layout, vacant[2:3], settings, numbers[:, :, 2:3]):
            for turn in entry.turns:
                same = next(t for t in together[entry.index].turns if t.modality == turn.modality)
                assert torch.equal(turn.reveal, same.reveal[2:3])


def test_radical_inverse_mirrors_the_digits():
    np.testing.assert_allclose(radical_inverse(np.arange(5), 2), [0, 0.5, 0.25, 0.75, 0.125])
    np.testing.assert_allclose(radical_inverse(np.arange(1, 5), 3), [1 / 3, 2 / 3, 1 / 9, 4 / 9])


@pytest.mark.parametrize("side", [1, 2, 5, 8, 32])
def test_every_position_once(side):
    assert sorted(halton_order(side)) == list(range(side * side))


def test_any_beginning_is_spread_better_than_chance():
    """Of the first 16 positions of 16 x 16, each quadrant has about four; the largest empty circle is small."""
    order = np.array(halton_order(16)[:16])
    rows, columns = order // 16, order % 16
    assert np.bincount(2 * (rows // 8) + columns // 8, minlength=4).min() >= 3
    grid = np.stack(np.meshgrid(np.arange(16), np.arange(16), indexing="ij"), -1).reshape(-1, 1, 2)

    def emptiest(r, c):
        return np.linalg.norm(grid - np.stack([r, c], -1)[None], axis=-1).min(1).max()

    chance = np.random.default_rng(0)
    random = [emptiest(*divmod(chance.permutation(256)[:16], 16)) for _ in range(50)]
    assert emptiest(rows, columns) < np.quantile(random, 0.1)
