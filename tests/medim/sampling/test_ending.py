"""Where a report ends."""

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medim.canvas import MODALITIES, Canvas, Layout
from medim.common.errors import UserError
from medim.denoiser import MeDiMConfig, MeDiMModel
from medim.sampling.decoder import decode
from medim.sampling.ending import Ending
from medim.sampling.settings import ModalitySettings, SamplerSettings
from medim.vocabulary import Vocabulary

LAYOUT = Layout(Vocabulary(text=7, codes=3), image_length=9, report_length=8, order="report-image")
END, PADDING = 5, 6
ENDING = Ending(END, PADDING)


class Table:
    """Logits that depend on place and on what is visible, without any sense; ends and padding are likely everywhere."""

    def __init__(self, transition: str = "absorbing") -> None:
        self.config = SimpleNamespace(objective="diffusion", transition=transition, layout=LAYOUT)
        random = torch.Generator().manual_seed(0)
        self.own = torch.randn(LAYOUT.vocabulary.size, 16, generator=random)
        self.place = torch.randn(LAYOUT.length, 16, generator=random)
        self.head = {m: torch.randn(LAYOUT.size(m), 16, generator=random) for m in MODALITIES}
        self.head["report"][END:] *= 2

    def hidden(self, tokens, t):
        return torch.tanh(self.place + self.own[tokens].mean(1, keepdim=True) * 4 + self.own[tokens].roll(1, 1))

    def logits(self, hidden, modality):
        return hidden @ self.head[modality].T


def model_of(kind: str) -> Table | MeDiMModel:
    if kind != "autoregressive":
        return Table(kind)
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16, "vocab_size": 7}
    fields = {"text_vocabulary": 7, "image_codes": 3, "image_length": 9, "report_length": 8, "order": "report-image"}
    return MeDiMModel(MeDiMConfig(backbone={"model_type": "llama", **shape}, objective=kind, **fields)).eval()


KINDS = ("absorbing", "hybrid", "uniform", "autoregressive")


def report(words: list[int]) -> list[int]:
    return [*words, END, *[PADDING] * 8][:8]


def canvas(words: list[int], given: list[bool], codes: list[int], known: list[bool]) -> Canvas:
    result = Canvas.blank(LAYOUT, 1).give_report(torch.tensor([report(words)]), torch.tensor([given]))
    ids, told = LAYOUT.vocabulary.image_ids(torch.tensor([codes])), torch.tensor([known])
    return result._give(LAYOUT.image, ids, told)


canvases = st.builds(
    canvas,
    st.lists(st.integers(0, 4), max_size=8),
    st.lists(st.booleans(), min_size=8, max_size=8),
    st.lists(st.integers(0, 2), min_size=9, max_size=9),
    st.lists(st.booleans(), min_size=9, max_size=9),
)
ORDERS = ("confidence", "margin", "entropy", "threshold", "random", "left", "ancestral")


def modality(order: str, steps: int, **own) -> ModalitySettings:
    remask = {"remask": "rescale", "remask_rate": 0.7} if order == "ancestral" else {}
    return ModalitySettings(steps=steps, order=order, **remask, **own)


samplers = st.one_of(
    st.builds(
        lambda image, report, a, b, schedule, w, cut: SamplerSettings(
            image=modality(image, a, schedule=schedule, guidance=w, start=cut, temperature=0.5),
            report=modality(report, b, stop=1 - cut, top_p=0.8, guidance=w, guidance_stop=0.5),
        ),
        st.sampled_from([*ORDERS, "halton"]),
        st.sampled_from(ORDERS),
        st.integers(1, 9),
        st.integers(1, 9),
        st.sampled_from(["cosine", "linear"]),
        st.sampled_from([0.0, 2.0]),
        st.sampled_from([0.0, 0.4]),
    ),
    st.just(SamplerSettings(image=ModalitySettings(order="first-hitting"), report=ModalitySettings(order="first-hitting"))),
)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(canvases, min_size=10, max_size=10), samplers, st.integers(0, 2**40))
def test_a_thousand_canvases_keep_what_is_given_and_end_well(rows, sampler, seed):
    batch = Canvas(LAYOUT, torch.cat([c.tokens for c in rows]), torch.cat([c.given for c in rows]))
    done = decode(Table(), batch, sampler, [seed + k for k in range(len(rows))], ENDING).canvas
    assert torch.equal(done.tokens[batch.given], batch.tokens[batch.given])
    assert not done.masked.any()
    assert done.image_codes().min() >= 0
    assert done.image_codes().max() < 3
    words = done.report_tokens()
    assert (words < LAYOUT.vocabulary.text).all()
    given_here = batch.given[:, LAYOUT.report]
    for row, told in zip(words.tolist(), given_here.tolist(), strict=True):
        last = max((k for k in range(8) if told[k] and row[k] < END), default=-1)
        assert all(told[k] or row[k] < END for k in range(last)), "an end was drawn before a given word"
        if any(told[k] and row[k] == END for k in range(8)):
            assert row.count(END) == 1, "a report ended before the end that was given"
        first = row.index(END) if END in row else 8
        assert all(told[k] or row[k] == PADDING for k in range(first + 1, 8)), "words behind the end"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("length", [1, 3, 7])
