"""A backbone from a configuration, and one of the same size as another."""

from collections.abc import Callable
from typing import Any

from transformers import AutoConfig, PretrainedConfig

from medim.backbones.adaln import Gating
from medim.backbones.backbone import Attention, Backbone, Timestep
from medim.backbones.causal_lm import FAMILIES, CausalLMBackbone
from medim.backbones.scratch import DiTConfig, ScratchBackbone, UniDiscConfig
from medim.backbones.shape import Shape
from medim.canvas import Layout
from medim.common.declared import checked
from medim.common.errors import UserError, foreign, unknown

SCRATCH = {"dit": DiTConfig, "unidisc": UniDiscConfig}
OLDER_NAMES = ("rope_theta", "rope_scaling", "torch_dtype")  # former names of fields, which transformers still reads
HEAD = 64  # dimensions of an attention head where a width is chosen


def config_of(fields: dict[str, Any], where: str = "backbone") -> PretrainedConfig:
    """A backbone's configuration from its dictionary; `model_type` names the family, `where` the source in errors.
    Raises UserError: unknown family, or an invalid field."""
    fields = dict(fields)
    family = fields.pop("model_type", None)
    if family not in (*FAMILIES, *SCRATCH):
        raise UserError(f"{where}: {unknown('backbone family', str(family), (*FAMILIES, *SCRATCH))}")
    checked(Shape, fields, where)
    with foreign(where):
        config = SCRATCH[family](**fields) if family in SCRATCH else AutoConfig.for_model(family, **fields)
    if family in SCRATCH and config.hidden_size % (4 * config.num_attention_heads):
        raise UserError(
            f"{where}: hidden_size {config.hidden_size} is no multiple of 4 times num_attention_heads, which is "
            f"{config.num_attention_heads}"
        )
    return config


def refuse_unread(fields: dict[str, Any], config: PretrainedConfig) -> None:
    """Raises UserError for a field of which `config` has no use, such as a misspelt one."""
    known = {*type(config)().to_dict(), *OLDER_NAMES}
    for field in fields:
        if field not in known:
            raise unknown(f"field of backbone {config.model_type}", field, known)


def build_backbone(
    config: PretrainedConfig, attention: Attention, timestep: Timestep, gating: Gating, layout: Layout
) -> Backbone:
    """A backbone with random weights."""
    if config.model_type in SCRATCH:
        return ScratchBackbone(config, attention, timestep, gating, layout)
    return CausalLMBackbone(config, attention, timestep, gating)


def matched(
    family: str, layers: int, vocabulary: int, target: int, count: Callable[[PretrainedConfig], int]
) -> PretrainedConfig:
    """The configuration of `family` whose model comes nearest to `target` parameters at the given depth. `family`: `dit` or
    `unidisc`. `vocabulary`: text ids. `target`: parameters of the whole model that it replaces. `count`: parameters of the
    whole model with a given backbone. Raises UserError: even the narrowest is larger than 1.25 times the target."""
    best: tuple[int, PretrainedConfig] | None = None
    for width in range(32, 16_384, 32):
        head = next(size for size in (HEAD, 32) if width % size == 0)
        ratio = 8 / 3 if family == "unidisc" else 4
        config: PretrainedConfig = SCRATCH[family](
            hidden_size=width,
            num_hidden_layers=layers,
            num_attention_heads=width // head,
            intermediate_size=max(32, 8 * round(width * ratio / 8)),
            vocab_size=vocabulary,
        )
        size = count(config)
        if best is None or abs(size - target) < abs(best[0] - target):
            best = size, config
        if size > target:
            break
    assert best is not None
    size, config = best
    # The feed-forward branch takes up what a step of the width leaves.
    per_unit = (count(_wider(config, 8)) - size) / 8
    config = _wider(config, max(32 - config.intermediate_size, 8 * round((target - size) / per_unit / 8)))
    if count(config) > 1.25 * target:
        raise UserError(f"no {family} of {layers} layers has as few as {target:,} parameters")
    return config


def _wider(config: PretrainedConfig, by: int) -> PretrainedConfig:
    fields = config.to_dict() | {"intermediate_size": config.intermediate_size + by}
    return config_of(fields)
