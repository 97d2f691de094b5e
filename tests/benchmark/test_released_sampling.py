"""The baselines are what they say: the same weights, the same law where they share a sampler, every cost counted."""

from types import SimpleNamespace

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmark.released_sampling import PublicPractice, Released, falling, full_logits
from medim.canvas import Canvas
from medim.denoiser import MeDiMConfig, MeDiMModel
from medim.errors import UserError
from medim.pipeline import MeDiMPipeline
from medim.sampling.cost import Cost
from medim.sampling.decoder import decode
from medim.sampling.settings import SamplerSettings
from medim.sampling.step import draw

BACKBONE = {
    "model_type": "llama", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 2, "head_dim": 16, "vocab_size": 20, "initializer_range": 0.3, "tie_word_embeddings": True,
}  # fmt: skip
FIELDS = {"text_vocabulary": 20, "image_codes": 8, "image_length": 9, "report_length": 12}


@pytest.fixture
def own() -> MeDiMPipeline:
    torch.manual_seed(0)
    model = MeDiMModel(MeDiMConfig(backbone=BACKBONE, **FIELDS)).double()
    settings = SamplerSettings().with_overrides({"image.steps": 5, "report.steps": 8, "image.start": 0.4, "report.stop": 0.7})
    reports = SimpleNamespace(end=1, padding=0)
    return MeDiMPipeline(model, None, reports, settings, "tiny", "0")


def canvases(pipeline: MeDiMPipeline, count: int) -> dict[str, Canvas]:
    blank = Canvas.blank(pipeline.model.config.layout, count)
    report = torch.arange(12).expand(count, 12) + 3
    return {"pairs": blank, "images": blank.give_report(report)}


@pytest.mark.parametrize("overrides", [
    {}, {"image.order": "margin", "report.order": "confidence"}, {"image.order": "halton", "report.order": "left"},
    {"image.guidance": 1.5, "report.guidance": 0.5}, {"report.top_p": 0.8, "image.temperature": 0.5},
])  # fmt: skip
@pytest.mark.parametrize("what", ["pairs", "images"])
def test_public_practice_draws_what_the_decoder_draws(own, what, overrides):
    own.configure(overrides)
    practice, canvas, seeds = PublicPractice(own), canvases(own, 6)[what], range(6)
    filled, _ = practice.fill(canvas, seeds)
    assert torch.equal(filled.tokens, decode(own.model, canvas, own.sampler, seeds).canvas.tokens)


def test_the_released_procedure_fills_everything_and_keeps_what_is_given(own):
    for canvas in canvases(own, 3).values():
        filled, passes = Released(own).fill(canvas, [1, 2, 3])
        assert not filled.masked.any()
        assert torch.equal(filled.tokens[canvas.given], canvas.tokens[canvas.given])
        layout = filled.layout
        assert (filled.report_tokens() < layout.vocabulary.text).all()
        assert (filled.image_codes() >= 0).all()
        assert len(passes) == 2 * int(canvas.masked[0].sum())  # fewer than 128: one a token, two forwards each
        alone, _ = Released(own).fill(Canvas(layout, canvas.tokens[1:2], canvas.given[1:2]), [2])
        assert torch.equal(alone.tokens[0], filled.tokens[1])


def test_guidance_masks_what_is_given(own, monkeypatch):
    canvas, seen = canvases(own, 1)["images"], []
    monkeypatch.setattr(
        "benchmark.released_sampling.full_logits", lambda model, part: seen.append(part) or full_logits(model, part)
    )
    Released(own).fill(canvas, [0])
    layout = canvas.layout
    assert not seen[0].masked[0, layout.report].any()
    assert seen[1].masked[0, layout.report].all()
    assert torch.equal(seen[1].tokens[:, layout.image], seen[0].tokens[:, layout.image])


def test_guidance_rises_from_nothing_to_five(own, monkeypatch):
    known, weights = iter([0.0, -1.0] * 9), []  # (1 + w) * 0 - w * -1 = w

    def drawn(logits, *settings):
        weights.append(logits.max().item())
        return draw(logits, *settings)

    monkeypatch.setattr(
        "benchmark.released_sampling.full_logits", lambda model, part: torch.full((1, part.layout.length, 28), next(known))
    )
    monkeypatch.setattr("benchmark.released_sampling.draw", drawn)
    Released(own).fill(canvases(own, 1)["images"], [0])
    assert weights == pytest.approx([5 * index / 9 for index in range(9)], abs=1e-6)


@pytest.mark.parametrize("practice", [Released, PublicPractice])
def test_every_operation_is_counted(own, practice):
    made, canvas = [], canvases(own, 2)["images"]
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        made.append(practice(own).fill(canvas, [0, 1])[1])
    rotary = sum(sum(n.values()) for name, n in counter.get_flop_counts().items() if name.endswith("RotaryEmbedding"))
    assert counter.get_total_flops() - rotary == Cost.of(own.model).of_passes(made[0])


def test_the_released_schedule_is_that_of_the_released_code():
    left = falling(1280, 128)
    shares = [1 - left[int(128 * s) - 1] / 1280 for s in (0.25, 0.5, 0.75)]
    assert shares == pytest.approx([0.12, 0.34, 0.64], abs=0.05)
    assert left[-1] == 0
    assert all(a > b for a, b in zip([1280, *left], left, strict=False))
    assert falling(5, 5) == [4, 3, 2, 1, 0]


def test_a_sampler_that_public_practice_does_not_know_is_refused(own):
    own.configure({"report.order": "threshold"})
    with pytest.raises(UserError, match="report: the baseline of public practice has no order 'threshold'"):
        PublicPractice(own)
