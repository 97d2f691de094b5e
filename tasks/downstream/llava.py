"""A small LLaVA (Liu et al. 2023, arXiv 2304.08485): projected patch features stand before a causal language model's text."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from medim.backbones.causal_lm import load_pretrained, load_tokenizer
from medim.common.errors import UserError
from medim.common.files import hash_files
from tasks.adapters.adapter import folder_fingerprint
from tasks.downstream.contract import Example
from tasks.downstream.report_models import (
    END,
    ReportModel,
    ReportNetwork,
    WordTokenizer,
    after_begin,
    cut,
    generate_options,
    padded,
    token_loss,
    until_end,
)
from tasks.downstream.training_loop import Recipe
from tasks.downstream.visual import open_visual

PROMPT = "Write the report of this image."


@dataclass(frozen=True)
class Preset:
    side: int
    visual: str  # as of `visual.open_visual`, with its width; `frozen` where it is not trained, as in LLaVA
    visual_width: int
    frozen: bool
    # width, heads, layers: of the language model from scratch, where none is given
    width: int
    heads: int
    layers: int
    # threshold, longest: of the words of a model from scratch; tokens of a report, its end included
    threshold: int
    longest: int
    beams: int
    recipe: Recipe


BASE_RECIPE = Recipe(batch_size=16, learning_rate=1e-4, visual_learning_rate=1e-4, autocast=True)
TINY_RECIPE = Recipe(learning_rate=2e-3, visual_learning_rate=2e-3)
PRESETS = {
    "llava": Preset(224, "efficientnet-lite0", 0, True, 0, 0, 0, threshold=0, longest=128, beams=3, recipe=BASE_RECIPE),
    "llava-tiny": Preset(64, "convolutions", 16, False, 64, 4, 3, threshold=3, longest=128, beams=3, recipe=TINY_RECIPE),
}


class LanguageModelTokenizer:
    """The tokenizer of a given language model in the terms of `WordTokenizer`: its id i is i + 1, and 0 is the end."""

    def __init__(self, tokenizer: Any, longest: int) -> None:
        self.tokenizer, self.longest = tokenizer, longest

    def encode(self, reports: Sequence[str]) -> torch.Tensor:
        """Ids (N, T) as of `report_models.padded`."""
        rows = [self.tokenizer(" ".join(report.split()), add_special_tokens=False).input_ids for report in reports]
        return padded([[number + 1 for number in row] for row in rows], self.longest)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids without the end."""
        return str(self.tokenizer.decode([number - 1 for number in ids], skip_special_tokens=True)).strip()


