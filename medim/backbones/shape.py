"""What may stand in a backbone's configuration, whoever wrote it."""

import math
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from medim.declared import shown

Count = Annotated[int, Field(gt=0, le=2**20)]
_DEEPEST = 8


class Shape(BaseModel):
    """What shapes a backbone of any family; its other fields are transformers' own, which checks their types."""

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
    dtype: Literal["float32", "float16", "bfloat16"] | None = None
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
    def _numbers_are_plain(self) -> Self:
        for key, value in (self.model_extra or {}).items():
            if not _is_plain(value, key.endswith("_token_id")):
                raise ValueError(
                    f"field '{key}': finite numbers that are not negative are needed, at most {_DEEPEST} deep "
                    f"(given: {shown(value)})"
                )
        return self


def _is_plain(value: Any, negative: bool, depth: int = 0) -> bool:
    if isinstance(value, int | float):
        return math.isfinite(value) and (negative or value >= 0) and abs(value) < 1e18
    if isinstance(value, dict | list):
        parts = value.values() if isinstance(value, dict) else value
        return depth < _DEEPEST and all(_is_plain(part, negative, depth + 1) for part in parts)
    return True
