"""A small LLaVA as a downstream model: patch features, projected, stand before the text of a causal language model."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from medim.backbones.backbone import CACHE
from medim.backbones.causal_lm import load_pretrained, load_tokenizer
from medim.common.errors import UserError, unknown
from medim.common.files import hash_files
from tasks.adapters.adapter import folder_fingerprint
from tasks.downstream.beam import beam_search
from tasks.downstream.contract import Example
from tasks.downstream.fitting import Recipe
from tasks.downstream.network import ReportNetwork, after_begin, cut, token_loss
from tasks.downstream.report_model import ReportWriter
from tasks.downstream.trained import Trainable
from tasks.downstream.visual import open_visual
from tasks.downstream.words import END, WordTokenizer

PROMPT = "Write the report of this image."


@dataclass(frozen=True)
class Preset:
    """A configuration.

    Attributes:
        side: of the images in pixels.
        visual: as of `visual.open_visual`, with its width; `frozen` where it is not trained, as in LLaVA.
        width, heads, layers: of the language model from scratch, where none is given.
        threshold, longest: of the words of a model from scratch; tokens of a report, its end included.
    """

    side: int
    visual: str
    visual_width: int
    frozen: bool
    width: int
    heads: int
    layers: int
    threshold: int
    longest: int
    beams: int
    recipe: Recipe


PRESETS = {
    "llava": Preset(
        side=224, visual="efficientnet-lite0", visual_width=0, frozen=True, width=0, heads=0, layers=0, threshold=0,
        longest=128, beams=3, recipe=Recipe(batch_size=16, learning_rate=1e-4, visual_learning_rate=1e-4, autocast=True),
    ),
    "llava-tiny": Preset(
        side=64, visual="convolutions", visual_width=16, frozen=False, width=64, heads=4, layers=3, threshold=3,
        longest=128, beams=3, recipe=Recipe(learning_rate=2e-3, visual_learning_rate=2e-3),
    ),
}  # fmt: skip


class LanguageModelTokenizer:
    """A language model's own tokenizer in the terms of `WordTokenizer`: its id i is i + 1, and 0 is the end."""

    def __init__(self, tokenizer: Any, longest: int) -> None:
        self.tokenizer, self.longest = tokenizer, longest

    def encode(self, reports: Sequence[str]) -> torch.Tensor:
        """Ids (N, T), then `END` to the row's end; a report of more than `longest` tokens keeps its beginning."""
        rows = [self.tokenizer(" ".join(report.split()), add_special_tokens=False).input_ids for report in reports]
        length = min(self.longest, 1 + max(map(len, rows), default=0))
        ids = torch.full((len(rows), length), END)
        for row, values in zip(ids, rows, strict=True):
            row[: len(values)] = torch.tensor(values[:length], dtype=torch.long) + 1
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids without the end."""
        return str(self.tokenizer.decode([number - 1 for number in ids], skip_special_tokens=True)).strip()


class LlavaNetwork(ReportNetwork):
    """[projected patches; prompt; text] through a causal language model (Liu et al. 2023, arXiv 2304.08485).

    The projector is a two-layer perceptron with GELU (LLaVA 1.5, arXiv 2310.03744); only the text is learned. Projector and
    language model are trained together, in one stage.

    Args:
        language_model: a transformers causal LM; its id i is i + 1 here, `end` its end of text.
        prompt: its ids of what stands between image and text.
        unknown: our id of `<unk>`, which is never written; None where there is none.
    """

    def __init__(self, preset: Preset, language_model: Any, end: int, prompt: Sequence[int], unknown: int | None) -> None:
        super().__init__()
        self.preset, self.end, self.unknown, self.language_model = preset, end, unknown, language_model
        self.visual = open_visual(preset.visual, preset.visual_width, None).requires_grad_(not preset.frozen)
        width = language_model.config.hidden_size
        self.projector = nn.Sequential(
            nn.Linear(int(self.visual.features), width), nn.GELU(), nn.Linear(width, width)  # type: ignore[arg-type]
        )  # fmt: skip
        self.register_buffer("prompt", torch.tensor(prompt, dtype=torch.long), persistent=False)

    def own(self, ids: torch.Tensor) -> torch.Tensor:
        """The language model's ids of ours."""
        return torch.where(ids == END, self.end, ids - 1)

    def prefix(self, images: torch.Tensor) -> torch.Tensor:
        """Embeddings (B, P + prompt, D) of images (B, 3, S, S) and the prompt."""
        patches = self.projector(self.visual(images))
        prompt = self.language_model.get_input_embeddings()(self.prompt)
        return torch.cat([patches, prompt.expand(len(images), -1, -1).to(patches.dtype)], 1)

    def loss(self, images: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        targets = cut(targets)
        prefix = self.prefix(images)
        text = self.language_model.get_input_embeddings()(self.own(after_begin(targets)))
        rows = torch.cat([prefix, text.to(prefix.dtype)], 1)
        hidden = self.language_model.base_model(inputs_embeds=rows, use_cache=False).last_hidden_state
        logits = self.language_model.get_output_embeddings()(hidden[:, prefix.shape[1] :])
        return token_loss(self._ours(logits), targets)

    def write(self, images: torch.Tensor) -> list[list[int]]:
        """By beam search."""
        return beam_search(Writing(self, images), len(images), self.preset.beams, self.preset.longest, images.device)

    def _ours(self, logits: torch.Tensor) -> torch.Tensor:
        """Logits of our ids of those of the language model's: the end first, and not again at its own place."""
        barred = torch.zeros(logits.shape[-1], dtype=torch.bool, device=logits.device)
        barred[self.end] = True
        return torch.cat([logits[..., self.end, None], logits.masked_fill(barred, float("-inf"))], -1)


class Writing:
    """Texts being written (`beam.Stepping`), with transformers' cache of keys and values."""

    def __init__(self, network: LlavaNetwork, images: torch.Tensor) -> None:
        from transformers import DynamicCache

        self.network, self.cache = network, DynamicCache()
        network.language_model.base_model(inputs_embeds=network.prefix(images), use_cache=True, **{CACHE: self.cache})

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        model = self.network.language_model
        output = model(input_ids=self.network.own(tokens)[:, None], use_cache=True, **{CACHE: self.cache})
        logits = self.network._ours(output.logits[:, -1].float())
        if self.network.unknown is not None:
            logits[:, self.network.unknown] = float("-inf")
        return logits.log_softmax(-1)

    def select(self, rows: torch.Tensor) -> None:
        self.cache.reorder_cache(rows)  # type: ignore[arg-type]  # typed as a class that nothing is an instance of


class Llava(Trainable[LlavaNetwork]):
    """A small LLaVA.

    Args:
        language_model: folder, GGUF file or hub id of a causal language model such as SmolLM2; None: a small Llama over the
            training reports' words, from scratch.
    """

    def __init__(self, name: str, preset: Preset, language_model: str | None, device: str) -> None:
        super().__init__(name, preset.side, preset.recipe, device)
        self.preset, self.language_model = preset, language_model

    @classmethod
    def of(cls, name: str, argument: str | None, device: str) -> "Llava":
        """The preset of a name with a language model; `llava` needs one.

        Raises:
            UserError: there is none.
        """
        if name not in PRESETS:
            raise unknown("preset of LLaVA", name, PRESETS)
        preset = PRESETS[name]
        if argument is None and not preset.layers:
            raise UserError(f"downstream model '{name}' needs a language model: {name}:FOLDER, such as SmolLM2's")
        return cls(name, preset, argument, device)

    def describe(self) -> dict[str, Any]:
        sizes = {key: value for key, value in asdict(self.preset).items() if key not in ("recipe", "side")}
        start = "scratch" if self.language_model is None else _fingerprint(self.language_model)
        return {"architecture": "LLaVA", "language_model": start, "prompt": PROMPT, **sizes}

    def read(self, train: Sequence[Example], validation: Sequence[Example]) -> dict[str, Any]:
        for example in (*train, *validation):
            if not example.report.strip():
                raise UserError(f"{self.name}: example '{example.id}' has no report to learn from")
        if self.language_model is not None:
            return {}
        reports = (example.report for example in train)
        return WordTokenizer.train(reports, self.preset.threshold, self.preset.longest).state()

    def tokenizer(self, known: Mapping[str, Any]) -> WordTokenizer | LanguageModelTokenizer:
        """The language model's own, or words."""
        if self.language_model is None:
            return WordTokenizer(**known)
        return LanguageModelTokenizer(load_tokenizer(self.language_model), self.preset.longest)

    def targets(self, examples: Sequence[Example], known: Mapping[str, Any]) -> torch.Tensor:
        return self.tokenizer(known).encode([example.report for example in examples])

    def network(self, known: Mapping[str, Any]) -> LlavaNetwork:
        tokenizer = self.tokenizer(known)
        if isinstance(tokenizer, LanguageModelTokenizer):
            assert self.language_model is not None
            ids, own = tokenizer.tokenizer(PROMPT, add_special_tokens=False).input_ids, tokenizer.tokenizer
            return LlavaNetwork(self.preset, load_pretrained(self.language_model), own.eos_token_id, ids, None)
        return LlavaNetwork(self.preset, _small(self.preset, tokenizer.size), tokenizer.size - 1, [], tokenizer.size - 1)

    def fitted(
        self, network: LlavaNetwork, known: Mapping[str, Any], fingerprint: str, settings: Mapping[str, Any]
    ) -> ReportWriter:
        return ReportWriter(network, self.tokenizer(known), self.side, self.name, fingerprint, settings)


def _small(preset: Preset, size: int) -> Any:
    """A Llama of random weights over V = `size` - 1 words and the end, its last id."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=size, hidden_size=preset.width, intermediate_size=4 * preset.width, num_hidden_layers=preset.layers,
        num_attention_heads=preset.heads, max_position_embeddings=1024, bos_token_id=size - 1, eos_token_id=size - 1,
        tie_word_embeddings=True,
    )  # fmt: skip
    return LlamaForCausalLM(config)


def _fingerprint(source: str) -> str:
    """Hash of a language model's files; of one on the hub, its id."""
    path = Path(source)
    if path.is_dir():
        single = sorted(path.glob("*.gguf"))
        return hash_files(*single) if single else folder_fingerprint(path)
    return hash_files(path) if path.is_file() else source
