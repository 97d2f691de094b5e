"""How fast reports and images are scored here, beside the ways that papers use: one run, turns that alternate, equal values.

Each row is a ratio of two times on this machine in this run, so that it holds on another; the two must agree in value.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.util import find_spec
from time import perf_counter
from typing import Any

import numpy as np

from benchmark.speed.metrics_results import Compared, MetricsSpeed, SecondModel
from medim.common.errors import UserError
from medim.data.dataset import PairDataset
from tasks.metrics.image.frechet import Moments, frechet_distance
from tasks.metrics.statistics.additive import Additive
from tasks.metrics.statistics.bootstrap import MINIMUM_PATIENTS, resampling_weights
from tasks.metrics.text import meteor
from tasks.metrics.text.captioning import caption_scores
from tasks.metrics.text.java import java_problem
from tasks.metrics.text.ngrams import ReferenceCache, References
from tasks.metrics.text.overlap import bleu_of_sums, bleu_sums
from tasks.metrics.text.tokens import tokenise

RESAMPLES = 10_000
DIMENSION, IMAGES = 2048, 500
DROPPED = 0.12  # of the words: a system that is nearly right
SQUARE_ROOT = 1e-6  # relative: what scipy's root of a singular product gets right


def reports_of(dataset: PairDataset, split: str, count: int) -> list[str]:
    """The first `count` reports of a split, around and around where it has fewer.

    Raises:
        UserError: there are none.
    """
    size = dataset.size(split)
    found = [report for index in range(min(size, count)) if (report := dataset.pair(split, index).report)]
    if not found:
        raise UserError(f"data set '{dataset.name}' has no reports in split '{split}'")
    return [found[index % len(found)] for index in range(count)]


def worded_otherwise(reports: Sequence[str], seed: int, dropped: float = DROPPED) -> list[str]:
    """The reports with a share of their words left out at random: a system that is nearly right."""
    generator = np.random.default_rng(seed)
    kept = []
    for report in reports:
        words = report.split()
        kept.append(
            " ".join(word for word, drop in zip(words, generator.random(len(words)) < dropped, strict=True) if not drop)
        )
    return kept


def turns(ours: Callable[[], Any], theirs: Callable[[], Any], rounds: int) -> tuple[tuple[float, Any], tuple[float, Any]]:
    """Both in alternating turns: the median seconds and the last result of each."""
    seconds: tuple[list[float], list[float]] = ([], [])
    results: list[Any] = [None, None]
    for _ in range(rounds):
        for side, function in enumerate((ours, theirs)):
            start = perf_counter()
            results[side] = function()
            seconds[side].append(perf_counter() - start)
    return (float(np.median(seconds[0])), results[0]), (float(np.median(seconds[1])), results[1])


def compare_meteor(references: Sequence[str], hypotheses: Sequence[str], rounds: int) -> Compared:
    """METEOR of tokenised texts, from a cold start each turn: the score of the corpus and of every text."""
    row = Compared(what="METEOR 1.5", n=len(references), against="pycocoevalcap's Meteor, started and asked", target=3.0)
    if (problem := _missing() or java_problem()) is not None:
        return replace(row, reason=problem)
    from pycocoevalcap.meteor.meteor import Meteor

    def ours() -> tuple[float, np.ndarray]:
        own = meteor.Meteor()
        try:
            counts = own.counts(references, hypotheses)
        finally:
            own.close()
        return float(meteor.score(meteor.additive(counts).sum(axis=0))), meteor.score(counts)

    def theirs() -> tuple[float, np.ndarray]:
        other = Meteor()  # ended by its own __del__
        value, each = other.compute_score(_keyed(references), _keyed(hypotheses))
        return value, np.array(each)

    (fast, mine), (slow, yours) = turns(ours, theirs, rounds)
    difference = max(abs(mine[0] - yours[0]), float(np.abs(mine[1] - yours[1]).max()))
    return replace(row, ours=fast, reference=slow, difference=difference)


def compare_interval(references: Sequence[str], hypotheses: Sequence[str], rounds: int, resamples: int = RESAMPLES) -> Compared:
    """An interval of corpus BLEU-4 by resampling, from tokenised texts to its ends, every text its own patient.

    The reference recomputes the score of the corpus for each resample; it is timed on one resample a turn and multiplied.
    """
    row = Compared(
        what=f"BLEU-4 interval, {resamples:,} resamples",
        n=len(references),
        target=100.0,
        against="pycocoevalcap's Bleu of each resampled corpus",
        how=f"theirs: {rounds} resample(s) computed, times {resamples:,} / {rounds}",
    )
    if (problem := _missing()) is not None:
        return replace(row, reason=problem)
    if len(references) < MINIMUM_PATIENTS:
        return replace(row, reason=f"an interval needs {MINIMUM_PATIENTS} reports")
    from pycocoevalcap.bleu.bleu import Bleu

    count, patients = len(references), tuple(map(str, range(len(references))))
    sums: list[np.ndarray] = []
    turn = iter(range(rounds))  # another seed each turn: weights that are kept for the next metric would flatter us
    drawn = [next(resampling_weights(count, seed, resamples))[0].astype(int) for seed in range(rounds, 2 * rounds)]
    resampled = iter([np.repeat(np.arange(count), weights).tolist() for weights in drawn])

    def ours() -> np.ndarray:
        own = References(references)
        sums[:] = [bleu_sums(own, own.count(hypotheses))]
        Additive(sums[0], patients, "corpus-bleu", {"order": 4}).interval(next(turn), resamples)
        return sums[0]

    def theirs() -> float:
        rows = next(resampled)
        texts = [references[i] for i in rows], [hypotheses[i] for i in rows]
        return float(Bleu(4).compute_score(*map(_keyed, texts), verbose=0)[0][3])

    (fast, counts), (slow, value) = turns(ours, theirs, rounds)
    own_value = float(bleu_of_sums(drawn[-1].astype(float)[None] @ counts, order=4)[0])
    return replace(row, ours=fast, reference=slow * resamples, difference=abs(own_value - value))


def compare_frechet(rounds: int, dimension: int = DIMENSION, images: int = IMAGES) -> Compared:
    """The Fréchet distance of drawn features, exact, against the square root of the covariances' product."""
    row = Compared(
        what=f"Fréchet distance, d = {dimension:,}",
        n=images,
        target=20.0,
        tolerance=SQUARE_ROOT,
        against="covariances and scipy.linalg.sqrtm of their product (relative difference)",
    )
    if find_spec("scipy") is None:
        return replace(row, reason="SciPy is not installed: pip install scipy")
    from scipy.linalg import sqrtm

    generator = np.random.default_rng(0)
    first = generator.standard_normal((images, dimension))
    second = 1.1 * generator.standard_normal((images, dimension)) + 0.1

    def ours() -> float:
        return frechet_distance(Moments.of_features(first), Moments.of_features(second))

    def theirs() -> float:
        one, two = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
        difference = first.mean(axis=0) - second.mean(axis=0)
        return float(difference @ difference + np.trace(one) + np.trace(two) - 2 * np.trace(sqrtm(one @ two)).real)

    (fast, mine), (slow, yours) = turns(ours, theirs, rounds)
    return replace(row, ours=fast, reference=slow, difference=abs(mine - yours) / abs(yours))


