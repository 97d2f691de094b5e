"""Hidden states of which some come from before: exact where they must be, close where they may differ."""

import pytest
import torch

from medim.canvas import Canvas
from medim.common.errors import UserError
from medim.denoiser import MeDiMConfig, MeDiMModel
from medim.sampling import decoder
from medim.sampling.cache import hidden_states
from medim.sampling.decoder import decode
from medim.sampling.ending import Ending
from medim.sampling.forward import Request
from medim.sampling.plan import Round, Turn
from medim.sampling.settings import CacheSettings, SamplerSettings


def drift(exact: Canvas, cached: Canvas) -> float:
    """Share of the generated tokens that differ between two canvases filled from the same seeds."""
    return float((exact.tokens != cached.tokens)[~exact.given].float().mean())


def model_of(layers: int, family: str = "llama", **fields) -> MeDiMModel:
    torch.manual_seed(0)
    backbone = {
        "model_type": family,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": layers,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 16,
        "vocab_size": 20,
        "initializer_range": 0.3,
        "tie_word_embeddings": True,
    }
    if family == "dit":
        backbone = {k: v for k, v in backbone.items() if k not in ("num_key_value_heads", "head_dim")}
    shape = {"text_vocabulary": 20, "image_codes": 8, "image_length": 9, "report_length": 12}
    return MeDiMModel(MeDiMConfig(backbone=backbone, **shape, **fields)).eval()


SETTINGS = SamplerSettings().with_overrides(
    {"image.steps": 5, "image.order": "random", "report.steps": 8, "image.guidance": 1.0, "image.guidance_stop": 0.6}
)


def filled(model: MeDiMModel, refresh: int, **overrides):
    settings = SETTINGS.with_overrides({"cache.refresh": refresh, **overrides})
    return decode(model, Canvas.blank(model.config.layout, 6), settings, range(6))


