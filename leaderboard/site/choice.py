"""Which samples a page shows: the first of a run, and by each score the worst, the best and the most disputed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from leaderboard.store import Sample

# A score of a single sample is known by its name, as its metric often has another, or none. A score of neither list is good
# where there is much of it: a small distance to the training set is bad.
DESCRIPTIVE = ("length", "nats per token (image of another case)")
LOWER_IS_BETTER = (
    "nats", "flagged", "verbatim", "8-gram overlap", "longest copied run", "contradicted findings", "repeated sentences",
)  # fmt: skip
DISPUTED = "disputed"


@dataclass(frozen=True)
class Choice:
    """A sample and what it was chosen for (`worst by BLEU-4`, `disputed`); nothing for one of the first."""

    sample: Sample
    why: tuple[str, ...]


def higher_is_better(score: str) -> bool | None:
    """The direction of a sample's score; None for a descriptive one, which has no worst and no best."""
    return None if score.startswith(DESCRIPTIVE) else not score.startswith(LOWER_IS_BETTER)


def choose(samples: Sequence[Sample], limit: int) -> list[Choice]:
    """At most `limit` samples: a third are the first of the run (`in_turn`), then the ends of each score in turn.

    A sixth of `limit` from each end at most; what is left over goes to the next ones of the run. Each sample stands once, with
    everything that it was chosen for.
    """
    pool = in_turn(samples)
    chosen: dict[int, list[str]] = {index: [] for index in range(min(-(-limit // 3), len(pool)))}
    for index, why in _ends(pool, _varying(pool), -(-limit // 6)):
        if index in chosen or len(chosen) < limit:
            chosen.setdefault(index, []).append(why)
    for index in range(len(pool)):
        if len(chosen) < limit:
            chosen.setdefault(index, [])
    return [Choice(pool[index], tuple(why)) for index, why in chosen.items()]


def in_turn(samples: Sequence[Sample]) -> list[Sample]:
    """The samples with the domains taking turns, each in its own order, so that a few samples show every domain.

    Where some samples kept their pictures and others did not, only the former.
    """
    pictured = [sample for sample in samples if sample.image or sample.reference_image]
    seen: dict[str | None, int] = {}
    keyed = []
    for sample in pictured or samples:
        seen[sample.domain] = seen.get(sample.domain, 0) + 1
        keyed.append((seen[sample.domain], list(seen).index(sample.domain), sample))
    return [sample for _, _, sample in sorted(keyed, key=lambda item: item[:2])]


def _varying(pool: Sequence[Sample]) -> dict[str, np.ndarray]:
    """By score: (N,) values, high is good, NaN where a sample has none; without descriptive scores and those equal in all."""
    names = dict.fromkeys(name for sample in pool for name in sample.scores)
    found = {}
    for name in names:
        better = higher_is_better(name)
        if better is None:
            continue
        values = np.array([sample.scores.get(name, np.nan) for sample in pool]) * (1 if better else -1)
        known = values[~np.isnan(values)]
        if len(known) and known.min() < known.max():
            found[name] = values
    return found


def _ends(pool: Sequence[Sample], scores: dict[str, np.ndarray], turns: int) -> Iterator[tuple[int, str]]:
    """Positions in the pool with a reason each: the worst, the best and the most disputed of each score, then the next ones.

    The worst lie below the median and the best above it, where they are not the extreme itself: equal values are never both.
    """
    orders: dict[str, list[int]] = {}
    for name, values in scores.items():
        order = [int(i) for i in np.argsort(values, kind="stable")]
        middle, low, high = np.nanmedian(values), np.nanmin(values), np.nanmax(values)
        orders[f"worst by {name}"] = [i for i in order if values[i] < middle or values[i] == low]
        orders[f"best by {name}"] = [i for i in reversed(order) if values[i] > middle or values[i] == high]
    if len(scores) > 1:
        spread = _dispute(list(scores.values()))
        orders[DISPUTED] = [int(i) for i in np.argsort(-spread, kind="stable") if spread[i] >= 0.5]
    for turn in range(turns):
        for why, order in orders.items():
            if turn < len(order):
                yield order[turn], why


def _dispute(scores: Sequence[np.ndarray]) -> np.ndarray:
    """How far the scores disagree on each sample: the range of its ranks among all, in [0, 1].

    Args:
        scores: S arrays (N,), high is good, NaN where there is none.
    """
    ranks = []
    for values in scores:
        known = np.sort(values[~np.isnan(values)])
        middle = (np.searchsorted(known, values, "left") + np.searchsorted(known, values, "right")) / (2 * len(known))
        ranks.append(np.where(np.isnan(values), np.nan, middle))
    table = np.stack(ranks)  # (S, N)
    high = np.where(np.isnan(table), -np.inf, table).max(axis=0)
    low = np.where(np.isnan(table), np.inf, table).min(axis=0)
    return np.maximum(high - low, 0.0)