def measure_second_model(reports: Sequence[str]) -> SecondModel:
    """All report metrics of two systems on the same references; what the second pays for these is counted, not guessed."""
    cache = ReferenceCache()
    start = perf_counter()
    made = tokenise(reports)
    References(made.texts, made.tokenisation, reports)
    alone = perf_counter() - start
    seconds, misses, starts = [], [0], [meteor.shared().starts]
    for seed in (1, 2):
        hypotheses = worded_otherwise(reports, seed)
        start = perf_counter()
        caption_scores(reports, hypotheses, cache=cache)
        seconds.append(perf_counter() - start)
        misses.append(cache.misses)
        starts.append(meteor.shared().starts)
    return SecondModel(
        len(reports), seconds[0], seconds[1], alone,
        (misses[1] - misses[0], misses[2] - misses[1]), (starts[1] - starts[0], starts[2] - starts[1]),
    )  # fmt: skip


def measure(
    dataset: PairDataset, split: str, n: int = 600, second: int = 5000, rounds: int = 2, tell: Callable[[str], None] = print
) -> MetricsSpeed:
    """Measures all rows.

    Args:
        n: reports for METEOR and for the interval.
        second: reports of the second system; 0 leaves that out.
        rounds: alternating turns.
        tell: is given a line before each part, as some take half a minute.

    Raises:
        UserError: no reports in the split.
        ScorerError: METEOR's jar or the tokenizer fails.
    """
    reports = reports_of(dataset, split, max(n, second))
    tell(f"tokenising {n:,} reports")
    references, hypotheses = (tokenise(texts).texts for texts in (reports[:n], worded_otherwise(reports[:n], 0)))
    index_seconds = None
    if java_problem() is None and _missing() is None:
        index_seconds = meteor_index_seconds()
    tell("METEOR 1.5, in turns")
    rows = [compare_meteor(references, hypotheses, rounds)]
    tell("interval of BLEU-4, in turns")
    rows.append(compare_interval(references, hypotheses, rounds))
    tell("Fréchet distance, in turns")
    rows.append(compare_frechet(rounds))
    two = None
    if second:
        tell(f"two systems on {second:,} references")
        two = measure_second_model(reports[:second])
    failures = [f"{row.what}: values differ by {row.difference:.1e}" for row in rows if not row.agrees]
    if two is not None and two.made[1]:
        failures.append(f"the second system paid for its references {two.made[1]} time(s)")
    return MetricsSpeed(dataset.name, tuple(rows), two, index_seconds, tuple(failures))


def meteor_index_seconds() -> float | None:
    """Makes the index of METEOR's paraphrases where this machine has none yet; the seconds it took, or None."""
    from tasks.metrics.text.java import jar
    from tasks.metrics.text.paraphrases import table

    start = perf_counter()
    table(jar("meteor/meteor-1.5.jar").parent / "data" / "paraphrase-en.gz")
    seconds = perf_counter() - start
    return seconds if seconds > 2 else None  # found: a file is hashed and mapped


def _missing() -> str | None:
    return None if find_spec("pycocoevalcap") else "pycocoevalcap is not installed: pip install 'medim-bench[scoring]'"


def _keyed(texts: Sequence[str]) -> dict[int, list[str]]:
    """As pycocoevalcap takes them; a text may stand more than once."""
    return {number: [text] for number, text in enumerate(texts)}
