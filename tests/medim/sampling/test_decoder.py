"""The decoder on a model with a known law: what it draws follows that law, what is given stays, nothing stays masked."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from medim.canvas import Canvas, Layout
from medim.denoiser import DenoiserOutput
from medim.errors import UserError
from medim.sampling.decoder import decode
from medim.sampling.settings import ModalitySettings, SamplerSettings
from medim.sampling.step import draw, remaining
from medim.vocabulary import Vocabulary

LAYOUT = Layout(Vocabulary(text=3, codes=2), image_length=2, report_length=2)
STATES = torch.tensor(list(itertools.product(range(2), range(2), range(3), range(3))))
SEQUENCES = LAYOUT.join(STATES[:, :2], STATES[:, 2:])
WEIGHTS = torch.rand(len(STATES), generator=torch.Generator().manual_seed(5)) ** 2
PROBABILITY = WEIGHTS / WEIGHTS.sum()


class ExactDenoiser:
    """p(x^i | visible tokens) of the law above, by enumeration."""

    config = SimpleNamespace(layout=LAYOUT, objective="diffusion", transition="absorbing")

    def __init__(self) -> None:
        self.times: list[torch.Tensor] = []

    def __call__(self, tokens, t, select) -> DenoiserOutput:
        self.times.append(t)
        v = LAYOUT.vocabulary
        agrees = ((tokens[:, None] == SEQUENCES) | (tokens[:, None] == v.mask)).all(-1)
        posterior = agrees * PROBABILITY
        posterior = posterior / posterior.sum(1, keepdim=True)
        logits = []
        for where, size, offset in ((LAYOUT.image, v.codes, v.image_offset), (LAYOUT.report, v.text, 0)):
            onehot = torch.nn.functional.one_hot(SEQUENCES[:, where] - offset, size).float()
            logits.append(torch.einsum("bs,snk->bnk", posterior, onehot).log().clamp(min=-60)[select[:, where]])
        return DenoiserOutput(*logits)


def ancestral(**image) -> SamplerSettings:
    """One token a round, in random order: exact for an exact denoiser."""
    random = {"order": "random", "schedule": "linear", "steps": 2}
    return SamplerSettings(ModalitySettings(**{**random, **image}), ModalitySettings(**random))


def chi_square(samples: torch.Tensor, law: torch.Tensor) -> float:
    """Statistic over degrees of freedom; about 1 when the samples follow the law."""
    index = (samples[:, None] == SEQUENCES).all(-1).int().argmax(1)
    counts = torch.bincount(index, minlength=len(SEQUENCES)).double()
    expected = law.double() * len(samples)
    used = expected > 1
    return float((((counts - expected) ** 2 / expected.clamp(min=1e-9))[used]).sum() / (used.sum() - 1))


def one_modality_after_the_other() -> SamplerSettings:
    """Report tokens first, then image tokens: never two tokens in one round."""
    random = {"order": "random", "schedule": "linear", "steps": 4}
    return SamplerSettings(ModalitySettings(**random, start=0.5, stop=1.0), ModalitySettings(**random, start=0.0, stop=0.5))


def test_joint_samples_follow_the_law():
    canvas = decode(ExactDenoiser(), Canvas.blank(LAYOUT, 6000), one_modality_after_the_other(), range(6000)).canvas
    assert chi_square(canvas.tokens, PROBABILITY) < 1.8


def test_samples_given_a_report_follow_the_conditional_law():
    report = torch.tensor([1, 2])
    canvas = Canvas.blank(LAYOUT, 4000).give_report(report.repeat(4000, 1))
    done = decode(ExactDenoiser(), canvas, ancestral(), range(4000)).canvas
    conditional = PROBABILITY * (STATES[:, 2:] == report).all(1)
    assert torch.equal(done.report_tokens(), report.repeat(4000, 1))
    assert chi_square(done.tokens, conditional / conditional.sum()) < 2.5


def test_deciding_both_tokens_at_once_is_not_the_law():
    """The mutation that the chi-square test must catch: too few rounds."""
    canvas = decode(ExactDenoiser(), Canvas.blank(LAYOUT, 6000), SamplerSettings(
        ModalitySettings(steps=1, order="random"), ModalitySettings(steps=1, order="random")
    ), range(6000)).canvas  # fmt: skip
    assert chi_square(canvas.tokens, PROBABILITY) > 5


def test_the_model_is_fed_the_true_masked_fraction():
    model = ExactDenoiser()
    decode(model, Canvas.blank(LAYOUT, 1).give_report(torch.tensor([[0, 1]])), ancestral(), [0])
    assert [t.tolist() for t in model.times] == [[[1.0, 0.0]], [[0.5, 0.0]]]


@pytest.mark.parametrize("order", ["confidence", "random"])
@pytest.mark.parametrize("schedule", ["cosine", "linear"])
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_nothing_stays_masked_and_given_tokens_stay(order, schedule, steps):
    settings = ModalitySettings(steps=steps, order=order, schedule=schedule, temperature=0.7, top_p=0.9)
    canvas = Canvas.blank(LAYOUT, 5).give_report(torch.tensor([[2, 0]] * 5), torch.tensor([[False, True]] * 5))
    done = decode(ExactDenoiser(), canvas, SamplerSettings(settings, settings), range(5))
    assert not done.canvas.masked.any()
    assert torch.equal(done.canvas.tokens[canvas.given], canvas.tokens[canvas.given])
    assert done.forwards <= steps
    done.canvas.image_codes()
    assert (done.canvas.report_tokens() < LAYOUT.vocabulary.text).all()


def test_a_sample_depends_on_its_seed_and_not_on_its_batch():
    alone = decode(ExactDenoiser(), Canvas.blank(LAYOUT, 1), ancestral(), [11]).canvas.tokens
    among = decode(ExactDenoiser(), Canvas.blank(LAYOUT, 7), ancestral(), [3, 4, 11, 5, 6, 7, 8]).canvas.tokens
    assert torch.equal(alone[0], among[2])
    many = decode(ExactDenoiser(), Canvas.blank(LAYOUT, 30), ancestral(), range(30)).canvas.tokens
    assert len(many.unique(dim=0)) > 5


def test_draw_follows_temperature_and_nucleus():
    logits = torch.tensor([[0.6, 0.3, 0.1]]).log().repeat(20_000, 1)
    uniform = torch.from_numpy(np.random.default_rng(0).random(20_000, dtype=np.float32))
    share = torch.bincount(draw(logits, uniform, 1.0, 1.0)[0], minlength=3) / 20_000
    torch.testing.assert_close(share, torch.tensor([0.6, 0.3, 0.1]), atol=0.01, rtol=0)
    share = torch.bincount(draw(logits, uniform, 0.5, 1.0)[0], minlength=3) / 20_000
    torch.testing.assert_close(share, torch.tensor([0.36, 0.09, 0.01]) / 0.46, atol=0.01, rtol=0)
    share = torch.bincount(draw(logits, uniform, 1.0, 0.7)[0], minlength=3) / 20_000
    torch.testing.assert_close(share, torch.tensor([2 / 3, 1 / 3, 0.0]), atol=0.01, rtol=0)
    tokens, confidence = draw(logits, uniform, 0.5, 1.0)
    torch.testing.assert_close(confidence, logits[0, tokens])


def test_impossible_tokens_are_never_drawn():
    logits = torch.tensor([[-torch.inf, 0.0, -torch.inf]]).repeat(3, 1)
    assert draw(logits, torch.tensor([0.0, 0.5, 1.0 - 1e-7]), 1.0, 1.0)[0].tolist() == [1, 1, 1]


def test_the_cosine_schedule_reveals_few_tokens_first():
    total = torch.tensor([100])
    left = [int(remaining(ModalitySettings(steps=4), p / 4, total)) for p in range(5)]
    assert left == [100, 92, 70, 38, 0]
    linear = ModalitySettings(steps=4, schedule="linear")
    assert [int(remaining(linear, p / 4, total)) for p in range(5)] == [100, 75, 50, 25, 0]


def test_settings_are_checked_by_name_and_range():
    changed = SamplerSettings().with_overrides({"image.steps": "3", "report.temperature": 0.5})
    assert (changed.image.steps, changed.report.temperature) == (3, 0.5)
    with pytest.raises(UserError, match=r"did you mean 'steps'"):
        SamplerSettings().with_overrides({"image.step": 3})
    with pytest.raises(UserError, match="unknown sampler setting"):
        SamplerSettings().with_overrides({"imag.steps": 3})
    with pytest.raises(UserError, match="out of range"):
        SamplerSettings().with_overrides({"image.temperature": 0})
    assert SamplerSettings.from_dict(changed.to_dict()) == changed
