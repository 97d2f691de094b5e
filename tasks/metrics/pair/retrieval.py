r"""Does an image find its own report among all others, and a report its image?

Images and reports meet in a space of neither: canonical correlations between image features x and text vectors y of real
training pairs (Hotelling 1936; regularised by keeping p principal components of each side),

    x' = V_x^T (x - mean) / s_x,  y' likewise;  U diag(rho) W^T = SVD(mean x' y'^T)
    similarity(x, y) = cos(rho U^T x', rho W^T y')

p is that of `COMPONENTS` which finds the most pairs within ten on a quarter of the training pairs, kept out of that fit.

The rank of a pair's own partner is one more than the number of others that are as similar or more: ties count against it, so
that a set of equal pairs finds nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tasks.metrics.text.embeddings import unit

COMPONENTS = (4, 8, 16, 32, 64, 128)
CUTOFFS = (1, 5, 10)
MINIMUM_PAIRS = 50  # of training
_TIE = 1e-6


@dataclass(frozen=True)
class Side:
    """Centred features on whitened principal components."""

    mean: np.ndarray  # (D,)
    whiten: np.ndarray  # (D, p)

    @classmethod
    def of(cls, rows: np.ndarray, components: int) -> "Side":
        mean = rows.mean(axis=0)
        _, singular, directions = np.linalg.svd(rows - mean, full_matrices=False)
        kept = min(components, int((singular > 1e-6 * singular[0]).sum()))
        return cls(mean, directions[:kept].T / singular[:kept] * np.sqrt(len(rows)))

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        return (rows - self.mean) @ self.whiten


@dataclass(frozen=True)
class Alignment:
    """A common space of images and texts, fitted on real pairs, of p `components`; `correlations` are rho."""

    components: int
    image: Side
    text: Side
    image_map: np.ndarray
    text_map: np.ndarray
    correlations: np.ndarray

    @classmethod
    def fit(cls, images: np.ndarray, texts: np.ndarray, components: int) -> "Alignment":
        """From features (N, D) and (N, E) of N pairs."""
        image, text = Side.of(images, components), Side.of(texts, components)
        left, rho, right = np.linalg.svd(image(images).T @ text(texts) / len(images), full_matrices=False)
        return cls(components, image, text, left * rho, right.T * rho, rho)

    def similarities(self, images: np.ndarray, texts: np.ndarray) -> np.ndarray:
        """Of each image (N, D) and each text (M, E): (N, M), in [-1, 1]."""
        return unit(self.image(images) @ self.image_map) @ unit(self.text(texts) @ self.text_map).T


def align(images: np.ndarray, texts: np.ndarray, patients: Sequence[str], seed: int) -> Alignment:
    """The alignment of training pairs, features (N, D) and (N, E), with the p that finds most held-out pairs. `patients`: N; a
    patient is held out with all pairs. `seed`: which quarter of the patients is held out."""
    names = sorted(set(patients))
    held = set(np.random.default_rng(seed).permutation(names)[: len(names) // 4].tolist())
    out = np.array([patient in held for patient in patients])
    found = {}
    for components in COMPONENTS:
        if components == COMPONENTS[0] or components < (~out).sum() / 2:
            similar = Alignment.fit(images[~out], texts[~out], components).similarities(images[out], texts[out])
            found[components] = sum(float((ranks(side) <= CUTOFFS[-1]).mean()) for side in (similar, similar.T))
    best = max(found, key=lambda components: (found[components], -components))
    return Alignment.fit(images, texts, best)


def ranks(similarities: np.ndarray, partners: np.ndarray | None = None) -> np.ndarray:
    """Rank of each row's partner (by default the column of its number), 1 for the most similar: (N, M) -> (N,).
    Ties count against it."""
    rows = np.arange(len(similarities))
    partner = similarities[rows, rows if partners is None else partners]
    return (similarities >= partner[:, None] - _TIE).sum(axis=1)
