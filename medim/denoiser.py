"""MeDiM: a causal language model as the denoiser of an image-report diffusion (arXiv 2510.06131, section 3)."""

from dataclasses import field
from pathlib import Path
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from medim.backbones.adaln import Gating, SigmaEmbedding, TimeInput, TimestepEmbedding
from medim.backbones.backbone import Attention, Timestep
from medim.backbones.build import build_backbone, config_of
from medim.backbones.causal_lm import load_pretrained
from medim.canvas import Layout, Modality, Order
from medim.common.errors import UserError, unknown
from medim.common.files import share_weights
from medim.diffusion.objective import nelbo
from medim.diffusion.transition import Process
from medim.vocabulary import Vocabulary

Alignment = Literal["own", "shift", "released"]
Objective = Literal["diffusion", "autoregressive"]
Positions = Literal["rotary", "learned"]
FRAMEWORK_KEYS = {"attn_implementation", "auto_map", "model_type", "torch_dtype", "transformers_version", "use_cache"}
"""Keys that transformers itself writes into a config.json."""


class MeDiMConfig(PretrainedConfig):
    """Everything that shapes the model. An unknown key is an error."""

    model_type = "medim"
    # configuration of the blocks (a language model's, `dit` or `unidisc`) as a dictionary, `model_type` included
    backbone: dict = field(default_factory=dict)
    text_vocabulary: int = 0  # number of text ids that a report may use (the rows of the backbone's embedding)
    image_codes: int = 0  # size of the VQGAN codebook
    image_length: int = 0  # image tokens per image
    report_length: int = 0  # report tokens per report, EOS and padding included
    attention: str = "bidirectional"  # `bidirectional` (the paper) or `causal` (its ablation)
    order: str = "image-report"  # which modality stands first; under a causal mask it decides which one sees the other
    # `own` reads a token's logits at its own position, `shift` at the position before it, as the autoregressive head was
    # trained to, `released` an image token's at the position after it, a report token's at the one before it
    logit_alignment: str = "own"
    timestep: str = "adaln"  # `adaln` (the paper), `additive` or `none` (its ablations)
    # `diffusion`, or `autoregressive`: the same blocks under their causal mask, each token predicted from those before it (the
    # Liquid baseline). `attention`, `timestep` and `logit_alignment` do not apply then
    objective: str = "diffusion"
    # of the modulated branches: `identity` (starts as the pretrained block), `zero` (AdaLN-Zero) or `released`; see
    # `medim.backbones.adaln`
    gating: str = "identity"
    # what noise does to a token: `absorbing` (the paper), `uniform` or `hybrid`; see `medim.diffusion.transition`
    transition: str = "absorbing"
    # `rotary` leaves positions to the backbone; `learned` adds a vector for each canvas position, zero at step 0
    positions: str = "rotary"
    time_input: str = "fractions"  # the noise level of each modality, or `sigma`: one of both (`SigmaEmbedding`)
    before_report: list[int] = field(default_factory=list)  # text ids that stand clean before the report
    after_report: list[int] = field(default_factory=list)  # and behind it
    # id that attention does not see at report positions and that has no likelihood; None for none
    hidden_padding: int | None = None
    # report_tokenizer, image_tokenizer: hashes of the vocabularies (`vocabulary` of `ReportTokenizer` and `ImageTokenizer`)
    # that the model was saved with; None in checkpoints of older versions
    report_tokenizer: str | None = None
    image_tokenizer: str | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        for key in kwargs:
            if not key.startswith("_") and key not in FRAMEWORK_KEYS:
                raise unknown("model configuration key", key, MODEL_KEYS)
        for key, choices in (CHOICES | {"time_input": get_args(TimeInput)}).items():
            if getattr(self, key) not in choices:
                raise unknown(key, str(getattr(self, key)), choices)
        super().__post_init__(**kwargs)

    @property
    def layout(self) -> Layout:
        vocabulary = Vocabulary(self.text_vocabulary, self.image_codes)
        beside = tuple(self.before_report), tuple(self.after_report)
        return Layout(vocabulary, self.image_length, self.report_length, self.order, *beside)  # type: ignore[arg-type]


CHOICES: dict[str, tuple[str, ...]] = {
    "attention": get_args(Attention),
    "order": get_args(Order),
    "logit_alignment": get_args(Alignment),
    "timestep": get_args(Timestep),
    "objective": get_args(Objective),
    "gating": get_args(Gating),
    "transition": get_args(Process),
    "positions": get_args(Positions),
}
SIZES = ("text_vocabulary", "image_codes", "image_length", "report_length")
CONVENTIONS = ("time_input", "before_report", "after_report", "hidden_padding")  # of an imported model; no recipe has them
MODEL_KEYS = ("backbone", *SIZES, *CHOICES, *CONVENTIONS, "report_tokenizer", "image_tokenizer")


