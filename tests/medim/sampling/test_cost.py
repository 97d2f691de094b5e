"""Operations counted from shapes are those that run."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from medim.canvas import Canvas
from medim.denoiser import MeDiMConfig, MeDiMModel
from medim.sampling.cost import Cost, active_tokens
from medim.sampling.decoder import decode, from_the_left
from medim.sampling.forward import Pass
from medim.sampling.settings import SamplerSettings

SHAPE = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 20}
LANGUAGE = SHAPE | {"num_key_value_heads": 2, "head_dim": 16}
FIELDS = {"text_vocabulary": 18, "image_codes": 8, "image_length": 9, "report_length": 12}
ROUNDS = SamplerSettings().with_overrides(
    {"image.steps": 4, "report.steps": 5, "image.guidance": 1.0, "report.order": "margin"}
)


def model_of(family: str, tied: bool = True, **fields) -> MeDiMModel:
    torch.manual_seed(0)
    shape = SHAPE if family in ("dit", "unidisc") else LANGUAGE
    backbone = {"model_type": family, **shape, "tie_word_embeddings": tied}
    return MeDiMModel(MeDiMConfig(backbone=backbone, **FIELDS, **fields)).eval()


def counted(run) -> int:
    """Operations of the matrix products that `run` makes, those of rotary angles apart: they are of no weight."""
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):  # the fused kernel is not counted on a CPU
        run()
    modules = counter.get_flop_counts()
    rotary = sum(sum(ops.values()) for name, ops in modules.items() if name.endswith("RotaryEmbedding"))
    return counter.get_total_flops() - rotary


@pytest.mark.parametrize("timestep", ["adaln", "additive", "none"])
@pytest.mark.parametrize(
    ("family", "tied"), [("llama", True), ("llama", False), ("qwen3", True), ("gemma", True), ("dit", True), ("unidisc", True)]
)
def test_a_forward_takes_what_its_shapes_say(family, tied, timestep):
    model = model_of(family, tied, timestep=timestep)
    canvas = Canvas.blank(model.config.layout, 3)
    select = torch.zeros_like(canvas.given)
    select[:, model.config.layout.image.start] = select[:2, model.config.layout.report] = True
    one = Pass(rows=3, guided=0, queries=23, keys=23, image_logits=3, report_logits=24)
    layout, t = model.config.layout, canvas.masked_fraction()
    clean = layout.join(*(torch.zeros(3, n, dtype=torch.long) for n in (layout.image_length, layout.report_length)))
    assert Cost.of(model).of_pass(one) == counted(lambda: model(canvas.tokens, t, select, clean, 1 - t, t))


@pytest.mark.parametrize("family", ["llama", "dit", "unidisc"])
def test_a_trajectory_takes_what_its_passes_say(family):
    """Guidance's second rows and logits at the places that a round looks at included."""
    model, done = model_of(family), []
    canvas = Canvas.blank(model.config.layout, 4)
    flops = counted(lambda: done.append(decode(model, canvas, ROUNDS, range(4))))
    assert any(one.guided for one in done[0].passes)
    assert Cost.of(model).of_passes(done[0].passes) == flops
    assert active_tokens(done[0].passes) == 23 * sum(one.rows for one in done[0].passes)


def test_positions_from_the_cache_cost_nothing():
    model, done = model_of("llama"), []
    settings = ROUNDS.with_overrides({"cache.refresh": 3, "image.order": "random", "report.order": "random"})
    canvas = Canvas.blank(model.config.layout, 4)
    flops = counted(lambda: done.append(decode(model, canvas, settings, range(4))))
    passes = done[0].passes
    assert min(one.queries for one in passes) < 23
    assert active_tokens(passes) < 23 * sum(one.rows for one in passes)
    assert abs(flops - Cost.of(model).of_passes(passes)) < 0.01 * flops  # angles of the cached path are no module's own


def test_an_autoregressive_model_is_counted_too():
    model, done = model_of("llama", objective="autoregressive"), []
    canvas = Canvas.blank(model.config.layout, 2)
    flops = counted(lambda: done.append(from_the_left(model, canvas, SamplerSettings(), [0, 1])))
    assert Cost.of(model).of_passes(done[0][1]) == flops
