import builtins
import json
import math

import numpy as np
import pytest
import torch
from PIL import Image

from medim.common.errors import UserError
from medim.pair import ImageReportPair
from medim.tokenizers.image import ImageTokenizer
from medim.training.tokenizer import round_trip
from medim.training.tokenizer.round_trip import chosen, evaluate, finding_f1, report
from medim.training.tokenizer.steps import psnr
from tasks.metrics.clinical.findings import Counts, f1, supported


class Brightness:
    """Reads `bright` where the mean grey level is above 128, `dark` below 64."""

    name, fingerprint, labels = "brightness", "b1", ("bright", "dark", "never")

    def __call__(self, images):
        means = [np.asarray(image).mean() for image in images]
        return [frozenset(["bright"] if m > 128 else ["dark"] if m < 64 else []) for m in means]


class Greys:
    """Noise about a grey level; even pairs are `a`, odd ones `b`; the fifth has no findings known."""

    name, fingerprint, synthetic, terms, domains = "greys", "g1", True, "none", ("a", "b")

    def __init__(self, checker=None, size: int = 9) -> None:
        self.checker, self.count = checker, size

    def size(self, split: str) -> int:
        return self.count if split == "val" else 0

    def pair(self, split: str, index: int) -> ImageReportPair:
        level = (40, 200, 100)[index % 3]
        noise = np.random.default_rng(index).integers(-30, 31, (16, 16, 3))
        truth = None if index == 4 else Brightness()([Image.new("RGB", (1, 1), (level,) * 3)])[0]
        image = Image.fromarray((level + noise).clip(0, 255).astype(np.uint8))
        return ImageReportPair(str(index), image, None, split, "s", "p", domain="ab"[index % 2], findings=truth)

    def image_checker(self):
        return self.checker


class Copy(ImageTokenizer):
    """Whose round trip subtracts a constant; pixels on the way stand where the tokens would."""

    shift = 0

    def encode_images(self, images, batch_size=None):
        self.kept = images
        return torch.arange(16).repeat(len(images), 1) % 4

    def decode_images(self, tokens, batch_size=None):
        return [
            Image.fromarray((np.asarray(image).astype(int) - self.shift).clip(0, 255).astype(np.uint8)) for image in self.kept
        ]


def build(kind=ImageTokenizer, **training) -> ImageTokenizer:
    tokenizer = kind.build(16, 4, 16, channels=(4, 8, 8), latent_channels=3)
    tokenizer.training = training
    return tokenizer


def test_a_perfect_round_trip_has_perfect_figures():
    told = report(build(Copy), Greys(Brightness()))
    figures = told["all"]
    assert figures["images"] == 9
    assert (figures["l1"], figures["feature_distance"]) == (0, 0)
    assert figures["ssim"] == pytest.approx(1)
    assert figures["psnr"] == pytest.approx(10 * math.log10(4e10))  # an error of 1e-10, the least that is counted
    assert figures["finding_f1"] == figures["finding_f1_real"] == 1
    assert figures["feature_distance_of_strangers"] > 0
    assert figures["codes_used"] == 4 / 16
    assert figures["perplexity"] == pytest.approx(4)
    assert told["missing"] == {}
    assert told["checker"] == {"name": "brightness", "fingerprint": "b1"}
    assert told["features"]["name"] == "efficientnet-lite0"
    assert told["features"]["trained_on"] is False
    json.dumps(told)


def test_domains_are_told_apart_and_sum_up():
    told = report(build(), Greys(Brightness()))
    assert {name: group["images"] for name, group in told["domains"].items()} == {"a": 5, "b": 4}
    for key in ("l1", "psnr", "ssim", "feature_distance"):
        parts = [told["domains"][name][key] * n / 9 for name, n in (("a", 5), ("b", 4))]
        assert sum(parts) == pytest.approx(told["all"][key])


def test_a_constant_shift_in_closed_form():
    tokenizer = build(Copy, recipe={"perceptual_weight": 0.5})
    tokenizer.shift = 51  # of 255: a fifth of the range
    bright = Greys(Brightness())
    bright.pair_of = bright.pair
    bright.pair = lambda split, index: bright.pair_of(split, 3 * index + 1)  # grey level 200 alone
    bright.count = 3
    told = report(tokenizer, bright)
    assert told["all"]["l1"] == pytest.approx(0.4, rel=1e-5)
    assert told["all"]["psnr"] == pytest.approx(-20 * math.log10(0.2), rel=1e-5)
    assert 0 < told["all"]["ssim"] < 1
    assert told["features"]["trained_on"] is True
    tokenizer.shift = 100  # now grey 100: no longer bright; the pair without known findings is left out
    figures = report(tokenizer, bright)["all"]
    assert (figures["finding_f1_real"], figures["finding_f1"]) == (1, 0)
    assert figures["finding_f1_by_label"] == {"bright": [1, 0]}