@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma"])
@pytest.mark.parametrize("timestep", ["none", "adaln"])
@torch.no_grad()
def test_what_is_computed_alone_is_what_is_computed_with_all(family, timestep):
    model = model_of(2, family, timestep=timestep)
    layout = model.config.layout
    canvas = Canvas.blank(layout, 3)
    first, second = (
        Request("image", torch.arange(9).repeat(3, 1), None),
        Request("report", torch.tensor([[3, 1], [0, 5], [7, 2]]), None),
    )
    with hidden_states(model, CacheSettings(refresh=9)) as states:
        none = torch.zeros(3, dtype=torch.long)
        whole, all_ = states(canvas, [first], Round(0, (Turn("image", none + 9, none, None),)), none)
        part, some = states(canvas, [second], Round(1, (Turn("report", none + 2, none, None),)), none)
    assert (all_, some) == (layout.length, 2)
    torch.testing.assert_close(part, whole, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(whole, model.hidden(canvas.tokens, canvas.masked_fraction()), atol=0, rtol=0)


def test_one_block_without_time_is_exact_however_old_the_rest():
    """Keys and values of the first block are of the token alone, so nothing kept is ever stale."""
    model = model_of(1, timestep="none")
    whole, cached = filled(model, 1), filled(model, 1000)
    assert torch.equal(whole.canvas.tokens, cached.canvas.tokens)
    length = model.config.layout.length
    assert {p.queries for p in whole.passes} == {length}
    assert cached.passes[0].queries == length
    assert sum(p.queries for p in cached.passes) < 0.8 * sum(p.queries for p in whole.passes)
    assert all(p.keys == length for p in cached.passes)


@pytest.mark.parametrize("order", ["confidence", "ancestral"])
def test_other_orders_are_exact_in_one_block_too(order):
    model = model_of(1, timestep="none")
    own = {"image.order": order, "image.steps": 9}
    own |= {"image.remask": "cap", "image.remask_rate": 0.3} if order == "ancestral" else {}
    assert drift(filled(model, 1, **own).canvas, filled(model, 50, **own).canvas) == 0


def test_stale_states_drift_and_a_refresh_every_time_does_not():
    model = model_of(3)
    exact = filled(model, 1).canvas
    assert drift(exact, filled(model, 1).canvas) == 0
    assert 0 < drift(exact, filled(model, 4).canvas) < 1


@torch.no_grad()
def test_every_so_many_rounds_all_is_computed_anew():
    """In three blocks what is kept is stale once a token has changed; a full pass is the model's own."""
    model = model_of(3)
    layout, none = model.config.layout, torch.zeros(2, dtype=torch.long)
    canvas, ask = Canvas.blank(layout, 2), Request("report", torch.tensor([[0, 1], [0, 1]]), None)
    computed, shown, found = [], [], []
    with hidden_states(model, CacheSettings(refresh=3)) as states:
        for index in range(7):
            tokens = canvas.tokens.clone()
            tokens[:, layout.report.start + 2 + index] = index  # one token of the report is revealed in each round
            canvas = Canvas(layout, tokens, canvas.given)
            hidden, size = states(canvas, [ask], Round(index, (Turn("report", none + 2, none, None),)), none + 1)
            computed.append(size)
            shown.append(canvas)
            found.append(hidden)
    own = [model.hidden(canvas.tokens, canvas.masked_fraction()) for canvas in shown]
    exact = [torch.allclose(one, other, atol=1e-5) for one, other in zip(found, own, strict=True)]
    assert computed == [layout.length, 3, 3] * 2 + [layout.length]
    assert exact == [True, False, False] * 2 + [True]


def test_a_trajectory_has_a_full_pass_every_so_many_rounds():
    passes = filled(model_of(2), 3, **{"image.guidance": 0, "image.steps": 8}).passes
    assert [one.queries == 23 for one in passes] == [index % 3 == 0 for index in range(8)]


def test_forgetting_what_changed_is_noticed(monkeypatch):
    """The mutation: only what is asked for is computed, not what was revealed since."""
    from medim.sampling import cache

    honest = cache._Cached.__call__

    def forgetful(self, canvas, requests, entry, changed):
        if self.tokens is not None and self.tokens.shape == canvas.tokens.shape:
            self.tokens = canvas.tokens
        return honest(self, canvas, requests, entry, 0 * changed)

    model = model_of(1, timestep="none")
    exact = filled(model, 1, **{"image.guidance": 0}).canvas
    monkeypatch.setattr(cache._Cached, "__call__", forgetful)
    assert drift(exact, filled(model, 1000, **{"image.guidance": 0}).canvas) > 0.05


UNEVEN = (1, 2, 5, 9, 12, 3, 7)
"""Report positions that are masked in each row, from the right; twice as many rounds, so that most do nothing in most."""


def uneven(model: MeDiMModel, rows: list[int], **overrides) -> torch.Tensor:
    layout = model.config.layout
    given = torch.ones(len(UNEVEN), layout.length, dtype=torch.bool)
    tokens = torch.randint(0, 8, (len(UNEVEN), layout.length), generator=torch.Generator().manual_seed(1))
    tokens[:, layout.image] += layout.vocabulary.image_offset
    for row, count in enumerate(UNEVEN):
        given[row, layout.report.stop - count : layout.report.stop] = False
    canvas = Canvas(layout, tokens.masked_fill(~given, layout.vocabulary.mask)[rows], given[rows])
    settings = SamplerSettings().with_overrides({"report.steps": 24, "cache.refresh": 3, **overrides})
    return decode(model, canvas, settings, [seed + 10 for seed in rows]).canvas.tokens


@pytest.mark.parametrize("order", ["confidence", "threshold", "random", "left", "ancestral", "first-hitting"])
@pytest.mark.parametrize("guidance", [0.0, 1.5])
def test_a_row_depends_on_no_row_beside_it(order, guidance):
    """Rows with more to do have rounds, and full passes among them, in which the others do nothing."""
    model, own = model_of(3), {"report.order": order, "report.guidance": guidance}
    together = uneven(model, list(range(len(UNEVEN))), **own)
    for row in range(len(UNEVEN)):
        assert torch.equal(uneven(model, [row], **own)[0], together[row]), row


def test_guided_pairs_by_hitting_times_are_refused():
    """Their events interleave, so that the batch says which passes are guided."""
    order = {"image.order": "first-hitting", "report.order": "first-hitting"}
    with pytest.raises(UserError, match="'first-hitting'"):
        filled(model_of(2), 2, **order)
    assert not filled(model_of(2), 2, **order, **{"image.guidance": 0}).canvas.masked.any()
    assert not filled(model_of(2), 1, **order).canvas.masked.any()


def test_keeping_what_fills_up_a_row_is_noticed(monkeypatch):
    """The mutation: positions that are computed only because another row has more of them are kept too."""
    from medim.sampling import cache

    monkeypatch.setattr(cache, "_replaced", lambda old, dim, index, new, taken: old.scatter(dim, index, new))
    model, own = model_of(3), {"cache.refresh": 24, "report.order": "confidence"}
    together = uneven(model, list(range(len(UNEVEN))), **own)
    assert any(not torch.equal(uneven(model, [row], **own)[0], together[row]) for row in range(len(UNEVEN)))


def test_the_model_is_left_as_it_was():
    model = model_of(1)
    with pytest.raises(RuntimeError), hidden_states(model, CacheSettings(refresh=2)):
        raise RuntimeError
    assert not any(layer.self_attn._forward_pre_hooks for layer in model.backbone.blocks)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"attention": "causal"}, "bidirectional"),
        ({"logit_alignment": "shift"}, "own positions"),
        ({"family": "dit"}, "language"),
    ],
)
def test_models_that_run_only_whole_are_refused(fields, reason):
    with pytest.raises(UserError, match=reason):
        filled(model_of(1, **fields), 2)
    assert not filled(model_of(1, **fields), 1).canvas.masked.any()


