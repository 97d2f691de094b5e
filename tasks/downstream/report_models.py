"""Report generators among the downstream models: words as ids, the loss of a text, beam search, and the trained writer."""

import re
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import torch
from PIL import Image
from torch.nn import functional as F

from medim.common.errors import UserError
from medim.imaging.images import square, to_tensor
from tasks.adapters.adapter import OneTask
from tasks.downstream.contract import Example
from tasks.downstream.trainable import Trainable
from tasks.downstream.training_loop import Learner, Recipe

END = 0  # the id of begin, end and padding alike, as in R2Gen
UNKNOWN = "<unk>"
BATCH = 64  # images that are described at once
_WORD = re.compile(r"\d+(?:\.\d+)?|\w+(?:[-/]\w+)*|[^\w\s]")
_NO_SPACE_BEFORE = re.compile(r" ([.,;:)%?!])")


class WordTokenizer:
    """Lower-case words, numbers and marks as ids 1..V; 0 begins, ends and pads. `words`: the vocabulary, `<unk>` among it.
    `longest`: tokens of a report, the end included; what is longer keeps its beginning."""

    def __init__(self, words: Sequence[str], longest: int) -> None:
        self.words, self.longest = list(words), longest
        self._ids = {word: number for number, word in enumerate(self.words, start=1)}

    @classmethod
    def train(cls, reports: Iterable[str], threshold: int, longest: int) -> "WordTokenizer":
        """The vocabulary of all words that occur at least `threshold` times, in alphabetical order, then `<unk>`.
        Raises UserError: no word occurs that often."""
        counts = Counter(word for report in reports for word in split(report))
        words = sorted(word for word, count in counts.items() if count >= threshold)
        if not words:
            raise UserError(f"no word occurs {threshold} times in the training reports: a vocabulary needs more reports")
        return cls([*words, UNKNOWN], longest)

    @property
    def size(self) -> int:
        """Number of ids: V + 1."""
        return len(self.words) + 1

    def encode(self, reports: Sequence[str]) -> torch.Tensor:
        """Ids (N, T) as of `padded`."""
        unknown = self._ids[UNKNOWN]
        return padded([[self._ids.get(word, unknown) for word in split(report)] for report in reports], self.longest)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids without the end; unknown words stay `<unk>`."""
        text = " ".join(self.words[number - 1] for number in until_end(ids))
        return _NO_SPACE_BEFORE.sub(r"\1", text).replace("( ", "(")

    def state(self) -> dict[str, Any]:
        """JSON-able arguments of the constructor."""
        return {"words": self.words, "longest": self.longest}


def split(report: str) -> list[str]:
    """Words, numbers and single marks of a text in lower case.

    >>> split("No mass; 2.5 cm follow-up.")
    ['no', 'mass', ';', '2.5', 'cm', 'follow-up', '.']
    """
    return _WORD.findall(report.lower())


def padded(rows: Sequence[Sequence[int]], longest: int) -> torch.Tensor:
    """Ids (N, T) with T at most `longest`: each row's, then `END`; every row that was not cut holds at least one `END`."""
    length = min(longest, 1 + max(map(len, rows), default=0))
    return torch.tensor([[*row[:length], *[END] * (length - len(row))] for row in rows], dtype=torch.long).reshape(
        len(rows), length
    )


def until_end(ids: Sequence[int]) -> Sequence[int]:
    """The ids before the first `END`."""
    return ids[: ids.index(END)] if END in ids else ids


def cut(targets: torch.Tensor) -> torch.Tensor:
    """Ids (B, T) without the columns that only pad."""
    return targets[:, : 1 + int((targets != END).sum(1).max())]


def after_begin(targets: torch.Tensor) -> torch.Tensor:
    """What a decoder has read before each of the targets (B, T): the begin, then the targets before it."""
    return F.pad(targets[:, :-1], (1, 0), value=END)


