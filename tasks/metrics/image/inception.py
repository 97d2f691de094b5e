"""Inception Score: exp(E_x KL(p(y|x) || p(y))) (Salimans et al. 2016), 1 where all predictions are alike, at most the classes.
It says how sure and how varied the class predictions are, in the network's classes: those of ImageNet know no medical image."""

from dataclasses import dataclass

import numpy as np

SPLITS = 10
MINIMUM_SPLIT = 100  # images; a score is at most the number of images, and far below it is biased


@dataclass(frozen=True)
class SplitScore:
    """Mean and standard deviation (divisor S) of the scores of S splits."""

    mean: float
    deviation: float


def inception_score(logits: np.ndarray) -> float:
    """The score of class scores (N, C), before the softmax; a ValueError for none, or values that are not finite."""
    logits = np.asarray(logits, dtype=np.float64)
    if logits.ndim != 2 or not len(logits):
        raise ValueError(f"class scores (N, C) are needed, not shape {logits.shape}")
    if not np.isfinite(logits).all():
        raise ValueError("class scores hold NaN or infinity")
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    p = np.exp(log_p)
    marginal = p.mean(axis=0)
    log_marginal = np.log(np.where(marginal > 0, marginal, 1.0))  # where it is 0, so is every p, and 0 log 0 = 0
    return float(np.exp((p * (log_p - log_marginal)).sum(axis=1).mean()))


def split_score(logits: np.ndarray, seed: int) -> SplitScore:
    """The score of each of `SPLITS` parts, shuffled by `seed`, as papers report it; a ValueError for fewer rows than splits."""
    if len(logits) < SPLITS:
        raise ValueError(f"{len(logits)} rows make no {SPLITS} splits")
    order = np.random.default_rng(seed).permutation(len(logits))
    scores = [inception_score(logits[part]) for part in np.array_split(order, SPLITS)]
    return SplitScore(float(np.mean(scores)), float(np.std(scores)))
