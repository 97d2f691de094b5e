"""Prompts in the words of the low-data set: an opening, which names modality and region, and a condition, all equally often."""

import re
from collections.abc import Callable, Sequence

import numpy as np

from medim.data.dataset import Checker
from tasks.downstream.contract import Example

NOTHING = ""  # of a report that states no finding
_SPACE, _END = re.compile(r"\s+"), re.compile(r"(?<=[.!?])\s+")


def condition_prompts(
    examples: Sequence[Example],
    domains: Sequence[str | None],
    checker: Checker | None,
    words: int,
    seed: int,
    has_room: Callable[[str], bool] = lambda prompt: True,
) -> list[str]:
    """Prompts to be used in turn: their number is a multiple of the (domain, condition) cells, each equally often.

    A prompt is the opening sentence of a real report, and the sentence of that report that states the cell's condition, as the
    data set's checker of reports reads it. Without a checker, or where nothing is stated, it is the opening alone.

    Args:
        domains: of each example.
        checker: reads findings from sentences.
        words: most words of a prompt; longer ones lose the condition, then their end.
        seed: of the order.
        has_room: of the model's report; prompts without are left out, and cells that have no other.
    """
    cells: dict[tuple[str | None, str], list[str]] = {}
    for example, domain in zip(examples, domains, strict=True):
        sentences = _sentences(example.report)
        opening = sentences[0]
        if checker is None:
            cells.setdefault((domain, NOTHING), []).append(opening)
            continue
        stated = checker(sentences)
        found = {label: sentence for sentence, labels in zip(sentences, stated, strict=True) for label in sorted(labels)}
        if not found:
            cells.setdefault((domain, NOTHING), []).append(opening)
        for label, sentence in found.items():
            cells.setdefault((domain, label), []).append(opening if sentence == opening else f"{opening} {sentence}")
    generator = np.random.default_rng([seed, 0x70])
    distinct = {cell: _shortened(texts, words, has_room) for cell, texts in cells.items()}
    order = sorted((cell for cell in cells if distinct[cell]), key=lambda cell: (cell[0] or "", cell[1]))
    most = max((len(distinct[cell]) for cell in order), default=0)
    columns = []
    for cell in order:
        texts = distinct[cell]
        shuffled = [texts[index] for index in generator.permutation(len(texts))]
        columns.append([shuffled[turn % len(shuffled)] for turn in range(most)])
    return [column[turn] for turn in range(most) for column in columns]


def _shortened(prompts: Sequence[str], words: int, has_room: Callable[[str], bool]) -> list[str]:
    """The distinct prompts of at most so many words that have room; where there is none, the same of first sentences, cut."""
    short = {prompt for prompt in prompts if len(prompt.split()) <= words}
    cut = {" ".join(_sentences(prompt)[0].split()[:words]) for prompt in prompts}
    return sorted(filter(has_room, short)) or sorted(filter(has_room, cut))


def _sentences(report: str) -> list[str]:
    text = _SPACE.sub(" ", report).strip()
    return _END.split(text)
