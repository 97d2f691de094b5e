"""A transformers VisionEncoderDecoder (ViT and GPT-2, from scratch; TrOCR's form, Li et al. 2021) as a downstream model."""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn
from transformers import GPT2Config, VisionEncoderDecoderConfig, VisionEncoderDecoderModel, ViTConfig

from tasks.downstream.report_models import (
    END,
    ReportModel,
    ReportNetwork,
    after_begin,
    cut,
    generate_options,
    token_loss,
    until_end,
)
from tasks.downstream.training_loop import Recipe


@dataclass(frozen=True)
class Preset:
    # side, patch: of the images and of the ViT's patches, in pixels
    side: int
    patch: int
    # width, heads: of encoder and decoder; `layers` of the encoder, `decoder_layers` of the decoder
    width: int
    heads: int
    layers: int
    decoder_layers: int
    dropout: float
    beams: int
    threshold: int  # occurrences of a word that is known; `longest`: tokens of a report, its end included
    longest: int
    recipe: Recipe


BASE_RECIPE = Recipe(learning_rate=1e-4, visual_learning_rate=1e-4, weight_decay=0.05, autocast=True)
PRESETS = {
    "ved": Preset(224, 16, 768, 12, 12, 6, dropout=0.1, beams=3, threshold=3, longest=100, recipe=BASE_RECIPE),
    "ved-tiny": Preset(64, 8, 64, 4, 3, 2, 0.0, 3, 3, 128, recipe=Recipe(learning_rate=2e-3, visual_learning_rate=2e-3)),
}


class VisionEncoderDecoderNetwork(ReportNetwork):
    """`VisionEncoderDecoderModel` of a configuration, with random weights, over `size` ids, the end's among them."""

    def __init__(self, preset: Preset, size: int) -> None:
        super().__init__()
        dropout, width = preset.dropout, preset.width
        encoder = ViTConfig(
            image_size=preset.side,
            patch_size=preset.patch,
            hidden_size=width,
            num_hidden_layers=preset.layers,
            num_attention_heads=preset.heads,
            intermediate_size=4 * width,
            hidden_dropout_prob=dropout,
            attention_probs_dropout_prob=dropout,
        )
        dropouts: dict[str, Any] = {"resid_pdrop": dropout, "embd_pdrop": dropout, "attn_pdrop": dropout}
        decoder = GPT2Config(
            vocab_size=size,
            n_positions=preset.longest + 1,
            n_embd=width,
            n_layer=preset.decoder_layers,
            n_head=preset.heads,
            bos_token_id=END,
            eos_token_id=END,
            add_cross_attention=True,
            **dropouts,
        )
        self.preset, self.size = preset, size
        self.model: Any = VisionEncoderDecoderModel(VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder))
        self.visual: nn.Module = self.model.encoder

    def loss(self, images: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        targets = cut(targets)
        source = self.model.encoder(pixel_values=images).last_hidden_state
        read = self.model.decoder(input_ids=after_begin(targets), encoder_hidden_states=source, use_cache=False)
        return token_loss(read.logits, targets)

    def write(self, images: torch.Tensor) -> list[list[int]]:
        """By beam search without a penalty on length; `<unk>`, the last id, is never written."""
        source = self.model.encoder(pixel_values=images)
        every_patch = torch.ones(source.last_hidden_state.shape[:2], device=images.device)
        ids = {"decoder_start_token_id": END, "pad_token_id": END, "eos_token_id": END, "suppress_tokens": [self.size - 1]}
        options = generate_options(self.preset.beams, self.preset.longest) | ids
        written = self.model.generate(encoder_outputs=source, attention_mask=every_patch, **options)
        return [list(until_end(row)) for row in written[:, 1:].tolist()]


class VisionEncoderDecoder(ReportModel):
    """ViT and GPT-2 with cross-attention, from scratch; takes no argument."""

    def __init__(self, name: str, preset: Preset, argument: None, device: str) -> None:
        super().__init__(name, preset.side, preset.recipe, device, preset.threshold, preset.longest)
        self.preset = preset

    def describe(self) -> dict[str, Any]:
        sizes = {key: value for key, value in asdict(self.preset).items() if key not in ("recipe", "side")}
        return {"architecture": "VisionEncoderDecoder", **sizes}

    def build(self, size: int) -> VisionEncoderDecoderNetwork:
        return VisionEncoderDecoderNetwork(self.preset, size)
