"""CheXbert (Smit et al. 2020): the published labeller of chest X-ray reports, from local weights.

A BERT of the base size with one linear head for each of the 14 observations on its first token: 13 of four classes (blank,
positive, negative, uncertain), `No Finding` of two. Nothing is downloaded: the checkpoint and BERT's vocabulary are two files
of one folder, given by path, by MEDIM_CHEXBERT, or as `chexbert` in the folder of MEDIM_BENCH_WEIGHTS.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn
from transformers import BertConfig, BertModel, BertTokenizer

from medim.common.errors import UserError, named, one_line
from medim.weights.files import read_tensors
from medim.weights.loading import fill
from tasks.metrics.clinical.chest_labels import LABELS

NAME = "CheXbert"
CHECKPOINT, VOCABULARY = "chexbert.pth", "vocab.txt"
CLASSES = (4,) * 13 + (2,)
_LENGTH = 512
_BATCH = 32


class CheXbert:
    """Reads codes from reports, each different text once. `source`: the authors' checkpoint (a dict with `model_state_dict`),
    or the folder that holds it as `chexbert.pth`, with `vocab.txt` (that of bert-base-uncased) beside it. Raises UserError: a
    file is missing, or is not what it should be; the message names it."""

    name = NAME
    labels = LABELS

    def __init__(self, source: str | Path, device: str = "cpu") -> None:
        folder, checkpoint = (Path(source).parent, Path(source).name) if Path(source).is_file() else (Path(source), CHECKPOINT)
        for name in (checkpoint, VOCABULARY):
            if not (folder / name).is_file():
                raise UserError(f"CheXbert: folder '{folder}' holds no '{name}'")
        self.device = device
        self.tokenizer = BertTokenizer(str(folder / VOCABULARY), do_lower_case=True)
        state = _state(folder / checkpoint)
        self.bert, self.heads = _network(state, folder / checkpoint)
        if len(self.tokenizer) > self.bert.config.vocab_size:
            size = self.bert.config.vocab_size
            raise UserError(f"CheXbert: '{folder / VOCABULARY}' has more words than the checkpoint's {size}")
        self.bert.to(device).eval()  # type: ignore[arg-type]
        self.heads.to(device).eval()
        with (folder / checkpoint).open("rb") as stream:
            self.fingerprint = hashlib.file_digest(stream, "sha256").hexdigest()[:16]
        self._known: dict[str, tuple[int, ...]] = {"": (0,) * len(LABELS)}

    @torch.no_grad()
    def codes(self, reports: Sequence[str | None]) -> np.ndarray:
        """Codes of each report: int8 (N, 14), in the order of `LABELS`; a missing or blank report is blank throughout."""
        texts = [" ".join((report or "").split()) for report in reports]
        new = sorted({text for text in texts if text not in self._known}, key=len)
        for start in range(0, len(new), _BATCH):
            batch = new[start : start + _BATCH]
            inputs = self.tokenizer(batch, padding=True, truncation=True, max_length=_LENGTH, return_tensors="pt")
            first = self.bert(**inputs.to(self.device)).last_hidden_state[:, 0]  # (B, H)
            found = torch.stack([head(first).argmax(dim=1) for head in self.heads], dim=1)  # (B, 14)
            self._known.update(zip(batch, map(tuple, found.tolist()), strict=True))
        return np.array([self._known[text] for text in texts], dtype=np.int8).reshape(-1, len(LABELS))


def _state(path: Path) -> dict[str, torch.Tensor]:
    with named(f"CheXbert: '{path}' is no checkpoint that can be read safely"):
        state = read_tensors(path, "model_state_dict")
    return {name.removeprefix("module."): value for name, value in state.items()}  # as the authors saved it


def _network(state: Mapping[str, torch.Tensor], path: Path) -> tuple[BertModel, nn.ModuleList]:
    """BERT of the sizes that the tensors have, and the heads."""
    bert = {name.removeprefix("bert."): value for name, value in state.items() if name.startswith("bert.")}
    bert.pop("embeddings.position_ids", None)  # a buffer that older versions stored
    heads = {name.removeprefix("linear_heads."): value for name, value in state.items() if name.startswith("linear_heads.")}
    try:
        vocabulary, hidden = bert["embeddings.word_embeddings.weight"].shape
        layers = 1 + max(int(match[1]) for name in bert if (match := re.match(r"encoder\.layer\.(\d+)\.", name)))
        config = BertConfig(
            vocab_size=vocabulary,
            hidden_size=hidden,
            num_hidden_layers=layers,
            num_attention_heads=max(1, hidden // 64),
            intermediate_size=bert["encoder.layer.0.intermediate.dense.weight"].shape[0],
            max_position_embeddings=bert["embeddings.position_embeddings.weight"].shape[0],
        )
        with torch.device("meta"):  # no initialisation: it would draw from the global generator
            network = BertModel(config, add_pooling_layer="pooler.dense.weight" in bert)
            linear = nn.ModuleList(nn.Linear(hidden, classes) for classes in CLASSES)
    except (KeyError, ValueError, RuntimeError) as error:
        raise UserError(f"CheXbert: '{path}' is not of its layout: {one_line(error)}") from error
    with named(f"CheXbert: '{path}' is not of its layout"):
        fill(network, bert, "BERT", assign=True)
        fill(linear, heads, "linear_heads", assign=True)
    for name, value in network.named_buffers():
        if value.is_meta:  # positions and token types: constants
            owner, _, leaf = name.rpartition(".")
            fresh = torch.arange(config.max_position_embeddings).expand(1, -1) if leaf == "position_ids" else None
            fresh = torch.zeros(1, config.max_position_embeddings, dtype=torch.long) if fresh is None else fresh
            network.get_submodule(owner).register_buffer(leaf, fresh, persistent=False)
    return network.float().requires_grad_(False), linear.float().requires_grad_(False)
