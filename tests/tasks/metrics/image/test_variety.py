import numpy as np
import pytest
import torch
from PIL import Image

from tasks.metrics.image.variety import (
    duplicate_share,
    ms_ssim,
    ms_ssim_of_pairs,
    ms_ssim_scales,
    random_pairs,
    vendi_score,
)


def pictures(count: int, side: int, seed: int = 0) -> list[Image.Image]:
    values = np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)
    return [Image.fromarray(value) for value in values]


def test_duplicates_are_equal_in_every_pixel():
    first, second = pictures(2, 8)
    nearly = first.copy()
    nearly.putpixel((0, 0), (1, 2, 3))
    assert duplicate_share([first, second, first.copy(), nearly]) == pytest.approx(1 / 4)
    assert duplicate_share([first] * 10) == pytest.approx(0.9)
    assert duplicate_share([first, second]) == 0


@pytest.mark.parametrize(
    ("side", "scales"), [(10, 0), (16, 1), (21, 1), (22, 2), (43, 2), (44, 3), (64, 3), (128, 4), (175, 4), (176, 5), (512, 5)]
)
def test_scales_by_side(side, scales):
    assert ms_ssim_scales(side) == scales


def test_each_pair_occurs_once():
    pairs = random_pairs(20, 190, np.random.default_rng(0))
    assert len({tuple(pair) for pair in pairs.tolist()}) == 190
    assert (pairs[:, 0] < pairs[:, 1]).all()
    assert (pairs.min(), pairs.max()) == (0, 19)
    assert len(random_pairs(20, 30, np.random.default_rng(0))) == 30
    assert len(random_pairs(3, 500, np.random.default_rng(0))) == 3


def test_equal_images_are_wholly_similar_and_noise_is_not():
    assert ms_ssim_of_pairs([pictures(1, 64)[0]] * 5, seed=0) == pytest.approx(1, abs=1e-6)
    assert ms_ssim_of_pairs(pictures(6, 64), seed=0) < 0.2


def test_the_seed_draws_the_pairs():
    images = pictures(12, 48)
    first, again, other = (ms_ssim_of_pairs(images, seed, pairs=10) for seed in (1, 1, 2))
    assert first == again != other


def blurred(count: int, side: int, seed: int) -> torch.Tensor:
    """Pictures with structure at all scales, float64 (B, 3, side, side) in [0, 1], alike but for noise."""
    generator = torch.Generator().manual_seed(seed)
    base = torch.rand((1, 3, side // 8, side // 8), generator=generator, dtype=torch.float64)
    base = torch.nn.functional.interpolate(base, size=(side, side), mode="bilinear")
    noise = torch.rand((count, 3, side, side), generator=generator, dtype=torch.float64) - 0.5
    return (base + noise * torch.linspace(0.05, 0.6, count)[:, None, None, None]).clamp(0, 1)


def test_five_scales_are_those_of_torchmetrics():
    from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

    first, second = blurred(3, 176, 0)[1:, :1], blurred(3, 176, 0)[:2, :1]  # one channel: torchmetrics is slow
    reference = multiscale_structural_similarity_index_measure(first.float(), second.float(), data_range=1.0, reduction="none")
    torch.testing.assert_close(ms_ssim(first, second), reference.double(), atol=1e-4, rtol=0)
    torch.testing.assert_close(ms_ssim(first.float(), second.float()), reference, atol=1e-4, rtol=0)
    assert 0.05 < reference.min() < reference.max() < 0.95


def test_one_scale_is_ssim_by_its_definition():
    """A window at a time, with the weights of a Gaussian, float64."""
    x, y = blurred(1, 16, 0)[0], blurred(1, 16, 1)[0]
    axis = np.exp(-((np.arange(11) - 5) ** 2) / (2 * 1.5**2))
    weights = torch.from_numpy(np.outer(axis, axis) / axis.sum() ** 2)
    values = []
    for channel in range(3):
        for top in range(6):
            for left in range(6):
                a, b = (z[channel, top : top + 11, left : left + 11] for z in (x, y))
                ma, mb = (weights * a).sum(), (weights * b).sum()
                va, vb = (weights * (a - ma) ** 2).sum(), (weights * (b - mb) ** 2).sum()
                cov = (weights * (a - ma) * (b - mb)).sum()
                values.append((2 * ma * mb + 1e-4) * (2 * cov + 9e-4) / ((ma**2 + mb**2 + 1e-4) * (va + vb + 9e-4)))
    assert float(ms_ssim(x[None], y[None], [1.0])) == pytest.approx(float(torch.stack(values).mean()), rel=1e-9)


def test_too_small_images_are_refused():
    with pytest.raises(ValueError, match="more than 21 pixels"):
        ms_ssim_of_pairs(pictures(3, 21), seed=0)
    with pytest.raises(ValueError, match="not 1"):
        ms_ssim_of_pairs(pictures(1, 64), seed=0)


def test_the_vendi_score_counts_what_is_different():
    distinct = np.eye(4)
    assert vendi_score(distinct) == pytest.approx(4)
    assert vendi_score(np.repeat(distinct[:2], 5, axis=0) * 7) == pytest.approx(2)  # lengths and copies do not count
    assert vendi_score(np.ones((6, 3))) == pytest.approx(1)
    angle = np.array([[1, 0], [np.cos(1), np.sin(1)]])
    eigenvalues = (1 + np.cos(1)) / 2, (1 - np.cos(1)) / 2
    assert vendi_score(angle) == pytest.approx(np.exp(-sum(value * np.log(value) for value in eigenvalues)))


def test_the_vendi_score_is_one_for_either_matrix():
    rows = np.random.default_rng(0).standard_normal((12, 5))
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    values = np.linalg.eigvalsh(unit @ unit.T / 12).clip(1e-300)
    assert vendi_score(rows) == pytest.approx(np.exp(-(values * np.log(values)).sum()))
    with pytest.raises(ValueError, match="all zeros"):
        vendi_score(np.zeros((2, 3)))
