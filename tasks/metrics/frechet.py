"""Fréchet distance between two sets of feature vectors, exact and in float64.

    d^2 = |m1 - m2|^2 + tr(S1) + tr(S2) - 2 tr((S1 S2)^(1/2))        (Dowson and Landau 1982; Heusel et al. 2017)

No matrix square root of a product is taken: its trace is the nuclear norm of a product of factors, S = F^T F,
tr((S1 S2)^(1/2)) = ||F1 F2^T||_*. With centred features as factors the product is n1 x n2, which is exact and cheap where
n <= d and covariances are singular; otherwise the factors are the symmetric roots of the covariances, d x d.
"""

from dataclasses import dataclass

import numpy as np
import torch

from tasks.metrics.two_samples import TwoSamples


@dataclass(frozen=True)
class Moments:
    """Mean (D,) and a factor F (R, D) of the covariance S = F^T F (D, D), both float64."""

    mean: np.ndarray
    factor: np.ndarray

    @classmethod
    def of_features(cls, features: np.ndarray) -> "Moments":
        """Sample moments (covariance with n - 1) of features (N, D); the factor has min(N, D) rows.

        Raises:
            ValueError: fewer than two samples, or values that are not finite.
        """
        features = np.asarray(features, dtype=np.float64)
        if features.ndim != 2 or len(features) < 2:
            raise ValueError(f"at least two feature vectors (N, D) are needed, not shape {features.shape}")
        if not np.isfinite(features).all():
            raise ValueError("features hold NaN or infinity")
        mean = features.mean(axis=0)
        centred = (features - mean) / np.sqrt(len(features) - 1)
        if len(features) <= features.shape[1]:
            return cls(mean, centred)
        return cls.of_covariance(mean, centred.T @ centred)

    @classmethod
    def of_covariance(cls, mean: np.ndarray, covariance: np.ndarray) -> "Moments":
        """Moments (D,) and (D, D) as they are; eigenvalues below zero, which only rounding makes, count as zero."""
        values, vectors = np.linalg.eigh(np.asarray(covariance, dtype=np.float64))
        return cls(np.asarray(mean, dtype=np.float64), np.sqrt(np.clip(values, 0, None))[:, None] * vectors.T)


def frechet_distance(first: Moments, second: Moments) -> float:
    """Squared Fréchet distance, in squared feature units; unclamped, so rounding may leave it just below zero."""
    difference = first.mean - second.mean
    traces = (first.factor**2).sum() + (second.factor**2).sum()
    return float(difference @ difference + traces - 2 * _nuclear_norm(first.factor @ second.factor.T))


def _nuclear_norm(matrix: np.ndarray) -> float:
    return float(np.linalg.svd(matrix, compute_uv=False).sum())


class FrechetDistance(TwoSamples):
    """Fréchet distance of features, accumulated over batches; clamped at zero, with `raw` the value before that."""

    raw: float | None = None

    def compute(self) -> torch.Tensor:
        """The distance, float64 scalar >= 0.

        Raises:
            ValueError: fewer than two feature vectors on a side.
        """
        reference, generated = self.sides()
        self.raw = frechet_distance(Moments.of_features(reference), Moments.of_features(generated))
        return torch.tensor(max(self.raw, 0.0), dtype=torch.float64)
