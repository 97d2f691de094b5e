"""Reports to ids and back, with the backbone's own tokenizer or a small BPE trained on the data set's reports."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from medim.common.errors import UserError, foreign
from medim.common.files import HEAD, hash_of, read_mapping, stand_in, write_json
from medim.common.json_lines import BOM

END, PADDING = "<eos>", "<pad>"
OPENING = "report_tokenizer.json"  # beside a tokenizer whose reports open with BOS: `{"opening": "<s>"}`
_FILES = ("tokenizer", "special_tokens", "added_tokens", "vocab", "merges", "spiece")
"""How the names of a tokenizer's files begin."""


class ReportTokenizer:
    """A report as `report_length` ids: its tokens, EOS, then padding.
    The end is part of the sequence, so a model learns how long a report is; text after the first EOS is dropped. `opening` is
    BOS where a report is written as BOS, its tokens and padding, whose first id is then its `end`; else nothing."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, report_length: int, opens: bool = False) -> None:
        needed = {"EOS": tokenizer.eos_token_id} | (
            {"BOS": tokenizer.bos_token_id, "padding": tokenizer.pad_token_id} if opens else {}
        )
        for name, index in needed.items():
            if index is None:
                raise UserError(f"report tokenizer {tokenizer.name_or_path!r} has no {name} token")
        self.tokenizer = tokenizer
        self.report_length = report_length
        self.opening: list[int] = [tokenizer.bos_token_id] if opens else []
        self.end: int = tokenizer.pad_token_id if opens else tokenizer.eos_token_id
        self.padding: int = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else self.end

    @classmethod
    def train(cls, reports: Iterable[str], size: int, report_length: int) -> "ReportTokenizer":
        """A byte-level BPE of at most `size` ids (Sennrich et al. 2016, arXiv 1508.07909)."""
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=size,
            special_tokens=[PADDING, END],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        tokenizer.train_from_iterator(reports, trainer)
        fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, pad_token=PADDING)
        return cls(fast, report_length)

    @property
    def size(self) -> int:
        """Number of ids."""
        return len(self.tokenizer)

    @property
    def fingerprint(self) -> str:
        """Hash of the vocabulary and its rules."""
        return hash_of([self.tokenizer.backend_tokenizer.to_str(), self.end, self.padding, *self.opening])

    @property
    def vocabulary(self) -> str:
        """Hash of what each id means: a model reads and writes by it alone, and no version of a library changes it."""
        return hash_of([sorted(self.tokenizer.get_vocab().items()), self.end, self.padding, *self.opening])

    def refuse_beyond(self, rows: int, what: str) -> None:
        """`rows`: text ids that the model knows: it has an embedding row for each. `what`: names the model in the error. Raises
        UserError: an id that a report may hold is none of them. Special tokens other than end and padding hold none."""
        special = set(self.tokenizer.all_special_ids) | {
            index for index, token in self.tokenizer.added_tokens_decoder.items() if token.special
        }
        used = {token: index for token, index in self.tokenizer.get_vocab().items() if index not in special}
        used |= {"its end": self.end, "its padding": self.padding}
        beyond = sorted((index, token) for token, index in used.items() if index >= rows)
        if beyond:
            raise UserError(
                f"{what} knows {rows} text ids, and its tokenizer has {self.size}: {beyond[0][1]!r} is id {beyond[0][0]}. "
                "Tokens were added without resizing the embedding (resize_token_embeddings), or it is another model's tokenizer"
            )

    def ids(self, report: str) -> list[int]:
        """Ids of the whole text, however long, after the opening and without the end; of an empty text none."""
        return [*self.opening, *self.tokenizer(report, add_special_tokens=False)["input_ids"]] if report else []

    def fits(self, report: str) -> bool:
        """Whether the report and its EOS fit into the canvas."""
        return len(self.ids(report)) < self.report_length

    def encode(self, reports: Sequence[str]) -> torch.Tensor:
        """Ids of shape (B, report_length). A report that does not fit keeps its beginning and has no EOS (see `fits`)."""
        rows = torch.full((len(reports), self.report_length), self.padding)
        for row, report in zip(rows, reports, strict=True):
            ids = [*(self.ids(report) or self.opening), self.end][: self.report_length]
            row[: len(ids)] = torch.tensor(ids, dtype=torch.long)
        return rows

    def lengths(self, rows: torch.Tensor) -> torch.Tensor:
        """Real tokens plus EOS, where it is no padding, of each row of ids (B, report_length); shape (B,)."""
        ends = (rows == self.end).int()
        first = ends.argmax(dim=1) + (0 if self.opening else 1)
        return torch.where(ends.any(dim=1), first, torch.full_like(first, rows.shape[1]))

    def decode(self, rows: torch.Tensor) -> list[str]:
        """Texts up to the first EOS, special tokens dropped."""
        lengths = self.lengths(rows)
        kept = [
            [token for token in row[:length].tolist() if token not in (self.end, self.padding)]
            for row, length in zip(rows, lengths, strict=True)
        ]
        return [self.tokenizer.decode(ids, skip_special_tokens=True).strip() for ids in kept]

    def save_pretrained(self, folder: str | Path) -> None:
        self.tokenizer.save_pretrained(str(folder))
        if self.opening:
            write_json(Path(folder) / OPENING, {"opening": self.tokenizer.bos_token})

    @classmethod
    def from_pretrained(cls, folder: str | Path, report_length: int) -> "ReportTokenizer":
        """Reads what `save_pretrained` wrote. Raises UserError: its files are missing or damaged."""
        tokenizer, file = open_tokenizer(folder, f"report tokenizer in '{folder}'"), Path(folder) / OPENING
        opens = file.is_file()
        if opens and read_mapping(file) != {"opening": tokenizer.bos_token}:
            raise UserError(f"'{file}': reports open with the tokenizer's BOS, {tokenizer.bos_token!r}, and nothing else")
        return cls(tokenizer, report_length, opens)


def open_tokenizer(source: str | Path, what: str, **options: Any) -> PreTrainedTokenizerBase:
    """A tokenizer from a folder or a hub id, by transformers. `what`: names it in errors. `options`: of
    `AutoTokenizer.from_pretrained`. Raises UserError: it cannot be had, or a file of it is damaged; the line names the file
    where it is known."""
    for path in sorted(Path(source).glob("*")) if Path(source).is_dir() else ():
        if path.is_file() and path.name.startswith(_FILES):
            with path.open("rb") as stream:
                head = stream.read(HEAD)
            if reason := stand_in(head):
                raise UserError(f"'{path}' {reason}")
            if path.suffix == ".json" and head.startswith(BOM):
                raise UserError(f"'{path}' begins with a byte order mark, with which no tokenizer is read: save it without one")
    with foreign(f"{what} cannot be read"):
        tokenizer = AutoTokenizer.from_pretrained(str(source), **options)
    return tokenizer
