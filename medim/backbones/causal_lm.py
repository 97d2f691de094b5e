"""A Hugging Face causal language model as a bidirectional backbone with time in every block."""

from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import (
    CONFIG_MAPPING,
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    Cache,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from medim.backbones.adaln import Gating, modulate
from medim.backbones.backbone import CACHE, Attention, Backbone, Timestep, also_hidden, hidden_from
from medim.backbones.shape import Shape
from medim.checkpoints import names_a_folder
from medim.common.declared import checked
from medim.common.errors import UserError, foreign, unknown
from medim.common.files import read_mapping
from medim.tokenizers.report import open_tokenizer
from medim.weights.files import refuse_adapter, refuse_damaged, whole_gguf
from medim.weights.loading import load, report_tensors

PRE_NORM = ("llama", "mistral", "qwen2", "qwen3", "gemma")
"""Families whose block is norm, attention, norm, feed-forward, each added to the residual stream."""
SANDWICH_NORM = ("gemma2", "gemma3_text")  # families that also normalise what a branch adds: the gate acts after that norm
WITH_IMAGES = "gemma3"  # a family with an image encoder, which is dropped
KERNELS = ("sdpa", "eager", "flash_attention_2", "flash_attention_3")
FAMILIES = PRE_NORM + SANDWICH_NORM
CAUSAL_LM = "causal_lm"  # folder of the plain language model inside that of an autoregressive model


class CausalLMBackbone(Backbone):
    """The decoder of a causal LM, run block by block so that attention may see both ways and time reaches each block.
    A block with a sliding window keeps it: without the causal mask it sees as far to the right as to the left."""

    def __init__(self, config: PretrainedConfig, attention: Attention, timestep: Timestep, gating: Gating = "identity") -> None:
        super().__init__(config, attention, timestep, gating)
        self.decoder = AutoModel.from_config(config)
        for layer in self.decoder.layers:
            # `forward` and not `__call__` is replaced, so that wrappers of blocks (FSDP, checkpointing) still apply.
            layer.forward = partial(_block, layer)
        self.set_kernel(self.decoder.config._attn_implementation)
        self.set_attention(attention)

    @property
    def embedding(self) -> nn.Embedding:
        return self.decoder.embed_tokens

    @property
    def blocks(self) -> nn.ModuleList:
        return self.decoder.layers

    def set_kernel(self, implementation: str) -> None:
        """Chooses one of `KERNELS`; Gemma 2, which caps its attention logits, runs `eager` for `sdpa`.
        Raises UserError: a kernel that would ignore `attention`, or whose package is missing."""
        if implementation not in KERNELS:
            raise unknown("attention kernel", implementation, KERNELS)
        capped = self.decoder.config.model_type == "gemma2" and self.decoder.config.attn_logit_softcapping is not None
        try:
            self.decoder.set_attn_implementation("eager" if capped and implementation == "sdpa" else implementation)
        except (ImportError, ValueError) as error:
            raise UserError(f"attention kernel '{implementation}': {str(error).strip().splitlines()[0]}") from error

    def set_attention(self, attention: Attention) -> None:
        """Fused attention kernels read this flag where they are given no mask; `_mask` serves the eager one."""
        self.attention = attention
        for layer in self.decoder.layers:
            layer.self_attn.is_causal = attention == "causal"

    def forward(
        self,
        embeddings: torch.Tensor,
        condition: torch.Tensor | None,
        future: float = 1.0,
        past: Cache | None = None,
        unseen: torch.Tensor | None = None,
    ) -> torch.Tensor:
        x, start = embeddings, 0 if past is None else past.get_seq_length()
        if self.timestep == "additive":
            x = x + self.add(condition)[:, None]
        kinds = self._kinds()
        positions = torch.arange(start, start + x.shape[1], device=x.device)[None]
        by_kind = self.decoder.config.model_type == "gemma3_text"  # full attention has another base
        rotaries = {kind: self.decoder.rotary_emb(x, positions, *[kind] * by_kind) for kind in set(kinds)}
        masks = {kind: self._mask(x, kind, future, start, unseen) for kind in set(kinds)}
        for index, layer in enumerate(self.decoder.layers):
            rotary, mask = rotaries[kinds[index]], masks[kinds[index]]
            modulation = self.adaln[index](condition) if self.timestep == "adaln" else None
            x = layer(x, rotary, mask, modulation, past)
        return self.modulated(self.decoder.norm(x), condition)

    def _kinds(self) -> list[str]:
        """`full_attention` or `sliding_attention` for each block."""
        config = self.decoder.config
        if config.model_type in ("qwen2", "qwen3", *SANDWICH_NORM):
            return list(config.layer_types)
        sliding = config.model_type == "mistral" and config.sliding_window is not None
        return ["sliding_attention" if sliding else "full_attention"] * config.num_hidden_layers

    def _mask(self, x: torch.Tensor, kind: str, future: float, start: int, unseen: torch.Tensor | None) -> torch.Tensor | None:
        """Additive mask (B or 1, 1, L or 1, start + L), or None where the kernel's flag and window suffice."""
        config, length, causal = self.decoder.config, start + x.shape[1], self.attention == "causal"
        kernel = config._attn_implementation
        window = config.sliding_window if kind == "sliding_attention" else length
        if kernel.startswith("flash"):
            if future < 1 and not causal:
                raise UserError(f"mask_annealing needs a mask, which {kernel} does not take: choose sdpa or eager")
            if unseen is not None:
                raise UserError(f"hidden_padding needs a mask, which {kernel} does not take: choose sdpa or eager")
            return None
        if unseen is None and causal and kernel == "sdpa" and window >= length and (start == 0 or x.shape[1] == 1):
            return None  # `is_causal` suffices; a single query needs none
        hidden = also_hidden(hidden_from(length, causal, window, future, x.device), unseen)
        if hidden is None:
            return None
        mask = torch.zeros_like(hidden, dtype=x.dtype).masked_fill(hidden, torch.finfo(x.dtype).min)
        return mask[None, None, start:] if mask.ndim == 2 else mask


def _block(
    layer: nn.Module,
    x: torch.Tensor,
    rotary: tuple[torch.Tensor, torch.Tensor],
    mask: torch.Tensor | None,
    modulation: tuple[torch.Tensor, ...] | None,
    past: Cache | None = None,
) -> torch.Tensor:
    """One block: attention, then feed-forward, each modulated and gated where there is a modulation."""
    attention_out: Any = nn.Identity()
    feed_forward_in: Any = layer.post_attention_layernorm
    feed_forward_out: Any = nn.Identity()
    if layer.self_attn.config.model_type in SANDWICH_NORM:
        attention_out, feed_forward_in = layer.post_attention_layernorm, layer.pre_feedforward_layernorm
        feed_forward_out = layer.post_feedforward_layernorm

    def attend(y: torch.Tensor) -> torch.Tensor:
        return attention_out(layer.self_attn(y, position_embeddings=rotary, attention_mask=mask, **{CACHE: past})[0])

    if modulation is None:
        x = x + attend(layer.input_layernorm(x))
        return x + feed_forward_out(layer.mlp(feed_forward_in(x)))
    shift_a, scale_a, gate_a, shift_f, scale_f, gate_f = modulation
    x = torch.addcmul(x, gate_a, attend(modulate(layer.input_layernorm(x), shift_a, scale_a)))
    y = modulate(feed_forward_in(x), shift_f, scale_f)
    return torch.addcmul(x, gate_f, feed_forward_out(layer.mlp(y)))


def _locate(source: str) -> tuple[str, dict[str, Any]]:
    """A hub id or folder, and the `gguf_file` argument where the weights are one GGUF file."""
    path = Path(source)
    if (path / CAUSAL_LM / "config.json").exists():
        return str(path / CAUSAL_LM), {}
    if path.is_file() and path.suffix == ".gguf":
        return str(path.parent), {"gguf_file": path.name}
    if path.is_file():
        refuse_damaged(path)
        raise UserError(f"backbone '{source}' is a file: give its folder, with config.json, or a file that ends in .gguf")
    if path.is_dir() and not (path / "config.json").exists():
        refuse_adapter(path)
        files = sorted(path.glob("*.gguf"))
        if len(files) != 1:
            raise UserError(f"backbone folder '{source}' holds neither config.json nor exactly one .gguf file")
        return str(path), {"gguf_file": files[0].name}
    if not path.exists() and names_a_folder(source):
        raise UserError(f"backbone: folder '{source}' does not exist; give one, a .gguf file or a hub id such as owner/name")
    return source, {}


def load_pretrained(source: str, layers: int | None = None) -> PreTrainedModel:
    """The causal LM at a hub id, folder or GGUF file, in float32, cut to its first `layers` blocks.
    Raises UserError: the source cannot be read."""
    location, options = _locate(source)
    what = f"backbone '{source}'"
    if not options:
        options["config"] = _config(source)
    model, _ = load(AutoModelForCausalLM, location, what, dtype=torch.float32, **options)
    if model.config.model_type == WITH_IMAGES:
        text = AutoModelForCausalLM.from_config(model.config.text_config)
        text.model, text.lm_head = model.model.language_model, model.lm_head
        inside = {f"model.language_model.{name}" for name in text.model.state_dict()} | {"lm_head.weight"}
        report_tensors(what, model.state_dict().keys() - inside, "left aside: of the image encoder")
        model = text
    head, rows = model.get_output_embeddings().weight, model.get_input_embeddings().weight
    if model.config.tie_word_embeddings and head is not rows and not torch.equal(head, rows):
        raise UserError(
            f"{what}: config.json ties the head to the embedding (tie_word_embeddings), but the file holds another head: "
            "set tie_word_embeddings to false"
        )
    if layers is not None:
        cut_config(model.config, layers, source)
        model.model.layers = model.model.layers[:layers]
    return model


def load_config(source: str, layers: int | None = None) -> PretrainedConfig:
    """The configuration at a hub id, folder or GGUF file, cut to its first `layers` blocks.
    Raises UserError: the source cannot be read, or has fewer layers."""
    config = _config(source)
    if config.model_type == WITH_IMAGES:
        config = config.text_config
    if layers is not None:
        cut_config(config, layers, source)
    return config


def _config(source: str) -> PretrainedConfig:
    """config.json, whose types are checked, or the head of a GGUF file."""
    location, options = _locate(source)
    if options:
        refuse_damaged(Path(location) / options["gguf_file"])
    file = Path(location) / "config.json"
    if not file.is_file():
        with foreign(f"backbone '{source}' cannot be loaded"), whole_gguf(location, options):
            return AutoConfig.from_pretrained(location, **options)
    values = read_mapping(file)
    family = values.get("model_type")
    if family not in (*FAMILIES, WITH_IMAGES):
        raise unknown(f"model_type in '{file}'", str(family), (*FAMILIES, WITH_IMAGES))
    checked(Shape, values, f"'{file}'")
    with foreign(f"'{file}'"):
        return CONFIG_MAPPING[family].from_dict(values)


def cut_config(config: PretrainedConfig, layers: int, source: str) -> None:
    """Cuts the configuration to the first `layers` blocks. Raises UserError, which names the source, where it has fewer."""
    if not 0 < layers <= config.num_hidden_layers:
        raise UserError(f"layers: {layers} requested, but '{source}' has {config.num_hidden_layers}")
    config.num_hidden_layers = layers
    if config.to_dict().get("layer_types"):
        config.layer_types = config.layer_types[:layers]


def load_tokenizer(source: str) -> PreTrainedTokenizerBase:
    """The tokenizer from the same place as the weights."""
    location, options = _locate(source)
    return open_tokenizer(location, f"tokenizer of backbone '{source}'", **options)