ORDERS = ["confidence", "margin", "entropy", "threshold", "random", "halton", "left", "ancestral", "first-hitting"]


@pytest.mark.parametrize("refresh", [1, 3])
@pytest.mark.parametrize("order", ORDERS)
def test_the_loop_never_asks_the_device_for_a_value(order, refresh, monkeypatch):
    """On tensors that have no values, any look at one (.item(), bool(), nonzero(), a boolean index) is an error."""
    model = model_of(2).to("meta")
    layout = model.config.layout
    own = {"order": order} | ({"remask": "cap", "remask_rate": 0.2} if order == "ancestral" else {"guidance": 1.0})
    if order == "first-hitting" and refresh > 1:
        own = {"order": order, "guidance": 0}  # guided, it is refused
    names = {"image": own, "report": own | {"order": "left" if order == "halton" else order}}
    settings = SETTINGS.with_overrides({f"{m}.{key}": value for m, values in names.items() for key, value in values.items()})
    settings = settings.with_overrides({"cache.refresh": refresh})
    vacant = Canvas.blank(layout, 2).masked
    # The one look that there is, at how many are left, is a round late on a GPU; see `Countdown`.
    monkeypatch.setattr(decoder.Countdown, "finished", lambda self, canvas, modalities: False)
    monkeypatch.setattr(decoder, "refuse_non_finite", lambda flags: None)  # asks after the last round, whether all were numbers
    canvas, passes = decoder._masked_diffusion(
        model, Canvas.blank(layout, 2, "meta"), vacant, settings, [1, 2], Ending(end=3, padding=4)
    )
    assert canvas.tokens.device.type == "meta"
    assert len(passes) >= 5


def test_a_look_at_the_device_is_noticed(monkeypatch):
    honest = decoder.step
    monkeypatch.setattr(decoder, "step", lambda canvas, *a: honest(canvas, *a) if canvas.masked.any() else canvas)
    with pytest.raises(RuntimeError):
        test_the_loop_never_asks_the_device_for_a_value("random", 1, monkeypatch)
