"""The released procedure is the authors': their schedule, their passes, their guidance; and every cost is counted."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from medim.canvas import Canvas
from medim.common.errors import UserError
from medim.denoiser import MeDiMConfig, MeDiMModel
from medim.sampling.cost import Cost
from medim.sampling.decoder import decode
from medim.sampling.editing.completion import sampler_of_edit
from medim.sampling.ending import Ending
from medim.sampling.released import increments
from medim.sampling.settings import SamplerSettings
from medim.sampling.step import draw

BACKBONE = {
    "model_type": "llama",
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": 20,
    "initializer_range": 0.3,
    "tie_word_embeddings": True,
}
FIELDS = {"text_vocabulary": 20, "image_codes": 8, "image_length": 9, "report_length": 12}
THEIRS = {
    (256, 128): [(1, 34), (2, 53), (3, 38), (2, 1)],
    (1024, 128): [
        (1, 3),
        (2, 4),
        (3, 5),
        (4, 8),
        (5, 9),
        (6, 11),
        (7, 12),
        (8, 13),
        (9, 15),
        (10, 15),
        (11, 15),
        (12, 16),
        (13, 1),
        (12, 1),
    ],
    (1280, 128): [
        (1, 2),
        (2, 2),
        (3, 4),
        (4, 5),
        (5, 6),
        (6, 7),
        (7, 8),
        (8, 10),
        (9, 9),
        (10, 11),
        (11, 11),
        (12, 12),
        (13, 12),
        (14, 13),
        (15, 12),
        (16, 3),
        (12, 1),
    ],
    (64, 16): [(1, 2), (2, 1), (3, 3), (4, 3), (5, 3), (6, 4)],
    (112, 112): [(1, 103), (2, 4), (1, 1)],
}
"""(tokens, steps): what their code reveals, in runs of (tokens a step, steps), up to where nothing is left."""


def released(**settings) -> SamplerSettings:
    return SamplerSettings().with_overrides({"procedure": "released"} | {f"released.{k}": v for k, v in settings.items()})


def model_of(**fields) -> MeDiMModel:
    torch.manual_seed(0)
    return MeDiMModel(MeDiMConfig(backbone=BACKBONE, **(FIELDS | fields))).eval()


def blank(model: MeDiMModel, count: int) -> Canvas:
    return Canvas.blank(model.config.layout, count)


def with_reports(canvas: Canvas) -> Canvas:
    return canvas.give_report(torch.arange(3, 15).expand(len(canvas.tokens), 12))


@pytest.mark.parametrize("size", THEIRS)
def test_the_schedule_is_theirs(size):
    assert increments(*size) == [count for count, steps in THEIRS[size] for _ in range(steps)]


def test_few_tokens_take_a_step_each():
    assert [increments(total, 128) for total in (0, 1, 5)] == [[], [1], [1] * 5]
    assert increments(7, 1) == [7]


def test_eight_steps_are_eight_passes_and_a_second_row_stands_only_where_guidance_acts():
    model, settings = model_of(image_length=64), released(steps=8)
    pair = decode(model, blank(model, 1), settings, [0])
    assert [(one.rows, one.guided) for one in pair.passes] == [(1, 0)] * 8
    image = decode(model, with_reports(blank(model, 1)), settings, [0])
    assert [(one.rows, one.guided) for one in image.passes] == [(1, 0)] + [(2, 1)] * 7
    assert (pair.forwards, image.forwards) == (8, 8)
    assert all(one.rows == 1 for one in decode(model, with_reports(blank(model, 1)), released(steps=8, guidance=0), [0]).passes)


def test_a_prompt_beside_a_blank_row_is_guided_alone():
    model = model_of()
    given = torch.zeros(2, 12, dtype=torch.bool)
    given[1, :3] = True
    canvas = blank(model, 2).give_report(torch.arange(3, 15).expand(2, 12), given)
    passes = decode(model, canvas, released(steps=8), [0, 1]).passes
    assert [(one.rows, one.guided) for one in passes] == [(2, 0)] + [(3, 1)] * 7


def test_a_sample_does_not_depend_on_those_beside_it():
    """Rows of different length: the shorter one is finished first and then costs nothing."""
    model = model_of().double()
    given = torch.arange(12) < torch.tensor([[10], [2], [0]])
    canvas = blank(model, 3).give_report(torch.arange(3, 15).expand(3, 12), given)
    done = decode(model, canvas, released(), [4, 5, 6], Ending(1, 0))
    assert not done.canvas.masked.any()
    assert torch.equal(done.canvas.tokens[canvas.given], canvas.tokens[canvas.given])
    totals = canvas.masked.sum(1).tolist()
    assert totals == [11, 19, 21]
    assert done.passes[-1].rows == 1  # the row of 21 is left, with nothing given
    costs = []
    for row in range(3):
        alone = decode(
            model,
            Canvas(canvas.layout, canvas.tokens[row : row + 1], canvas.given[row : row + 1]),
            released(),
            [4 + row],
            Ending(1, 0),
        )
        assert torch.equal(alone.canvas.tokens[0], done.canvas.tokens[row])
        assert alone.forwards == len(increments(totals[row], 128))
        costs.append(Cost.of(model).of_passes(alone.passes))
    assert Cost.of(model).of_passes(done.passes) == sum(costs)


def test_guidance_hides_all_that_is_given_and_rises_to_five(toy, monkeypatch):
    """With logits 0 where the report is shown and -1 where it is not, guided ones are the weight."""
    seen, weights = [], []

    def hidden(tokens, t):
        seen.append((tokens, t))
        shown = (tokens[:, toy.layout.report] != toy.layout.vocabulary.mask).all(1)
        return (shown.float() - 1)[:, None, None].expand(-1, toy.layout.length, 3)

    def drawn(logits, *rest):
        weights.append(float(logits.max()))
        return draw(logits, *rest)

    monkeypatch.setattr(toy, "hidden", hidden)
    monkeypatch.setattr("medim.sampling.released.draw", drawn)
    decode(toy, toy.blank(1, [1, 2]), released(), [0])
    assert weights[::2] == pytest.approx([5 * index / 4 for index in range(4)], abs=1e-6)
    for tokens, t in seen[1:]:
        assert (tokens[1, toy.layout.report] == toy.layout.vocabulary.mask).all()
        assert torch.equal(tokens[1, toy.layout.image], tokens[0, toy.layout.image])
        assert t[:, 1].tolist() == [0, 1]


def test_without_guidance_and_noise_the_surest_draw_comes_first(toy):
    law = toy.law_of([1, 2], lambda drawn: {frozenset([max(drawn, key=drawn.__getitem__)]): 1.0})
    done = decode(toy, toy.blank(5000, [1, 2]), released(guidance=0, noise=0), range(5000))
    assert toy.excess(done.canvas.tokens, law) < 4.5
    noisy = decode(toy, toy.blank(5000, [1, 2]), released(guidance=0), range(5000))
    assert toy.excess(noisy.canvas.tokens, law) > 8


def test_every_operation_is_counted():
    model, made = model_of(), []
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        made.append(decode(model, with_reports(blank(model, 2)), released(), [0, 1]).passes)
    rotary = sum(sum(n.values()) for name, n in counter.get_flop_counts().items() if name.endswith("RotaryEmbedding"))
    assert counter.get_total_flops() - rotary == Cost.of(model).of_passes(made[0])
    assert made[0][1].image_logits == made[0][1].report_logits == 4 * 23  # two rows and two of guidance, everywhere


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"objective": "autoregressive"}, "an autoregressive model"),
        ({"transition": "uniform"}, "this noise"),
        ({"transition": "hybrid"}, "this noise"),
    ],
)
def test_a_model_without_a_mask_is_refused(fields, what):
    model = model_of(**fields)
    with pytest.raises(UserError, match=f"^procedure: 'released' fills what is masked, and {what} has no mask: set it to own$"):
        decode(model, blank(model, 1), released(), [0])


def test_an_edit_by_it_takes_its_own_guidance():
    model, settings = model_of(), released()
    assert sampler_of_edit(settings, model) == settings


def test_a_model_of_one_sigma_is_fed_the_time_of_the_schedule(toy):
    toy.config.time_input = "sigma"
    decode(toy, toy.blank(2, [1, 2]), released(), [0, 1])
    assert [t[:2, 0].tolist() for t in toy.times] == [[1 - index / 4] * 2 for index in range(4)]
    assert all((t == t[0, 0]).all() for t in toy.times)
