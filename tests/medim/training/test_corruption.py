"""Noise is a function of (seed, draw) alone, covers time evenly, and gives each task what it needs."""

import numpy as np
import pytest
import torch

from medim.canvas import Layout
from medim.diffusion.schedule import Cosine
from medim.training.corruption import JOINT, TIMES, corrupt
from medim.vocabulary import Vocabulary

LAYOUT = Layout(Vocabulary(text=20, codes=8), image_length=16, report_length=12)
CLEAN = LAYOUT.join(torch.arange(16)[None] % 8, torch.arange(12)[None])[0]


def draws(mode: str, count: int, seed: int = 0):
    drawn = [corrupt(CLEAN, 4, LAYOUT, {mode: 1.0}, seed, k) for k in range(count)]
    return [(one.noisy, one.t) for one in drawn]


def masked(noisy: torch.Tensor, where: slice) -> float:
    return float((noisy[where] == LAYOUT.vocabulary.mask).float().mean())


def test_the_same_draw_is_the_same_noise_and_another_is_not():
    (a, t), (b, u), (c, _) = draws("joint", 1)[0], draws("joint", 1)[0], draws("joint", 2)[1]
    assert torch.equal(a, b)
    assert torch.equal(t, u)
    assert not torch.equal(a, c)
    assert not torch.equal(a, draws("joint", 1, seed=1)[0][0])


@pytest.mark.parametrize("start", [0, 7, 1000])
def test_any_consecutive_batch_covers_time_evenly(start):
    times = sorted(float(corrupt(CLEAN, 4, LAYOUT, JOINT, 0, k).t[0]) for k in range(start, start + 64))
    gaps = np.diff([0.0, *times, 1.0])
    assert gaps.max() < 2.7 / 64


def test_tokens_are_masked_at_rate_t_and_structure_never():
    shares = [(masked(noisy, LAYOUT.image), float(t[0])) for noisy, t in draws("joint", 600)]
    assert abs(np.mean([share - t for share, t in shares])) < 0.02
    for noisy, _ in draws("joint", 50):
        assert noisy[LAYOUT.image.start - 1] == LAYOUT.vocabulary.begin_image
        assert noisy[LAYOUT.image.stop] == LAYOUT.vocabulary.end_image
        seen = noisy != LAYOUT.vocabulary.mask
        assert torch.equal(noisy[seen], CLEAN[seen])


def test_each_task_gives_what_it_says():
    for noisy, t in draws("image-given", 30):
        assert masked(noisy, LAYOUT.image) == 0
        assert t[0] == 0
    for noisy, t in draws("report-given", 30):
        assert masked(noisy, LAYOUT.report) == 0
        assert t[1] == 0
    for noisy, t in draws("image-masked", 30):
        assert masked(noisy, LAYOUT.image) == 1
        assert t[0] == 1
    for noisy, t in draws("report-masked", 30):
        assert masked(noisy, LAYOUT.report) == 1
        assert t[1] == 1
    assert all(t[0] == t[1] for _, t in draws("joint", 30))
    assert any(t[0] != t[1] for _, t in draws("independent", 30))
    first = slice(LAYOUT.report.start, LAYOUT.report.start + 4)
    assert all(masked(noisy, first) == 0 for noisy, _ in draws("prompted", 60))
    assert set(TIMES) == {"joint", "independent", "image-given", "report-given", "image-masked", "report-masked", "prompted"}


def test_tasks_occur_as_often_as_they_weigh():
    mixture = {"joint": 3.0, "image-given": 1.0}
    given = [corrupt(CLEAN, 4, LAYOUT, mixture, 0, k).t[0] == 0 for k in range(2000)]
    assert abs(np.mean(given) - 0.25) < 0.03


@pytest.mark.parametrize("process", ["uniform", "hybrid"])
def test_random_noise_stays_in_its_modality_and_the_loss_counts_wherever_it_may_have_struck(process):
    changed = 0
    for k in range(200):
        drawn = corrupt(CLEAN, 4, LAYOUT, {"joint": 1.0, "image-given": 1.0, "prompted": 1.0}, 0, k, None, process)
        given = drawn.t[0] == 0
        image, report = drawn.noisy[LAYOUT.image], drawn.noisy[LAYOUT.report]
        masks = int((drawn.noisy == LAYOUT.vocabulary.mask).sum())
        assert ((image >= LAYOUT.vocabulary.image_offset) | (image == LAYOUT.vocabulary.mask)).all()
        assert (report <= LAYOUT.vocabulary.mask).all()
        assert process == "hybrid" or masks == 0
        assert bool(drawn.noised[LAYOUT.image].all()) is not bool(given)
        assert not drawn.noised[[LAYOUT.image.start - 1, LAYOUT.image.stop]].any()
        assert torch.equal(drawn.noisy[~drawn.noised], CLEAN[~drawn.noised])
        changed += int((drawn.noisy != CLEAN).sum()) - masks
    assert changed > (1000 if process == "uniform" else 80)


def test_another_schedule_masks_at_its_own_rate():
    drawn = [corrupt(CLEAN, 4, LAYOUT, JOINT, 0, k, Cosine()) for k in range(600)]
    errors = [masked(one.noisy, LAYOUT.image) - float(Cosine().noise(one.t)[0]) for one in drawn]
    assert abs(np.mean(errors)) < 0.02
    assert np.mean([masked(one.noisy, LAYOUT.image) for one in drawn]) == pytest.approx(1 - 2 / np.pi, abs=0.03)