def test_ssim_is_that_of_the_paper_computed_by_windows():
    generator = torch.Generator().manual_seed(0)
    before = torch.rand(1, 1, 13, 12, generator=generator) * 2 - 1
    after = (before + 0.3 * torch.randn(before.shape, generator=generator)).clamp(-1, 1)
    axis = torch.arange(11) - 5.0
    window = torch.exp(-(axis**2) / (2 * 1.5**2))
    window = torch.outer(window, window) / window.sum() ** 2
    values = []
    for top in range(3):
        for left in range(2):
            x, y = (side[0, 0, top : top + 11, left : left + 11] / 2 + 0.5 for side in (before, after))
            mx, my = (window * x).sum(), (window * y).sum()
            vx, vy, cov = (window * x * x).sum() - mx**2, (window * y * y).sum() - my**2, (window * x * y).sum() - mx * my
            c1, c2 = 0.01**2, 0.03**2
            values.append((2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2)))
    similarity = round_trip._similarity(16, {})
    assert similarity(after, before).item() == pytest.approx(torch.stack(values).mean().item(), abs=1e-5)


def test_finding_f1_is_that_of_the_benchmark():
    rng = np.random.default_rng(0)
    labels = ("a", "b", "c", "d")
    truth, read = ([frozenset(label for label in labels[:3] if rng.random() < 0.4) for _ in range(30)] for _ in range(2))
    read[0] = frozenset({"d"})  # a label that the truth never shows
    scores = finding_f1(truth, read, labels)
    assert tuple(scores) == supported(truth, labels) == ("a", "b", "c")
    expected = f1(Counts.of(truth, read, tuple(scores)).totals())
    assert list(scores.values()) == pytest.approx(expected.tolist())


def test_what_cannot_be_measured_says_why(monkeypatch):
    def without(name, *args, **kwargs):
        if name.startswith(("torchmetrics", "efficientnet")):
            raise ImportError(f"No module named '{name}'", name=name.partition(".")[0])
        return real_import(name, *args, **kwargs)

    real_import = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", without)
    told = report(build(), Greys())
    assert told["missing"]["ssim"] == "it needs the package 'torchmetrics': pip install 'medim-bench[scoring]'"
    assert "efficientnet" in told["missing"]["feature_distance"]
    assert told["missing"]["finding_f1"] == "nothing reads findings from the images of 'greys'"
    assert all(told["all"][key] is None for key in told["missing"])
    assert told["all"]["psnr"] > 0


def test_a_checker_without_weights_is_no_end(monkeypatch):
    monkeypatch.setattr(round_trip, "_features", lambda tokenizer, missing: None)
    dataset = Greys()

    def lost():
        raise UserError("weights.safetensors: missing")

    dataset.image_checker = lost
    assert report(build(), dataset)["missing"] == {"finding_f1": "weights.safetensors: missing"}


def test_the_choice_of_images_follows_the_seed():
    greys = Greys(size=50)
    assert chosen(greys, "val", None, 0).tolist() == chosen(greys, "val", 50, 0).tolist() == list(range(50))
    first, again, other = (chosen(greys, "val", 9, seed).tolist() for seed in (1, 1, 2))
    assert first == again != other
    assert first == sorted(set(first))
    assert len(first) == 9
    with pytest.raises(UserError, match="data set 'greys' has no pairs in split 'test'"):
        chosen(greys, "test", None, 0)


def test_psnr_in_closed_form():
    images = torch.zeros(2, 3, 4, 4)
    output = images + torch.tensor([0.2, 3.0]).view(2, 1, 1, 1)  # 3 is clamped to 1
    assert psnr(images, output).tolist() == pytest.approx([20.0, 10 * math.log10(4)])


def test_evaluation_counts_each_image_once():
    tokenizer = build()
    cache = torch.randint(0, 256, (7, 16, 16, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    whole, parts = evaluate(tokenizer, cache), evaluate(tokenizer, cache, batch_size=3)
    assert whole == pytest.approx(parts, rel=1e-4)
    images = cache.permute(0, 3, 1, 2) / 127.5 - 1
    assert whole["l1"] == pytest.approx((tokenizer.decode(tokenizer.encode(images)) - images).abs().mean().item(), rel=1e-4)