def test_a_length_that_is_asked_for_is_had(length, kind):
    asked, model = SamplerSettings().with_overrides({"report.length": length}), model_of(kind)
    done = decode(model, Canvas.blank(LAYOUT, 20), asked, range(20), ENDING).canvas.report_tokens()
    assert (done[:, :length] < END).all()
    assert done[:, length:].tolist() == [report([0] * length)[length:]] * 20
    free = decode(model, Canvas.blank(LAYOUT, 20), SamplerSettings(), range(20), ENDING).canvas.report_tokens()
    assert (free[:, :length] >= END).any()


def test_lengths_that_cannot_be_had_are_refused():
    blank = Canvas.blank(LAYOUT, 1)
    with pytest.raises(UserError, match="do not fit into 8"):
        ENDING.at_length(blank, 8)
    prompt = blank.give_report(torch.tensor([[1, 2, 3, 0, 0, 0, 0, 0]]), torch.tensor([[True] * 3 + [False] * 5]))
    with pytest.raises(UserError, match="goes beyond the 2 tokens"):
        ENDING.at_length(prompt, 2)
    short = blank.give_report(torch.tensor([report([1])]), torch.tensor([[False, True] + [False] * 6]))
    with pytest.raises(UserError, match="ends before the 4 tokens"):
        ENDING.at_length(short, 4)
    whole = blank.give_report(torch.tensor([report([1, 2])]))
    assert torch.equal(ENDING.at_length(whole, 5).tokens, whole.tokens)  # a report that is given stays as it is


def test_one_id_may_be_end_and_padding():
    same = Ending(END, END)
    asked = SamplerSettings().with_overrides({"report.length": 2})
    done = decode(Table(), Canvas.blank(LAYOUT, 5), asked, range(5), same).canvas.report_tokens()
    assert (done[:, :2] != END).all()
    assert (done[:, 2:] == END).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_report_goes_on_to_the_words_that_are_given(kind):
    told = torch.tensor([[False] * 5 + [True] + [False] * 2] * 50)
    batch = Canvas.blank(LAYOUT, 50).give_report(torch.tensor([[0] * 8] * 50), told)
    words = decode(model_of(kind), batch, SamplerSettings(), range(50), ENDING).canvas.report_tokens()
    assert (words[:, :5] < END).all()
    assert (words[:, 5] == 0).all()
    assert (words[:, 6] >= END).any()  # behind them it may end


@pytest.mark.parametrize("kind", KINDS)
def test_bars_that_bar_nothing_change_no_sample(kind):
    blank = Canvas.blank(LAYOUT, 20)
    done = decode(model_of(kind), blank, SamplerSettings(), range(20), ENDING).canvas
    assert torch.equal(done.tokens, ENDING.trim(decode(model_of(kind), blank, SamplerSettings(), range(20)).canvas).tokens)


def test_without_the_bars_ends_are_drawn_before_given_words(monkeypatch):
    """The mutation that the invariants must catch."""
    monkeypatch.setattr(Ending, "forbid", lambda self, logits, barred: logits)
    blank = Canvas.blank(LAYOUT, 50)
    told = torch.tensor([[False] * 5 + [True] + [False] * 2] * 50)
    batch = blank.give_report(torch.tensor([[0] * 8] * 50), told)
    words = decode(Table(), batch, SamplerSettings(), range(50), ENDING).canvas.report_tokens()
    assert (words[:, :5] >= END).any()
