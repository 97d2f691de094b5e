"""Sampling from the left reads each token once, and draws what passes over the whole canvas would."""

import pytest
import torch
from transformers import DynamicCache

from medim.canvas import Canvas
from medim.denoiser import MeDiMConfig, MeDiMModel
from medim.sampling.decoder import from_the_left
from medim.sampling.settings import SamplerSettings
from medim.sampling.step import draw, noise

SHAPE = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 40, "vocab_size": 50}
WINDOW = {"sliding_window": 4, "head_dim": 8, "num_key_value_heads": 2}  # shorter than the canvas
FAMILIES = {
    "llama": {"num_key_value_heads": 2},
    "mistral": WINDOW,
    "qwen2": {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1, "num_key_value_heads": 2},
    "qwen3": {"head_dim": 8, "num_key_value_heads": 2},
    "gemma": WINDOW,
    "gemma2": {**WINDOW, "query_pre_attn_scalar": 8},
    "gemma3_text": {**WINDOW, "query_pre_attn_scalar": 8, "layer_types": ["sliding_attention", "full_attention"] * 2},
    "dit": {},
    "unidisc": {},
}
SETTINGS = SamplerSettings().with_overrides({"report.temperature": 0.7, "image.top_p": 0.9})


def model_of(family: str, **fields) -> MeDiMModel:
    torch.manual_seed(0)
    own = dict(FAMILIES[family])
    own["layer_types"] = own.get("layer_types", [])[:3] or None
    backbone = {"model_type": family, **SHAPE, **{key: value for key, value in own.items() if value is not None}}
    fields = {"image_codes": 16, "image_length": 9, "report_length": 7, "text_vocabulary": 50, **fields}
    model = MeDiMModel(MeDiMConfig(backbone=backbone, objective="autoregressive", **fields)).eval()
    if model.place is not None:
        torch.nn.init.normal_(model.place.weight, std=0.5)
    return model


@torch.no_grad()
def by_whole_passes(model: MeDiMModel, canvas: Canvas, seeds: list[int]) -> torch.Tensor:
    """The definition: each token drawn from a pass over all of the canvas."""
    layout, tokens = canvas.layout, canvas.tokens.clone()
    first = bool(canvas.masked[:, layout.image].any()) and not bool(canvas.masked[:, layout.report].any())
    uniform = noise(seeds, 1, layout.length)[0, 0]
    for modality in ("report", "image") if first else ("image", "report"):
        for place in range(layout.of(modality).start, layout.of(modality).stop):
            hidden = model.hidden(tokens, torch.zeros(len(tokens), 2), report_first=torch.full((len(tokens),), first))
            own = SETTINGS.of(modality)
            drawn, _ = draw(model.logits(hidden[:, place], modality), uniform[:, place], own.temperature, own.top_p)
            empty = tokens[:, place] == layout.vocabulary.mask
            tokens[:, place] = torch.where(empty, layout.ids(drawn, modality), tokens[:, place])
    return tokens


def canvases(model: MeDiMModel) -> list[Canvas]:
    """Nothing given, each modality given, and some tokens of both."""
    layout, generator = model.config.layout, torch.Generator().manual_seed(3)
    blank = Canvas.blank(layout, 3)
    full = layout.join(torch.randint(0, 16, (3, 9), generator=generator), torch.randint(0, 50, (3, 7), generator=generator))
    found = [blank]
    for given in (
        torch.zeros_like(blank.given).index_fill(1, torch.arange(layout.length)[layout.image], True),
        torch.zeros_like(blank.given).index_fill(1, torch.arange(layout.length)[layout.report], True),
        torch.rand(blank.given.shape, generator=generator) < 0.4,
    ):
        given = given | blank.given
        found.append(Canvas(layout, torch.where(given, full, blank.tokens), given))
    return found


@pytest.mark.parametrize("positions", ["rotary", "learned"])
@pytest.mark.parametrize("kernel", ["sdpa", "eager"])
@pytest.mark.parametrize("family", FAMILIES)
def test_it_draws_what_whole_passes_draw(family, kernel, positions):
    model = model_of(family, positions=positions)
    if kernel == "eager" and family in ("dit", "unidisc"):
        pytest.skip("has one kernel")
    model.backbone.set_kernel(kernel)
    for canvas in canvases(model):
        filled, passes = from_the_left(model, canvas, SETTINGS, [5, 6, 7])
        assert torch.equal(filled.tokens, by_whole_passes(model, canvas, [5, 6, 7]))
        assert not filled.masked.any()
        assert sum(one.queries for one in passes) == passes[-1].keys  # each position once


@pytest.mark.parametrize("cuts", [(15, 16, 17), (5, 9), (1, 2)])
@pytest.mark.parametrize("kernel", ["sdpa", "eager"])
@pytest.mark.parametrize("family", FAMILIES)
def test_pieces_of_a_sequence_give_what_it_gives_whole(family, kernel, cuts):
    model = model_of(family)
    if kernel == "eager" and family not in ("dit", "unidisc"):
        model.backbone.set_kernel(kernel)
    x = torch.randn(2, model.config.layout.length, SHAPE["hidden_size"], generator=torch.Generator().manual_seed(1))
    past = DynamicCache()
    with torch.no_grad():
        found = [model.backbone(piece, None, past=past) for piece in x.tensor_split(cuts, dim=1)]
        whole = model.backbone(x, None)
    assert (torch.cat(found, dim=1) - whole).abs().max() < 1e-5


def test_the_order_of_modalities_is_the_one_that_reads_what_is_given_first():
    model = model_of("llama")
    layout = model.config.layout
    for first, modality in ((True, "report"), (False, "image")):
        order = model.reading_order(first).tolist()
        assert sorted(order) == list(range(layout.length))
        inner = [place for place in order if layout.structure[place] == layout.vocabulary.mask]
        assert inner[0] == layout.of(modality).start
