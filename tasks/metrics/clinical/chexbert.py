"""CheXbert (Smit et al. 2020): the published labeller of chest X-ray reports, from local weights.

A BERT of the base size with one linear head for each of the 14 observations on its first token: 13 of four classes (blank,
positive, negative, uncertain), `No Finding` of two. Nothing is downloaded: the checkpoint and BERT's vocabulary are two files
of one folder, given by path, by MEDIM_CHEXBERT, or as `chexbert` in the folder of MEDIM_BENCH_WEIGHTS.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn
from transformers import BertModel, BertTokenizer

from medim.common.errors import UserError, named
from medim.weights.bert import bert_of
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
    what = f"CheXbert: '{path}' is not of its layout"
    encoder, heads = (
        {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
        for prefix in ("bert.", "linear_heads.")
    )
    bert = bert_of(encoder, what)
    with torch.device("meta"):
        linear = nn.ModuleList(nn.Linear(bert.config.hidden_size, classes) for classes in CLASSES)
    fill(linear, heads, f"{what}: linear_heads", assign=True)
    return bert, linear.float().requires_grad_(False)
