"""A transformers VisionEncoderDecoder (ViT and GPT-2, from scratch) as a downstream model."""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from medim.backbones.backbone import CACHE
from medim.common.errors import UserError, unknown
from tasks.downstream.beam import beam_search
from tasks.downstream.fitting import Recipe
from tasks.downstream.network import ReportNetwork, after_begin, cut, token_loss
from tasks.downstream.report_model import ReportModel


@dataclass(frozen=True)
class Preset:
    """A configuration.

    Attributes:
        side, patch: of the images and of the ViT's patches, in pixels.
        width, heads: of encoder and decoder; `layers` of the encoder, `decoder_layers` of the decoder.
        threshold: occurrences of a word that is known; `longest`: tokens of a report, its end included.
    """

    side: int
    patch: int
    width: int
    heads: int
    layers: int
    decoder_layers: int
    dropout: float
    beams: int
    threshold: int
    longest: int
    recipe: Recipe


PRESETS = {
    "ved": Preset(
        side=224, patch=16, width=768, heads=12, layers=12, decoder_layers=6, dropout=0.1, beams=3, threshold=3, longest=100,
        recipe=Recipe(batch_size=32, learning_rate=1e-4, visual_learning_rate=1e-4, weight_decay=0.05, autocast=True),
    ),
    "ved-tiny": Preset(
        side=64, patch=8, width=64, heads=4, layers=3, decoder_layers=2, dropout=0.0, beams=3, threshold=3, longest=128,
        recipe=Recipe(learning_rate=2e-3, visual_learning_rate=2e-3),
    ),
}  # fmt: skip


class VisionEncoderDecoderNetwork(ReportNetwork):
    """`transformers.VisionEncoderDecoderModel` of a configuration, with random weights.

    Args:
        size: number of ids, the end's among them.
    """

    def __init__(self, preset: Preset, size: int) -> None:
        super().__init__()
        from transformers import GPT2Config, VisionEncoderDecoderConfig, VisionEncoderDecoderModel, ViTConfig

        encoder = ViTConfig(
            image_size=preset.side, patch_size=preset.patch, hidden_size=preset.width, num_hidden_layers=preset.layers,
            num_attention_heads=preset.heads, intermediate_size=4 * preset.width, hidden_dropout_prob=preset.dropout,
            attention_probs_dropout_prob=preset.dropout,
        )  # fmt: skip
        decoder = GPT2Config(
            vocab_size=size, n_positions=preset.longest + 1, n_embd=preset.width, n_layer=preset.decoder_layers,
            n_head=preset.heads, resid_pdrop=preset.dropout, embd_pdrop=preset.dropout, attn_pdrop=preset.dropout,
            bos_token_id=0, eos_token_id=0, add_cross_attention=True,
        )  # fmt: skip
        self.preset = preset
        config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
        self.model = VisionEncoderDecoderModel(config)
        self.visual: nn.Module = self.model.encoder

    def loss(self, images: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        targets = cut(targets)
        source = self.model.encoder(pixel_values=images).last_hidden_state
        read = self.model.decoder(input_ids=after_begin(targets), encoder_hidden_states=source, use_cache=False)
        return token_loss(read.logits, targets)

    def write(self, images: torch.Tensor) -> list[list[int]]:
        """By beam search; `<unk>`, the last id, is never written."""
        writing = Writing(self.model, images)
        return beam_search(writing, len(images), self.preset.beams, self.preset.longest, images.device)


class Writing:
    """Texts being written (`beam.Stepping`), with transformers' cache of keys and values."""

    def __init__(self, model: Any, images: torch.Tensor) -> None:
        from transformers import DynamicCache, EncoderDecoderCache

        self.model = model
        self.source = model.encoder(pixel_values=images).last_hidden_state
        self.cache = EncoderDecoderCache(DynamicCache(), DynamicCache())

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        output = self.model.decoder(
            input_ids=tokens[:, None], encoder_hidden_states=self.source, use_cache=True, **{CACHE: self.cache}
        )
        logits = output.logits[:, -1].float()
        logits[:, -1] = float("-inf")
        return logits.log_softmax(-1)

    def select(self, rows: torch.Tensor) -> None:
        self.source = self.source[rows]
        self.cache.reorder_cache(rows)  # type: ignore[arg-type]  # typed as a class that nothing is an instance of


class VisionEncoderDecoder(ReportModel):
    """ViT and GPT-2 with cross-attention (Li et al. 2021, TrOCR's form), from scratch."""

    def __init__(self, name: str, preset: Preset, device: str) -> None:
        super().__init__(name, preset.side, preset.recipe, device, preset.threshold, preset.longest)
        self.preset = preset

    @classmethod
    def of(cls, name: str, argument: str | None, device: str) -> "VisionEncoderDecoder":
        """The preset of a name; there is no argument."""
        if name not in PRESETS:
            raise unknown("preset of the vision encoder-decoder", name, PRESETS)
        if argument is not None:
            raise UserError(f"downstream model '{name}' takes no argument, not '{argument}'")
        return cls(name, PRESETS[name], device)

    def describe(self) -> dict[str, Any]:
        sizes = {key: value for key, value in asdict(self.preset).items() if key not in ("recipe", "side")}
        return {"architecture": "VisionEncoderDecoder", **sizes}

    def build(self, size: int) -> VisionEncoderDecoderNetwork:
        return VisionEncoderDecoderNetwork(self.preset, size)
