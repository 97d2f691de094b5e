"""MMaDA's language model: LLaDA-8B (arXiv 2502.09992), a Llama without a causal mask, under its published names."""

import math
import re
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, field_validator
from torch import Tensor, nn
from transformers import LlamaConfig

from medim.backbones.causal_lm import CausalLMBackbone
from medim.common.declared import checked
from medim.common.errors import foreign
from medim.common.files import read_mapping
from medim.weights.files import read_folder
from medim.weights.loading import fill, refuse_incomplete, shapes_of

_PARTS = {
    "self_attn.q_proj": "q_proj",
    "self_attn.k_proj": "k_proj",
    "self_attn.v_proj": "v_proj",
    "self_attn.o_proj": "attn_out",
    "mlp.gate_proj": "ff_proj",
    "mlp.up_proj": "up_proj",
    "mlp.down_proj": "ff_out",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ff_norm",
}
_OUTSIDE = {"head": "ff_out", "backbone.decoder.embed_tokens": "wte", "backbone.decoder.norm": "ln_f"}
Count = Annotated[int, Field(gt=0, le=2**20)]


class Shape(BaseModel):
    """What of `config.json` shapes the network; what it cannot be built with is refused."""

    model_config = ConfigDict(extra="ignore", strict=True)

    d_model: Count
    n_heads: Count
    n_kv_heads: Count | None = None
    n_layers: Count
    mlp_hidden_size: Count
    rope_theta: Annotated[float, Field(gt=0)]
    rms_norm_eps: Annotated[float, Field(gt=0)] = 1e-5
    mask_token_id: Annotated[int, Field(ge=0)] = 126336
    num_vq_tokens: Count = 1024
    block_type: Literal["llama"] = "llama"
    activation_type: Literal["silu"] = "silu"
    layer_norm_type: Literal["rms"] = "rms"
    include_bias: Literal[False] = False
    include_qkv_bias: Literal[False] = False
    weight_tying: Literal[False] = False
    scale_logits: Literal[False] = False
    input_emb_norm: Literal[False] = False

    @field_validator("num_vq_tokens")
    @classmethod
    def _is_square(cls, count: int) -> int:
        if math.isqrt(count) ** 2 != count:
            raise ValueError("a square number is needed, of an image as high as wide")
        return count

    @property
    def side(self) -> int:
        """Codes in a row of an image."""
        return math.isqrt(self.num_vq_tokens)


def published_name(name: str) -> str:
    """What the checkpoint calls a tensor of `Network`.

    >>> published_name("backbone.decoder.layers.3.mlp.gate_proj.weight")
    'model.transformer.blocks.3.ff_proj.weight'
    """
    if match := re.fullmatch(r"backbone\.decoder\.layers\.(\d+)\.(.+)\.weight", name):
        return f"model.transformer.blocks.{match[1]}.{_PARTS[match[2]]}.weight"
    return f"model.transformer.{_OUTSIDE[name.removesuffix('.weight')]}.weight"


class Network(nn.Module):
    """Ids (B, L) to hidden states (B, L, width), and these to logits over all ids, image codes included."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.backbone = CausalLMBackbone(config, "bidirectional", "none")
        self.head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)

    def hidden(self, ids: Tensor, unseen: Tensor | None = None) -> Tensor:
        """`unseen` (B, L) is True at padding."""
        return self.backbone(self.backbone.embedding(ids), None, unseen=unseen)


def read_network(folder: Path, dtype: torch.dtype) -> tuple[Network, Shape]:
    """The network in a folder with `config.json` and weights, on the CPU. Raises UserError: a file is missing or damaged, a
    field has another value than such a model's, or a tensor is missing, has no place or another shape."""
    what, file = f"MMaDA in '{folder}'", folder / "config.json"
    shape = checked(Shape, read_mapping(file), f"'{file}'")
    tensors = read_folder(folder)
    with foreign(what), torch.device("meta"):
        config = LlamaConfig(
            vocab_size=len(tensors.get("model.transformer.wte.weight", torch.zeros(1))),
            hidden_size=shape.d_model,
            intermediate_size=shape.mlp_hidden_size,
            num_hidden_layers=shape.n_layers,
            num_attention_heads=shape.n_heads,
            num_key_value_heads=shape.n_kv_heads or shape.n_heads,
            rms_norm_eps=shape.rms_norm_eps,
            rope_parameters={"rope_type": "default", "rope_theta": shape.rope_theta},
        )
        network = Network(config)
    names = {name: published_name(name) for name in network.state_dict()}
    expected = {names[name]: tuple(value.shape) for name, value in network.state_dict().items()}
    refuse_incomplete(what, expected, shapes_of(tensors))
    fill(network, {ours: tensors[theirs] for ours, theirs in names.items()}, what, assign=True)
    network.to(dtype)
    decoder = network.backbone.decoder
    decoder.rotary_emb = type(decoder.rotary_emb)(config)  # its buffers are in no file
    return network.eval(), shape