def embedding_scale(backbone: PretrainedConfig) -> float:
    """Factor by which a family multiplies its embeddings."""
    return backbone.hidden_size**0.5 if backbone.model_type.startswith("gemma") else 1.0


class MeDiMModel(PreTrainedModel):
    """(tokens, t) -> distribution of the clean token at each position.
    Text ids use the backbone's embedding; MASK, BOI, EOI and the image codes have the rows `added`."""

    config_class = MeDiMConfig
    base_model_prefix = "medim"
    main_input_name = "tokens"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True

    def __init__(self, config: MeDiMConfig) -> None:
        super().__init__(config)
        self.autoregressive = config.objective == "autoregressive"
        attention, timestep = ("causal", "none") if self.autoregressive else (config.attention, config.timestep)
        backbone = config_of(config.backbone)
        width = backbone.hidden_size
        vocabulary = config.layout.vocabulary
        self.backbone = build_backbone(backbone, attention, timestep, config.gating, config.layout)  # type: ignore[arg-type]
        self.added = nn.Embedding(vocabulary.size - vocabulary.text, width)
        self.image_head = nn.Linear(width, config.image_codes, bias=False)
        self.report_head = None if backbone.tie_word_embeddings else nn.Linear(width, backbone.vocab_size, bias=False)
        self._no_split_modules = [type(self.backbone.blocks[0]).__name__, "AdaLN"]  # what FSDP gathers at a time
        self.place = nn.Embedding(config.layout.length, width) if config.positions == "learned" else None
        lengths = config.image_length, config.report_length
        embedding = TimestepEmbedding(width) if config.time_input == "fractions" else SigmaEmbedding(width, lengths)
        self.time = None if timestep == "none" else embedding
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        deviation = config_of(self.config.backbone).initializer_range
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=deviation)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def post_init(self) -> None:
        super().post_init()
        self.backbone.reset_modulation()
        with torch.no_grad():
            self.added.weight *= embedding_scale(config_of(self.config.backbone))
        if self.place is not None:
            nn.init.zeros_(self.place.weight)

    @classmethod
    def from_backbone(
        cls, source: str, layers: int | None = None, image_offset: int | None = None, **fields: Any
    ) -> "MeDiMModel":
        """A denoiser that starts from a pretrained causal LM.
        `source`: hub id, folder or GGUF file.
        `layers`: first so many blocks; all where None.
        `image_offset`: id of code 0 in a backbone that knows the image codes (Liquid's 8,192 follow Gemma's text ids). Its rows
        then start the image embedding and the image head, and text ends there.
        `fields`: as in `MeDiMConfig`.
        Raises UserError: the source cannot be read, or has no `image_codes` rows from `image_offset` on."""
        pretrained = load_pretrained(source, layers)
        text = pretrained.config.vocab_size if image_offset is None else image_offset
        config = MeDiMConfig(backbone=pretrained.config.to_dict(), text_vocabulary=text, **fields)
        model = cls(config)
        model.backbone.decoder.load_state_dict(pretrained.model.state_dict())
        if model.report_head is not None:
            model.report_head.load_state_dict(pretrained.lm_head.state_dict())
        rows = pretrained.get_input_embeddings().weight
        nn.init.normal_(model.added.weight, std=float(rows.detach().std()) * embedding_scale(pretrained.config))
        if image_offset is not None:
            stop = image_offset + config.image_codes
            if stop > len(rows):
                raise UserError(
                    f"backbone '{source}' has {len(rows)} rows: no {config.image_codes} image codes from {image_offset} on"
                )
            with torch.no_grad():
                model.added.weight[-config.image_codes :] = rows[image_offset:stop] * embedding_scale(pretrained.config)
                model.image_head.weight.copy_(pretrained.get_output_embeddings().weight[image_offset:stop])
        return model

    def save_pretrained(self, save_directory: str | Path, *args: Any, **kwargs: Any) -> None:  # type: ignore[override]
        super().save_pretrained(save_directory, *args, **kwargs)
        share_weights(Path(save_directory))

    @torch.no_grad()
    def graft_codebook(self, codebook: torch.Tensor, generator: torch.Generator) -> None:
        """Starts the image rows and the image head from the codebook (codes, d), so that similar codes start similar.
        It is whitened per dimension and mapped to the model's width by a random matrix, at the scale of random rows."""
        whitened = (codebook - codebook.mean(0)) / codebook.std(0).clamp_min(1e-6)
        width = self.added.weight.shape[1]
        projection = torch.randn(codebook.shape[1], width, generator=generator) / codebook.shape[1] ** 0.5
        rows = whitened.float().cpu() @ projection
        first = self.config.layout.vocabulary.image_offset - self.config.text_vocabulary
        self.added.weight[first:] = (rows * self.added.weight.std().item()).to(self.added.weight)
        self.image_head.weight.copy_((rows * self.image_head.weight.std().item()).to(self.image_head.weight))

    def get_input_embeddings(self) -> nn.Embedding:
        return self.backbone.embedding

    def embed(self, tokens: torch.Tensor) -> torch.Tensor:
        """Ids (B, L) -> (B, L, width)."""
        text = self.config.text_vocabulary
        rows = self.get_input_embeddings()(tokens.clamp(max=text - 1))
        x = torch.where((tokens < text)[..., None], rows, self.added((tokens - text).clamp(min=0)))
        return x if self.place is None else x + self.place.weight

    def hidden(
        self, tokens: torch.Tensor, t: torch.Tensor, future: float = 1.0, report_first: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Final hidden state that the logits of each position are read from; shape (B, L, width)."""
        x = self.embed(tokens)
        if self.autoregressive:
            return self._from_the_left(x, report_first)
        x = self.backbone(x, None if self.time is None else self.time(t), future, unseen=self._unseen(tokens))
        if self.config.logit_alignment == "released":
            place = torch.arange(x.shape[1], device=x.device)
            place[self.config.layout.image] += 1
            place[self.config.layout.report] -= 1
            return x[:, place]
        # Shifted, the first position of a canvas is read at the last, which has no successor.
        return x if self.config.logit_alignment == "own" else x.roll(1, dims=1)

    def _unseen(self, tokens: torch.Tensor) -> torch.Tensor | None:
        """Positions of `hidden_padding` among those of the report, (B, L)."""
        if self.config.hidden_padding is None:
            return None
        unseen, where = torch.zeros_like(tokens, dtype=torch.bool), self.config.layout.report
        unseen[:, where] = tokens[:, where] == self.config.hidden_padding
        return unseen

    def reading_order(self, report_first: bool) -> torch.Tensor:
        """Positions of the canvas in the order in which an autoregressive model reads them, shape (L,)."""
        layout = self.config.layout
        place = torch.arange(layout.length)
        report = place[layout.report]
        rest = torch.cat([place[: layout.report.start], place[layout.report.stop :]])
        return torch.cat([report, rest] if report_first else [rest, report])

    def _from_the_left(self, x: torch.Tensor, report_first: torch.Tensor | None) -> torch.Tensor:
        """Hidden state after all tokens before each position; MASK opens the sequence."""
        opening = self.added.weight[0].expand(len(x), 1, -1)
        if report_first is None:
            return self.backbone(torch.cat([opening, x[:, :-1]], dim=1), None)
        orders = torch.stack([self.reading_order(False), self.reading_order(True)]).to(x.device)[report_first.long()]  # (B, L)
        x = x.gather(1, orders[..., None].expand_as(x))
        x = self.backbone(torch.cat([opening, x[:, :-1]], dim=1), None)
        return torch.empty_like(x).scatter(1, orders[..., None].expand_as(x), x)

    def forward(
        self,
        tokens: torch.Tensor,
        t: torch.Tensor,
        noised: torch.Tensor,
        clean: torch.Tensor,
        alpha: torch.Tensor,
        weight: torch.Tensor,
        future: float = 1.0,
        report_first: torch.Tensor | None = None,
    ) -> torch.Tensor:
        r"""The loss of each sample and modality, see `medim.diffusion.objective.nelbo`; nats of shape (B, 2).
        An autoregressive model pays -log p(x^i | tokens before i) at each of the `noised` positions: `nelbo` of masked ones.
        `tokens`: x_t, ids of shape (B, L), MASK included; x itself for an autoregressive model.
        `t`: noise level of each modality, shape (B, 2), in [0, 1].
        `noised`, `clean`, `alpha`, `weight`: as of `nelbo`.
        `future`: share of the future that a bidirectional model sees while its causal mask is annealed away, in [0, 1].
        `report_first`: where an autoregressive model reads the report before the image, shape (B,); the canvas's own order
        where None."""
        hidden, layout = self.hidden(tokens, t, future, report_first), self.config.layout
        process = self.config.transition
        if self.autoregressive:
            tokens, process = torch.full_like(tokens, layout.vocabulary.mask), "absorbing"
        return nelbo(self.logits, hidden, clean, tokens, noised, alpha, weight, layout, process)

    def logits(self, hidden: torch.Tensor, modality: Modality) -> torch.Tensor:
        """hidden (..., width) -> (..., V) over the ids of the modality."""
        if modality == "image":
            logits = self.image_head(hidden)
        elif self.report_head is None:
            logits = F.linear(hidden, self.get_input_embeddings().weight[: self.config.text_vocabulary])
        else:
            logits = self.report_head(hidden)[..., : self.config.text_vocabulary]
        cap = self.config.backbone.get("final_logit_softcapping")
        return logits if cap is None else cap * torch.tanh(logits / cap)
