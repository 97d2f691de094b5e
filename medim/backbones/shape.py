"""Checks of a backbone's configuration from an untrusted file."""

import math
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from transformers.activations import ACT2FN
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from medim.common.declared import shown
from medim.common.errors import unknown

Count = Annotated[int, Field(gt=0, le=2**20)]
Dtype = Literal["float32", "float16", "bfloat16"]
ROPES = ("default", *ROPE_INIT_FUNCTIONS)
_ROPE_NUMBERS = {"rope_theta", "factor", "beta_fast", "beta_slow", "low_freq_factor", "high_freq_factor"}
_ROPE_LENGTH = "original_max_position_embeddings"
_DEEPEST = 8


def _known(name: str) -> str:
    if name not in ACT2FN:
        raise unknown("activation", name, ACT2FN)
    return name


Activation = Annotated[str, AfterValidator(_known)]


class Shape(BaseModel):
    """Fields that shape a backbone of any family; transformers checks the types of others."""

    model_config = ConfigDict(extra="allow", strict=True)

    hidden_size: Count = 1
    intermediate_size: Count = 1
    num_hidden_layers: Annotated[int, Field(gt=0, le=4096)] = 1
    num_attention_heads: Count = 1
    num_key_value_heads: Count | None = None
    head_dim: Count | None = None
    vocab_size: Annotated[int, Field(ge=0, le=2**24)] = 0
    max_position_embeddings: Annotated[int, Field(gt=0, le=2**40)] = 1
    initializer_range: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    tie_word_embeddings: bool = True
    dtype: Dtype | None = None
    torch_dtype: Dtype | None = None
    hidden_act: Activation | None = None
    hidden_activation: Activation | None = None
    attention_dropout: Annotated[float, Field(ge=0, lt=1)] | None = None
    rms_norm_eps: Annotated[float, Field(gt=0, lt=1)] | None = None
    rope_theta: Annotated[float, Field(gt=0)] | None = None
    rope_parameters: dict[str, Any] | None = None
    rope_scaling: dict[str, Any] | None = None
    pad_token_id: int | None = None
    architectures: list[str] | None = None
    name_or_path: str = Field(default="", alias="_name_or_path")
    id2label: dict[Any, Any] | None = None
    label2id: dict[Any, Any] | None = None
    problem_type: str | None = None
    transformers_version: str | None = None
    chunk_size_feed_forward: int = 0
    is_encoder_decoder: bool = False
    output_attentions: bool = False
    output_hidden_states: bool = False
    return_dict: bool = True

    @model_validator(mode="after")
    def _fields_agree(self) -> Self:
        heads, shared = self.num_attention_heads, self.num_key_value_heads
        if shared is not None and "num_attention_heads" in self.model_fields_set and heads % shared:
            raise ValueError(f"num_attention_heads {heads} is no multiple of num_key_value_heads, which is {shared}")
        if self.pad_token_id is not None and self.vocab_size and not -1 <= self.pad_token_id < self.vocab_size:
            raise ValueError(f"pad_token_id {self.pad_token_id} is no id of vocab_size {self.vocab_size}")
        for key in ("rope_parameters", "rope_scaling"):
            given = getattr(self, key) or {}
            kinds = {kind: inner for kind, inner in given.items() if isinstance(inner, dict)}  # one for each kind of attention
            for place, rope in {key: given, **{f"{key}.{kind}": inner for kind, inner in kinds.items()}}.items():
                _refuse_rope(rope, place)
        return self

    @model_validator(mode="after")
    def _numbers_are_plain(self) -> Self:
        for key, value in (self.model_extra or {}).items():
            if not _is_plain(value, key.endswith("_token_id")):
                raise ValueError(
                    f"field '{key}': finite numbers that are not negative are needed, at most {_DEEPEST} deep "
                    f"(given: {shown(value)})"
                )
        return self


def _refuse_rope(rope: dict[str, Any], place: str) -> None:
    for name in ("rope_type", "type"):
        if name in rope and rope[name] not in ROPES:
            raise unknown(f"{place}.{name}", str(rope[name]), ROPES)
    for name in (_ROPE_NUMBERS | {_ROPE_LENGTH}) & rope.keys():
        value = rope[name]
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
            raise ValueError(f"{place}.{name}: a number above 0 is needed (given: {shown(value)})")


def _is_plain(value: Any, negative: bool, depth: int = 0) -> bool:
    if isinstance(value, int | float):
        return math.isfinite(value) and (negative or value >= 0) and abs(value) < 1e18
    if isinstance(value, dict | list):
        parts = value.values() if isinstance(value, dict) else value
        return depth < _DEEPEST and all(_is_plain(part, negative, depth + 1) for part in parts)
    return True
