"""A patch being stained: concentration fields, nuclei at progressive places, and the light that passes (Beer-Lambert)."""

import math
from dataclasses import dataclass

import numpy as np

from medim.data.phantom.v1.draw import Field, grid, stamp
from medim.data.phantom.v2.drawing.paint import noise
from medim.data.phantom.v2.names import PATCH_UM

# Absorbance per unit of concentration in red, green, blue.
HAEMATOXYLIN = np.array([0.70, 0.74, 0.34], np.float32)
EOSIN = np.array([0.10, 0.80, 0.38], np.float32)
LYMPHOCYTE = np.array([1.05, 0.95, 0.52], np.float32)
MELANIN = np.array([0.60, 1.05, 1.60], np.float32)
DEBRIS = np.array([0.34, 0.56, 0.44], np.float32)
STROMA = 0.80  # light through plain stroma, mean over the channels: contrasts are stated on it

_GRAIN = (64, 128, 256, 512)
_FIBRES, _CHROMATIN = 1, 2  # noise layers; layer 0 is grain
_CANDIDATES = 14
_EDGE = 0.05  # nuclei may lie this far outside the patch


def concentration(contrast: float, stain: np.ndarray) -> float:
    """How much of a stain darkens plain stroma by `contrast` of the display range, mean over the channels.

    Inverts STROMA * (1 - mean(exp(-c * stain))) = contrast by bisection; at most 6 (black).
    """
    if contrast <= 0.0:
        return 0.0
    low, high = 0.0, 6.0
    for _ in range(24):
        middle = 0.5 * (low + high)
        darker = STROMA * (1.0 - float(np.exp(-middle * stain).mean()))
        low, high = (middle, high) if darker < contrast else (low, middle)
    return 0.5 * (low + high)


def spread(rng: np.random.Generator, count: int) -> np.ndarray:
    """`count` points (N, 2), each the best of some candidates: every prefix is spread evenly (Mitchell's best candidate)."""
    candidates = rng.uniform(-_EDGE, 1.0 + _EDGE, (count, _CANDIDATES, 2)).astype(np.float32)
    points = np.empty((count, 2), np.float32)
    points[0] = candidates[0, 0]
    for number in range(1, count):
        gaps = candidates[number][:, None, :] - points[None, :number, :]  # (candidates, points, 2)
        nearest = np.einsum("cpk,cpk->cp", gaps, gaps).min(axis=1)
        points[number] = candidates[number, int(nearest.argmax())]
    return points


def nuclei_at(spacing: float) -> int:
    """How many nuclei a mean distance (micrometres) makes in a patch and its edge."""
    return max(1, round(((1.0 + 2 * _EDGE) * PATCH_UM / spacing) ** 2))


@dataclass(frozen=True)
class TissueBuild:
    """Tissue and staining that a patient's studies share; strengths are relative."""

    haematoxylin: float
    eosin: float
    warmth: float  # shifts eosin between magenta and orange
    fibres: float  # direction of the stroma, radians
    nuclei: float  # radius of the nuclei, micrometres
    chromatin: float  # contrast of the nuclei

    @classmethod
    def sample(cls, rng: np.random.Generator) -> "TissueBuild":
        """A patient at random."""
        low, high = (0.88, 0.8, -0.1, 0.0, 6.6, 0.33), (1.15, 1.25, 0.1, np.pi, 8.2, 0.42)
        return cls(*(float(value) for value in rng.uniform(low, high)))


class Patch:
    """One patch being drawn: concentration fields (R, R).

    Attributes:
        clear: 1 where stroma and its nuclei are, 0 where a region has taken their place.
    """

    def __init__(self, build: TissueBuild, rng: np.random.Generator, key: tuple[str, int], resolution: int) -> None:
        self.build, self.resolution, self.key = build, resolution, key
        self.x, self.y = grid(resolution)
        shape = (resolution, resolution)
        self.nuclei, self.lymphocytes = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        self.melanin, self.debris = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        self.basophilia = np.full(shape, 0.06, np.float32)
        self.lamp, self.rough = float(rng.uniform(0.95, 1.0)), float(rng.uniform(0.005, 0.012))
        self.tint = rng.uniform(-0.01, 0.01, 3).astype(np.float32)
        self.eosin = self._stroma(rng)

    def _stroma(self, rng: np.random.Generator) -> Field:
        """Wavy collagen: bundles at every resolution, fibres within them where there are pixels for them."""
        angle = self.build.fibres + float(rng.uniform(-0.3, 0.3))
        along = self.x * math.cos(angle) + self.y * math.sin(angle)
        across = self.y * math.cos(angle) - self.x * math.sin(angle)
        phase = rng.uniform(0, 2 * np.pi, 6).tolist()
        bend = 0.35 * np.sin(7.0 * along + phase[0])
        wave = np.sin(24.0 * across + 3.0 * bend + phase[1]) + 0.6 * np.sin(11.0 * across + 5.0 * along + phase[2])
        mottle = noise(*self.key, _FIBRES, self.resolution, (8, 16, 32))
        if self.resolution >= 128:
            wave += 0.7 * np.sin(71.0 * across + 6.0 * bend + 9.0 * along + phase[3])
        if self.resolution >= 256:
            wave += 0.6 * np.sin(163.0 * across + 14.0 * bend + 1.5 * mottle + phase[4])
            wave += 0.4 * np.sin(241.0 * across + 21.0 * bend + 17.0 * along + phase[5])
        return 0.42 + 0.045 * wave + 0.012 * mottle

    def scatter(
        self,
        rng: np.random.Generator,
        field: Field,
        xy: np.ndarray,
        radius: tuple[float, float],
        aspect: tuple[float, float],
        peak: np.ndarray | float,
    ) -> None:
        """Stamps cells at `xy` (N, 2) in units of the side; radii in micrometres; `peak` is one concentration or (N,)."""
        n = len(xy)
        radii, aspects = rng.uniform(*radius, n) / PATCH_UM, rng.uniform(*aspect, n)
        angle, strength = rng.uniform(0, np.pi, n), rng.uniform(0.92, 1.08, n)
        stamp(field, xy[:, 0], xy[:, 1], radii, aspects, angle, peak * strength)

    def light(self) -> Field:
        """Transmitted light (R, R, 3) in [0, 1] with grain."""
        build = self.build
        eosin = EOSIN * np.array([1.0 - build.warmth, 1.0, 1.0 + 2.0 * build.warmth], np.float32) * np.float32(build.eosin)
        if self.resolution >= 128:  # clumps within nuclei
            clumps = np.clip(1.0 + 0.16 * noise(*self.key, _CHROMATIN, self.resolution, (128, 256)), 0.6, 1.5)
            self.nuclei *= clumps
        cells = np.clip(1.0 - self.nuclei - self.lymphocytes - self.melanin, 0.25, 1.0)  # cells displace stroma
        absorbance = (self.eosin * cells)[:, :, None] * eosin
        absorbance += ((self.nuclei + self.basophilia) * np.float32(build.haematoxylin))[:, :, None] * HAEMATOXYLIN
        absorbance += self.lymphocytes[:, :, None] * LYMPHOCYTE
        absorbance += self.melanin[:, :, None] * MELANIN + self.debris[:, :, None] * DEBRIS
        grain = np.float32(self.rough) * noise(*self.key, 0, self.resolution, _GRAIN)
        return np.clip(np.exp(-absorbance) * (np.float32(self.lamp) * (1.0 + self.tint)) + grain[:, :, None], 0.0, 1.0)
