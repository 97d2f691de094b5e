r"""BERTScore (Zhang et al. 2020, arXiv:1904.09675): tokens of two texts matched greedily by their contextual embeddings.

With unit vectors x_i of the reference's tokens and y_j of the prediction's, at one layer of an encoder,

    R = \sum_i w(x_i) max_j x_i . y_j / \sum_i w(x_i)   P = \sum_j w(y_j) max_i x_i . y_j / \sum_j w(y_j)   F = 2 P R / (P + R)

The weight w is 1, or with `idf` ln((M + 1) / (n + 1)) for a token in n of M references; special tokens can be matched and weigh
nothing. With a baseline b, the score of unrelated texts, a value v becomes (v - b) / (1 - b).

Everything is read from one folder: an encoder as transformers saves it, and perhaps `bertscore.yaml` with `layer` and `idf`,
and `baseline.tsv` (LAYER,P,R,F), as the package bert-score carries it for each of its models.
"""

import csv
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict

from medim.common.declared import checked, read_mapping
from medim.common.errors import UserError, foreign
from medim.common.files import hash_files, read_text
from medim.weights.files import weight_files
from medim.weights.loading import load

NAMES = ("P", "R", "F1")
LAYERS = {
    "bert": {12: 9, 24: 18},
    "roberta": {6: 5, 12: 10, 24: 17},
    "distilbert": {6: 5},
    "xlm-roberta": {12: 9, 24: 17},
    "deberta": {12: 9, 24: 16, 48: 18},
}
"""The best layer for English by the authors' correlations, by model type and number of layers."""
_WITH_SPACE = ("roberta", "gpt2")  # a text's first word is tokenised as one that follows a space
_OFFSET = ("roberta", "xlm-roberta")  # two of their positions stand for padding
_BATCH = 64
_PAIRS = 256  # whose vectors are in memory at once


