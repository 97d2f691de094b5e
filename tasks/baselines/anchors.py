"""Systems that give a table its scale: real, tokenizer reconstruction, shuffled, constant, nearest neighbour, training copy.

The images of `real` and `shuffled` are the reference set itself, and those of `reconstruction` are copies of it; a distance
from it would be below what any unseen image can reach. Their distribution metrics use a *population* instead: as many training
images, of other patients, with the cases' mixture of domains (for `reconstruction`, the round trip of these).

Nearest neighbour and training copy know the training cases that a run reads for its anchors, a few for each case; the baselines
of `tasks.baselines.systems` are systems under test, and know more.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
from PIL import Image

from tasks.metrics.image.memorisation import normalised, thumbnails
from tasks.metrics.statistics.bootstrap import derangement
from tasks.protocols import Case, Cases, Prediction, Reconstructs
from tasks.task import Anchor

_WORD = re.compile(r"\w+")
_BLOCK = 1 << 16


def nearest(queries: np.ndarray, references: np.ndarray) -> list[int]:
    """For each of the queries (Q, D) the row of the reference (N, D) of largest cosine; of equal ones the first."""
    queries = _normalised(queries.astype(np.float32))
    best, rows = np.full(len(queries), -np.inf, np.float32), np.zeros(len(queries), np.int64)
    for start in range(0, len(references), _BLOCK):
        cosine = queries @ _normalised(references[start : start + _BLOCK].astype(np.float32)).T  # (Q, block)
        row = cosine.argmax(axis=1)
        value = cosine[np.arange(len(queries)), row]
        better = value > best
        best, rows = np.where(better, value, best), np.where(better, start + row, rows)
    return rows.tolist()


class TfIdf:
    """Texts as weights of their words and word pairs, and the nearest of them to another text. weight(g, text) = (1 + ln tf) ·
    (1 + ln((1 + N) / (1 + df(g)))), each text of length 1; nearness is the cosine. `texts`: N texts."""

    def __init__(self, texts: Sequence[str]) -> None:
        counted = [_grams(text) for text in texts]
        frequency = Counter(gram for grams in counted for gram in grams)
        self._texts = len(texts)
        self._rarity = {gram: 1 + math.log((1 + len(texts)) / (1 + count)) for gram, count in frequency.items()}
        postings: dict[str, tuple[list[int], list[float]]] = defaultdict(lambda: ([], []))
        for row, grams in enumerate(counted):
            for gram, weight in self._weights(grams).items():
                postings[gram][0].append(row)
                postings[gram][1].append(weight)
        self._postings = {gram: (np.array(rows), np.array(weights)) for gram, (rows, weights) in postings.items()}

    def nearest(self, text: str) -> int:
        """Number of the text of largest cosine; of equal ones the first."""
        cosine = np.zeros(self._texts)
        for gram, weight in self._weights(_grams(text)).items():
            if gram in self._postings:
                rows, weights = self._postings[gram]
                cosine[rows] += weight * weights
        return int(np.round(cosine, 12).argmax())

    def _weights(self, grams: Counter[str]) -> dict[str, float]:
        unseen = 1 + math.log(1 + self._texts)
        weights = {gram: (1 + math.log(count)) * self._rarity.get(gram, unseen) for gram, count in grams.items()}
        length = math.sqrt(sum(weight**2 for weight in weights.values()))
        return {gram: weight / length for gram, weight in weights.items()}


def _grams(text: str) -> Counter[str]:
    words = _WORD.findall(text.lower())
    return Counter([*words, *(f"{first} {second}" for first, second in pairwise(words))])


def _normalised(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


NEIGHBOUR, COPY = "nearest neighbour", "training copy"
_BATCH = 64
_THUMBNAIL = 16


def anchors_of(
    cases: Cases, train: Cases, reconstructs: Reconstructs | None, seed: int, *, images: bool, reports: bool
) -> list[Anchor]:
    """The anchors of a task on images, reports or both.

    A task on one of them has a nearest neighbour: the training case whose other one is nearest, reports by TF-IDF,
    images by the correlation of their 32 x 32 thumbnails. Without training cases there is neither this nor a constant nor a
    copy, and the populations are empty; with a single case nothing can be shuffled.
    """
    generator = np.random.default_rng(seed)
    population = training_population(cases, train, generator) if images else None
    own_images: list[Image.Image] = [case.image for case in cases]
    own_reports = [case.report for case in cases]

    def anchor(name: str, image: Sequence[Image.Image], report: Sequence[str], stand_in: Cases | None) -> Anchor:
        predictions = [
            Prediction(case.id, image[i] if images else None, report[i] if reports else None, None if reports else case.report)
            for i, case in enumerate(cases)
        ]
        return Anchor(name, predictions, None if stand_in is None else list(stand_in))

    anchors = [anchor("real", own_images, own_reports, population)]
    if images and reconstructs is not None:
        theirs = population or []
        round_trip, other = (_reconstruct(reconstructs, some) for some in (own_images, [case.image for case in theirs]))
        stand_in = [replace(case, image=image) for case, image in zip(theirs, other, strict=True)]
        anchors.append(anchor("reconstruction", round_trip, own_reports, stand_in))
    if len(cases) > 1:
        order = derangement(len(cases), generator)
        other_reports = [own_reports[index] for index in order]
        other_images = own_images if reports else [own_images[index] for index in order]
        anchors.append(anchor("shuffled", other_images, other_reports, population))
    if train:
        image, report = constant_of(train, reports)
        anchors.append(anchor("constant", [image] * len(cases), [report] * len(cases), None))
        rows = _nearest(cases, train, by_report=images) if images != reports else None
        if rows is not None:
            found = [train[row] for row in rows]
            anchors.append(anchor(NEIGHBOUR, [case.image for case in found], [case.report for case in found], None))
        copies = copies_of(train, len(cases), generator)
        anchors.append(anchor(COPY, [case.image for case in copies], [case.report for case in copies], None))
    return anchors


def copies_of(train: Cases, count: int, generator: np.random.Generator) -> list[Case]:
    """`count` training cases in a random order, none twice before all have come."""
    order = generator.permutation(len(train))
    return [train[order[number % len(train)]] for number in range(count)]


def _nearest(cases: Cases, train: Cases, by_report: bool) -> list[int] | None:
    """For each case the nearest training row; None where the images show nothing, as where reports are scored without them."""
    if by_report:
        texts = TfIdf([case.report for case in train])
        return [texts.nearest(case.report) for case in cases]
    queries, references = (normalised(thumbnails([case.image for case in some])) for some in (cases, train))
    return nearest(queries, references) if queries.any() else None


def training_population(cases: Cases, train: Cases, generator: np.random.Generator) -> list[Case]:
    """As many training cases of each domain as there are cases of it (all, where there are fewer), without replacement."""
    chosen: list[Case] = []
    for domain, count in Counter(case.domain for case in cases).items():
        pool = [case for case in train if case.domain == domain]
        chosen += [pool[index] for index in generator.permutation(len(pool))[:count]]
    return chosen


def constant_of(train: Cases, reports: bool) -> tuple[Image.Image, str]:
    """One training pair: with reports, the first that bears the most frequent one; else that of the image nearest the mean."""
    if reports:
        report = Counter(case.report for case in train).most_common(1)[0][0]
        case = next(case for case in train if case.report == report)
        return case.image, report
    side = (_THUMBNAIL, _THUMBNAIL)
    thumbnails = np.stack([np.asarray(case.image.resize(side, Image.Resampling.BOX), dtype=np.float64) for case in train])
    case = train[int(((thumbnails - thumbnails.mean(axis=0)) ** 2).sum(axis=(1, 2, 3)).argmin())]
    return case.image, case.report


def _reconstruct(reconstructs: Reconstructs, images: Sequence[Image.Image]) -> list[Image.Image]:
    result: list[Image.Image] = []
    for start in range(0, len(images), _BATCH):
        result += reconstructs.reconstruct(images[start : start + _BATCH])
    return result
