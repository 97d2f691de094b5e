"""How long the parts of scoring take here: the report metrics, an interval, image features and the Fréchet distance."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any

import numpy as np
from PIL import Image

from medim.common.errors import UserError
from medim.data.dataset import PairDataset
from medim.perception.space import DEFAULT
from tasks.cases import cases_of, own_resolution
from tasks.metrics.image.frechet import Moments, frechet_distance
from tasks.metrics.statistics.additive import Additive
from tasks.metrics.text.captioning import caption_scores
from tasks.metrics.text.ngrams import ReferenceCache
from tasks.scoring.context import Context

RESAMPLES = 10_000
DROPPED = 0.12  # of the words: a system that is nearly right
IMAGES = 64


@dataclass(frozen=True)
class Part:
    """One part of scoring: what is computed of `n` samples, and the seconds that it took."""

    what: str
    n: int
    seconds: float


@dataclass(frozen=True)
class MetricsSpeed:
    """All that was measured."""

    data: str
    parts: tuple[Part, ...]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def table(self) -> str:
        """The figures in lines."""
        lines = [f"{self.data:52}{'n':>8}{'seconds':>10}{'each':>12}"]
        lines += [f"{one.what:52}{one.n:>8,}{one.seconds:>10.2f}{1000 * one.seconds / one.n:>9.2f} ms" for one in self.parts]
        return "\n".join(lines)


def reports_of(dataset: PairDataset, split: str, count: int) -> list[str]:
    """The first `count` reports of a split, around and around where it has fewer. Raises UserError: there are none."""
    size = dataset.size(split)
    found = [report for index in range(min(size, count)) if (report := dataset.pair(split, index).report)]
    if not found:
        raise UserError(f"data set '{dataset.name}' has no reports in split '{split}'")
    return [found[index % len(found)] for index in range(count)]


def worded_otherwise(reports: Sequence[str], seed: int) -> list[str]:
    """The reports with a share of their words left out at random: a system that is nearly right."""
    generator = np.random.default_rng(seed)
    shortened = []
    for report in reports:
        words = report.split()
        left_out = generator.random(len(words)) < DROPPED
        shortened.append(" ".join(word for word, out in zip(words, left_out, strict=True) if not out))
    return shortened


def measure(dataset: PairDataset, split: str, n: int, device: str) -> MetricsSpeed:
    """Scores `n` reports of two systems on the same references, and some images. Raises UserError: no reports in the split.
    Raises ScorerError: METEOR's jar or the tokenizer fails."""
    reports = reports_of(dataset, split, n)
    parts: list[Part] = []

    def timed(what: str, count: int, compute: Callable[[], Any]) -> Any:
        print(what, file=sys.stderr)
        start = perf_counter()
        result = compute()
        parts.append(Part(what, count, perf_counter() - start))
        return result

    cache = ReferenceCache()
    first, second = (worded_otherwise(reports, seed) for seed in (1, 2))
    timed("report metrics of the first system", n, lambda: caption_scores(reports, first, cache=cache))
    timed("report metrics of another on the same references", n, lambda: caption_scores(reports, second, cache=cache))
    hits = Additive.mean(np.random.default_rng(0).random(n).tolist(), [str(row) for row in range(n)])
    timed(f"an interval by {RESAMPLES:,} resamples", n, lambda: hits.interval(0, RESAMPLES))
    if (side := own_resolution(dataset, split)) is not None:
        bank = Context(device=device).bank(DEFAULT)
        images: list[Image.Image] = [case.image for case in cases_of(dataset, split, side, IMAGES)]
        rows = timed(f"features of {bank.space.title}", len(images), lambda: bank.features(images))
        moments = [Moments.of_features(rows), Moments.of_features(rows + 0.1)]
        timed(f"Fréchet distance of {rows.shape[1]:,} features", len(images), lambda: frechet_distance(*moments))
    return MetricsSpeed(dataset.name, tuple(parts))