def token_loss(logits: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Summed -log p in nats of the targets (B, T) up to and with the first `END`, and their number, by logits (B, T, ids)."""
    wanted = torch.ones_like(targets, dtype=torch.bool)
    wanted[:, 1:] = targets[:, :-1] != END
    return F.cross_entropy(logits[wanted].float(), targets[wanted], reduction="sum"), wanted.sum()


class Stepping(Protocol):
    """What a decoder remembers of the texts so far, one row for each."""

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        """Log-probabilities (N, ids) of what follows when `tokens` (N,) are added to the N texts."""

    def select(self, rows: torch.Tensor) -> None:
        """Keeps these rows in this order; a row may occur several times."""


def beam_search(texts: Stepping, batch: int, beams: int, longest: int, device: torch.device | str = "cpu") -> list[list[int]]:
    """The most likely texts found with `beams` hypotheses for each of `batch` rows, without a penalty on length. A finished
    hypothesis stays in its beam at its score. As scores only fall, the search of a row is over when its best hypothesis has
    ended. Returns ids of each text without the end; at most `longest` with it."""
    scores = texts.step(torch.full((batch,), END, device=device))
    beams = min(beams, scores.shape[-1])
    total, tokens = scores.float().topk(beams)  # (B, K)
    texts.select(torch.arange(batch, device=device).repeat_interleave(beams))
    written, ended = tokens[..., None], tokens == END  # (B, K, T), (B, K)
    first = torch.arange(batch, device=device)[:, None] * beams
    while not bool(ended[:, 0].all()) and written.shape[-1] < longest:
        scores = texts.step(tokens.flatten()).float().unflatten(0, (batch, beams))  # (B, K, ids)
        scores = scores.masked_fill(ended[..., None], float("-inf"))
        scores[..., END] = scores[..., END].masked_fill(ended, 0.0)
        total, best = (total[..., None] + scores).flatten(1).topk(beams)
        parent, tokens = best // scores.shape[-1], best % scores.shape[-1]
        texts.select((first + parent).flatten())
        written = torch.cat([written.gather(1, parent[..., None].expand(-1, -1, written.shape[-1])), tokens[..., None]], -1)
        ended = tokens == END
    return [list(until_end(row)) for row in written[:, 0].tolist()]


def generate_options(beams: int, longest: int) -> dict[str, Any]:
    """The same search by transformers' `generate`."""
    return {
        "num_beams": beams,
        "max_new_tokens": longest,
        "length_penalty": 0.0,
        "do_sample": False,
        "renormalize_logits": True,
    }


class ReportNetwork(Learner):
    """A network that writes reports. Its targets are ids (B, T): a text, then `END` to the row's end."""

    @abstractmethod
    def write(self, images: torch.Tensor) -> list[list[int]]:
        """Ids of a report for each of the images (B, 3, S, S), without the end."""


class ReportWriter(OneTask):
    """A trained report generator: a `Generator` for report generation alone. It writes without chance. `network`: in evaluation
    mode. `side`: of the images that it is shown, in pixels."""

    modality = "report"

    def __init__(
        self, network: ReportNetwork, tokenizer: Any, side: int, name: str, fingerprint: str, settings: Mapping[str, Any]
    ) -> None:
        super().__init__(name, fingerprint, settings)
        self.network, self.tokenizer, self.side, self.resolution = network, tokenizer, side, side

    @torch.inference_mode()
    def generate_reports(self, images: Sequence[Image.Image], *, seeds: Sequence[int]) -> list[str]:
        reports: list[str] = []
        device = next(self.network.parameters()).device
        for start in range(0, len(images), BATCH):
            pixels = to_tensor([square(image, self.side) for image in images[start : start + BATCH]])
            reports += [self.tokenizer.decode(ids) for ids in self.network.write(pixels.to(device))]
        return reports


class ReportModel(Trainable[ReportNetwork]):
    """A report generator over a vocabulary of the training reports' words. `threshold`: how often a word must occur in the
    training reports to be known. `longest`: tokens of a report, the end included."""

    def __init__(self, name: str, side: int, recipe: Recipe, device: str, threshold: int, longest: int) -> None:
        super().__init__(name, side, recipe, device)
        self.threshold, self.longest = threshold, longest

    @abstractmethod
    def build(self, size: int) -> ReportNetwork:
        """The network for `size` ids, of which 0 is begin, end and padding, and the last `<unk>`."""

    def read(self, train: Sequence[Example], validation: Sequence[Example]) -> dict[str, Any]:
        self.refuse_without_reports([*train, *validation])
        return WordTokenizer.train((example.report for example in train), self.threshold, self.longest).state()

    def refuse_without_reports(self, examples: Sequence[Example]) -> None:
        for example in examples:
            if not example.report.strip():
                raise UserError(f"{self.name}: example '{example.id}' has no report to learn from")

    def tokenizer(self, known: Mapping[str, Any]) -> Any:
        """Reports to ids and back: `encode`, `decode` and `size` of `WordTokenizer`."""
        return WordTokenizer(**known)

    def targets(self, examples: Sequence[Example], known: Mapping[str, Any]) -> torch.Tensor:
        ids: torch.Tensor = self.tokenizer(known).encode([example.report for example in examples])
        return ids

    def network(self, known: Mapping[str, Any]) -> ReportNetwork:
        return self.build(self.tokenizer(known).size)

    def fitted(
        self, network: ReportNetwork, known: Mapping[str, Any], fingerprint: str, settings: Mapping[str, Any]
    ) -> ReportWriter:
        return ReportWriter(network, self.tokenizer(known), self.side, self.name, fingerprint, settings)