class Settings(BaseModel):
    """`bertscore.yaml`: the layer whose output is compared, from 0 (the embeddings), and whether tokens weigh by rarity."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    layer: int | None = None
    idf: bool = False


class BertScore:
    """Scores pairs of texts. `layer`, `layers`: the layer that is compared, and how many there are. `details`: for signatures.
    Raises UserError: the folder is no encoder, its best layer is not known and not stated, or `baseline.tsv` lacks it."""

    def __init__(self, folder: str | Path, device: str = "cpu") -> None:
        from transformers import AutoModel, AutoTokenizer  # lazy: start-up

        folder, self._device = Path(folder), device
        stated = folder / "bertscore.yaml"
        values = read_mapping(read_text(stated), str(stated)) if stated.is_file() else {}
        self._settings = checked(Settings, values, str(stated))
        with foreign(f"BERTScore: the tokenizer of '{folder}' cannot be opened"):
            self._tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
        options: dict[str, Any] = {"lacking": r"(^|\.)pooler\.", "without_heads": True, "local_files_only": True}
        network, _ = load(AutoModel, folder, f"BERTScore's encoder '{folder}'", **options)
        self._network = network.float().eval().to(device)
        config = self._network.config
        self.kind, self.layers = config.model_type, config.num_hidden_layers
        self.layer = self._layer(stated)
        self._longest = min(self._tokenizer.model_max_length, config.max_position_embeddings - 2 * (self.kind in _OFFSET))
        baseline = folder / "baseline.tsv"
        self._baseline = _baseline(baseline, self.layer) if baseline.is_file() else None
        read = [*weight_files(folder), *(folder / name for name in ("config.json", "tokenizer.json", "baseline.tsv"))]
        self.details: dict[str, Any] = {
            "encoder": f"{self.kind}, layer {self.layer} of {self.layers}",
            "encoder_hash": hash_files(*(file for file in read if file.is_file())),
            "weights_of_tokens": "idf of the references" if self._settings.idf else "1",
            "rescaled": self._baseline is not None,
        }

    def _layer(self, stated: Path) -> int:
        layer = self._settings.layer if self._settings.layer is not None else LAYERS.get(self.kind, {}).get(self.layers)
        if layer is None:
            raise UserError(
                f"BERTScore: the best layer of a {self.kind} of {self.layers} layers is not known: "
                f"write 'layer: N' into '{stated}'"
            )
        if not 0 <= layer <= self.layers:
            raise UserError(f"{stated}: field 'layer': {layer} is not from 0 to {self.layers}")
        return layer

    def scores(self, references: Sequence[str], hypotheses: Sequence[str | None]) -> np.ndarray:
        """P, R and F1 of each pair: float64 (N, 3); those of a missing or blank text are 0 before any rescaling."""
        pairs = [(reference, hypothesis or "") for reference, hypothesis in zip(references, hypotheses, strict=True)]
        ids = {text: self._ids(text) for pair in pairs for text in pair}
        weight = self._weight([ids[text] for text in references])
        found = np.zeros((len(pairs), 3))
        for start in range(0, len(pairs), _PAIRS):
            part = pairs[start : start + _PAIRS]
            vectors = self._vectors({text: ids[text] for pair in part for text in pair})
            for row, (x, y) in enumerate(part, start):
                if x.strip() and y.strip():
                    x_weights, y_weights = (torch.tensor([weight(one) for one in ids[text]]).double() for text in (x, y))
                    found[row] = _matched(vectors[x], x_weights, vectors[y], y_weights)
        return found if self._baseline is None else (found - self._baseline) / (1 - self._baseline)

    def _ids(self, text: str) -> list[int]:
        text = text.strip()
        text = f" {text}" if text and self.kind in _WITH_SPACE else text
        ids: list[int] = self._tokenizer(text, truncation=True, max_length=self._longest)["input_ids"]
        return ids

    def _weight(self, references: Sequence[Sequence[int]]) -> Callable[[int], float]:
        """Token id to weight."""
        if not self._settings.idf:
            special = {self._tokenizer.cls_token_id, self._tokenizer.sep_token_id}
            return lambda one: 0.0 if one in special else 1.0
        count = Counter(one for ids in references for one in set(ids))
        return partial(_rarity, count, len(references))

    @torch.no_grad()
    def _vectors(self, texts: dict[str, list[int]]) -> dict[str, torch.Tensor]:
        """Unit vectors (T, D) of the tokens of each text."""
        found: dict[str, torch.Tensor] = {}
        ordered = sorted(texts, key=lambda text: len(texts[text]))
        for start in range(0, len(ordered), _BATCH):
            part = ordered[start : start + _BATCH]
            inputs = self._tokenizer.pad({"input_ids": [texts[text] for text in part]}, return_tensors="pt").to(self._device)
            given = {"input_ids": inputs["input_ids"], "attention_mask": inputs["attention_mask"]}
            states = self._network(**given, output_hidden_states=True).hidden_states[self.layer]  # (B, T, D)
            for text, rows in zip(part, torch.nn.functional.normalize(states.double(), dim=-1).cpu(), strict=True):
                found[text] = rows[: len(texts[text])]
        return found


def _rarity(count: Counter[int], documents: int, token: int) -> float:
    return log((documents + 1) / (count[token] + 1))


def _matched(x: torch.Tensor, x_weights: torch.Tensor, y: torch.Tensor, y_weights: torch.Tensor) -> tuple[float, float, float]:
    """P, R and F1 of a reference x (T, D) and a prediction y (S, D)."""
    similar = x @ y.T  # (T, S)
    recall = float((similar.max(1).values * x_weights).sum() / x_weights.sum()) if x_weights.sum() else 0.0
    precision = float((similar.max(0).values * y_weights).sum() / y_weights.sum()) if y_weights.sum() else 0.0
    total = precision + recall
    return precision, recall, 2 * precision * recall / total if total else 0.0


def _baseline(path: Path, layer: int) -> np.ndarray:
    """P, R and F of unrelated texts at a layer."""
    for row in csv.DictReader(read_text(path).splitlines()):
        if row.get("LAYER") == str(layer):
            try:
                return np.array([float(row[name]) for name in ("P", "R", "F")])
            except (KeyError, TypeError, ValueError):
                break
    raise UserError(f"'{path}' has no row of LAYER {layer} with numbers P, R and F")