class LlavaNetwork(ReportNetwork):
    """[projected patches; prompt; text] through a causal language model.
    The projector is a two-layer perceptron with GELU (LLaVA 1.5, arXiv 2310.03744); only the text is learned. Projector and
    language model are trained together, in one stage.
    `language_model`: a transformers causal LM; its id i is i + 1 here, `end` its end of text.
    `prompt`: its ids of what stands between image and text.
    `unknown`: its id of `<unk>`, which is never written; None where there is none."""

    def __init__(self, preset: Preset, language_model: Any, end: int, prompt: Sequence[int], unknown: int | None) -> None:
        super().__init__()
        self.preset, self.end, self.unknown, self.language_model = preset, end, unknown, language_model
        self.visual = open_visual(preset.visual, preset.visual_width, None).requires_grad_(not preset.frozen)
        features, width = int(self.visual.features), language_model.config.hidden_size  # type: ignore[arg-type]
        self.projector = nn.Sequential(nn.Linear(features, width), nn.GELU(), nn.Linear(width, width))
        self.register_buffer("prompt", torch.tensor(prompt, dtype=torch.long), persistent=False)

    def rows(self, images: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        """Embeddings (B, P + prompt + T, D) of images (B, 3, S, S), the prompt and our ids (B, T)."""
        embed = self.language_model.get_input_embeddings()
        patches = self.projector(self.visual(images))
        prompt = embed(self.prompt).expand(len(images), -1, -1)
        text = embed(torch.where(ids == END, self.end, ids - 1))
        return torch.cat([patches, prompt.to(patches.dtype), text.to(patches.dtype)], 1)

    def loss(self, images: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        targets = cut(targets)
        rows = self.rows(images, after_begin(targets))
        hidden = self.language_model.base_model(inputs_embeds=rows, use_cache=False).last_hidden_state
        logits = self.language_model.get_output_embeddings()(hidden[:, -targets.shape[1] :])
        return token_loss(self.ours(logits), targets)

    def ours(self, logits: torch.Tensor) -> torch.Tensor:
        """Logits of our ids from those of the language model's: the end comes first, and is barred at its old place."""
        barred = torch.zeros(logits.shape[-1], dtype=torch.bool, device=logits.device)
        barred[self.end] = True
        return torch.cat([logits[..., self.end, None], logits.masked_fill(barred, float("-inf"))], -1)

    def write(self, images: torch.Tensor) -> list[list[int]]:
        """By beam search without a penalty on length."""
        begin = torch.full((len(images), 1), END, device=images.device)
        options = generate_options(self.preset.beams, self.preset.longest)
        options |= {"eos_token_id": self.end, "pad_token_id": self.end}
        if self.unknown is not None:
            options["suppress_tokens"] = [self.unknown]
        rows = self.rows(images, begin)
        attended = torch.ones(rows.shape[:2], dtype=torch.long, device=images.device)
        written = self.language_model.generate(inputs_embeds=rows, attention_mask=attended, **options)
        return [list(until_end(row)) for row in torch.where(written == self.end, END, written + 1).tolist()]


class Llava(ReportModel):
    """A small LLaVA. `language_model`: folder, GGUF file or hub id of a causal language model such as SmolLM2; None: a small
    Llama over the training reports' words, from scratch, where the preset has sizes for it."""

    def __init__(self, name: str, preset: Preset, language_model: str | None, device: str) -> None:
        super().__init__(name, preset.side, preset.recipe, device, preset.threshold, preset.longest)
        self.preset, self.language_model = preset, language_model
        if language_model is None and not preset.layers:
            raise UserError(f"downstream model '{name}' needs a language model: {name}:FOLDER, such as SmolLM2's")

    def describe(self) -> dict[str, Any]:
        sizes = {key: value for key, value in asdict(self.preset).items() if key not in ("recipe", "side")}
        start = "scratch" if self.language_model is None else _fingerprint(self.language_model)
        return {"architecture": "LLaVA", "language_model": start, "prompt": PROMPT, **sizes}

    def read(self, train: Sequence[Example], validation: Sequence[Example]) -> dict[str, Any]:
        if self.language_model is None:
            return super().read(train, validation)
        self.refuse_without_reports([*train, *validation])
        return {}

    def tokenizer(self, known: Mapping[str, Any]) -> WordTokenizer | LanguageModelTokenizer:
        if self.language_model is None:
            return WordTokenizer(**known)
        return LanguageModelTokenizer(load_tokenizer(self.language_model), self.longest)

    def network(self, known: Mapping[str, Any]) -> LlavaNetwork:
        if self.language_model is None:
            return self.build(WordTokenizer(**known).size)
        tokenizer = load_tokenizer(self.language_model)
        prompt = tokenizer(PROMPT, add_special_tokens=False).input_ids
        return LlavaNetwork(self.preset, load_pretrained(self.language_model), tokenizer.eos_token_id, prompt, None)

    def build(self, size: int) -> LlavaNetwork:
        """Around a Llama of random weights over V = `size` - 1 words and the end, its last id; `<unk>` is the last word."""
        width, end = self.preset.width, size - 1
        config = LlamaConfig(
            vocab_size=size,
            hidden_size=width,
            intermediate_size=4 * width,
            num_hidden_layers=self.preset.layers,
            num_attention_heads=self.preset.heads,
            max_position_embeddings=1024,
            bos_token_id=end,
            eos_token_id=end,
            tie_word_embeddings=True,
        )
        return LlavaNetwork(self.preset, LlamaForCausalLM(config), end, [], end - 1)


def _fingerprint(source: str) -> str:
    """Hash of a language model's files; of one on the hub, its id."""
    path = Path(source)
    if path.is_dir():
        single = sorted(path.glob("*.gguf"))
        return hash_files(*single) if single else folder_fingerprint(path)
    return hash_files(path) if path.is_file() else source
