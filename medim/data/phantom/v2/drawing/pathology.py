"""Draws a pathology case: stained stroma and nuclei, and the findings in it, each by its own size, contrast and count."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from medim.data.phantom.brushes import HAEMATOXYLIN, LYMPHOCYTE, MELANIN, Field, Stains, inside, packed, stamp, to_image
from medim.data.phantom.v2.cases import Case
from medim.data.phantom.v2.findings import PATCH_UM, TABLES, Finding
from medim.data.phantom.v2.placement import placed

DEBRIS = np.array([0.34, 0.56, 0.44], np.float32)  # absorbance in red, green, blue
STROMA = 0.80  # light through plain stroma, mean over the channels: contrasts are stated on it

_FIBRES, _CHROMATIN, _DUST = 1, 2, 3  # noise layers; layer 0 is grain
_CANDIDATES = 14
_EDGE = 0.05  # nuclei may lie this far outside the patch
_GLAND_CONTRAST = 0.42  # at which a lumen is quite clear


def concentration(contrast: float, stain: np.ndarray) -> float:
    """How much of a stain darkens plain stroma by `contrast` of the display range, mean over the channels.
    Inverts STROMA * (1 - mean(exp(-c * stain))) = contrast by bisection; at most 6 (black)."""
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
    def of(cls, case: Case) -> "TissueBuild":
        rng = case.patient_stream("build")
        low, high = (0.88, 0.8, -0.1, 0.0, 6.6, 0.33), (1.15, 1.25, 0.1, np.pi, 8.2, 0.42)
        return cls(*(float(value) for value in rng.uniform(low, high)))


class Patch(Stains):
    def __init__(self, case: Case, rng: np.random.Generator, resolution: int) -> None:
        super().__init__(resolution)
        self.case, self.build = case, TissueBuild.of(case)
        self.lamp, self.rough = float(rng.uniform(0.95, 1.0)), float(rng.uniform(0.005, 0.012))
        self.tint = rng.uniform(-0.01, 0.01, 3).astype(np.float32)
        self.eosin = self._stroma(rng)

    def noise(self, layer: int, *cells: int) -> Field:
        return self.case.noise(layer, self.resolution, cells)

    def _stroma(self, rng: np.random.Generator) -> Field:
        """Wavy collagen: bundles at every resolution, fibres within them where there are pixels for them."""
        angle = self.build.fibres + float(rng.uniform(-0.3, 0.3))
        along = self.x * math.cos(angle) + self.y * math.sin(angle)
        across = self.y * math.cos(angle) - self.x * math.sin(angle)
        phase = rng.uniform(0, 2 * np.pi, 6).tolist()
        bend = 0.35 * np.sin(7.0 * along + phase[0])
        wave = np.sin(24.0 * across + 3.0 * bend + phase[1]) + 0.6 * np.sin(11.0 * across + 5.0 * along + phase[2])
        mottle = self.noise(_FIBRES, 8, 16, 32)
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
        if self.resolution >= 128:  # clumps within nuclei
            self.nuclei *= np.clip(1.0 + 0.16 * self.noise(_CHROMATIN, 128, 256), 0.6, 1.5)
        absorbance = self.absorbance(build.haematoxylin, build.eosin, build.warmth, DEBRIS)
        grain = np.float32(self.rough) * self.noise(0, 64, 128, 256, 512)
        return np.clip(np.exp(-absorbance) * (np.float32(self.lamp) * (1.0 + self.tint)) + grain[:, :, None], 0.0, 1.0)


def _nuclei(patch: Patch, case: Case, regions: list[Finding], rng: np.random.Generator) -> None:
    """Stromal nuclei: the same places, so many of them as cellularity asks for; none where a region lies. Extra nuclei of high
    cellularity are drawn with that finding's contrast; those that low cellularity lacks have faded by its."""
    usual = nuclei_at(float(rng.uniform(*TABLES.moderate_spacing)))
    high, low = case.finding("high cellularity"), case.finding("low cellularity")
    count = max(usual, nuclei_at(high.size)) if high else usual
    xy = spread(rng, count)  # the first `usual` are those of the moderate patch
    peaks = np.full(count, concentration(patch.build.chromatin, HAEMATOXYLIN))
    if high:
        peaks[usual:] = concentration(high.contrast, HAEMATOXYLIN)
    if low:
        faded = max(patch.build.chromatin - low.contrast, 0.0)
        peaks[nuclei_at(low.size) :] = concentration(faded, HAEMATOXYLIN) if faded else 0.0
    draws = case.stream("scene", 1).uniform(size=(count, 4))  # row by row: nucleus k is the same however many there are
    keep = peaks > 0
    for region in regions:
        radius = 0.5 * region.size / PATCH_UM
        for x, y in region.places:
            keep &= np.hypot(xy[:, 0] - x, xy[:, 1] - y) > radius * (1.1 if region.label == "necrosis" else 1.0) + 0.02
    radii = patch.build.nuclei * (0.88 + 0.24 * draws[:, 0]) / PATCH_UM
    aspect, angle, strength = 0.65 + 0.35 * draws[:, 1], np.pi * draws[:, 2], 0.92 + 0.16 * draws[:, 3]
    x, y = xy[keep].astype(np.float64).T
    stamp(patch.nuclei, x, y, radii[keep], aspect[keep], angle[keep], (peaks * strength)[keep])


def _necrosis(patch: Patch, finding: Finding, rng: np.random.Generator) -> None:
    """A murky, structureless area with an irregular border, granular and dusted at high resolution."""
    ((x0, y0),) = finding.places
    dx, dy = patch.x - x0, patch.y - y0
    turn, radius = np.arctan2(dy, dx), 0.5 * finding.size / PATCH_UM
    phase = rng.uniform(0, 2 * np.pi, 2).tolist()
    border = radius * (1.0 + 0.07 * np.sin(3 * turn + phase[0]) + 0.05 * np.sin(5 * turn + phase[1]))
    dead = inside(np.hypot(dx, dy) - border, 0.012)
    share = np.float32(min(finding.contrast / 0.14, 1.0))  # the stroma fades with a finding fainter than any drawn
    patch.eosin *= 1.0 - 0.55 * share * dead
    patch.basophilia *= 1.0 - share * dead
    rough = np.clip(1.0 + 0.10 * patch.noise(_DUST, 32, 64, 128), 0.5, 1.6)
    amount = concentration(finding.contrast, DEBRIS) + 0.24  # with what makes up for the stroma that has gone
    patch.debris += np.float32(amount) * share * dead * rough
    n = 26
    radii, turns = radius * np.sqrt(rng.uniform(0, 0.8, n)), rng.uniform(0, 2 * np.pi, n)
    dust = np.stack([x0 + radii * np.cos(turns), y0 + radii * np.sin(turns)], axis=1)
    patch.scatter(rng, patch.nuclei, dust, (0.8, 1.5), (0.7, 1.0), 2.5 * concentration(finding.contrast, HAEMATOXYLIN))


def _glands(patch: Patch, finding: Finding, rng: np.random.Generator) -> None:
    """White lumina within rings of cytoplasm and nuclei; the first is of the finding's size, the others a little smaller."""
    share = np.float32(min(finding.contrast / _GLAND_CONTRAST, 1.0))
    peak = concentration(finding.contrast, HAEMATOXYLIN)
    soft = 0.5 / patch.resolution
    for number, (x0, y0) in enumerate(finding.places):
        radius = 0.5 * finding.size / PATCH_UM * (1.0 if number == 0 else float(rng.uniform(0.85, 1.0)))
        stretch, lean = float(rng.uniform(0.86, 1.0)), float(rng.uniform(0, np.pi))
        dx, dy = patch.x - x0, patch.y - y0
        long, short = dx * np.cos(lean) + dy * np.sin(lean), (dy * np.cos(lean) - dx * np.sin(lean)) / stretch
        distance = np.hypot(long, short)
        wall, lumen = inside(distance - radius * 0.97, soft), inside(distance - radius * 0.50, soft)
        patch.eosin += (0.50 - patch.eosin) * wall * share
        patch.basophilia += 0.16 * wall * share
        patch.eosin *= 1.0 - 0.97 * lumen * share
        patch.basophilia *= 1.0 - lumen * share
        ring = radius * 0.78
        count = max(9, round(2 * np.pi * ring / min(0.052, 0.42 * radius)))
        turn = float(rng.uniform(0, 2 * np.pi)) + np.arange(count) * (2 * np.pi / count)
        a, b = ring * np.cos(turn), stretch * ring * np.sin(turn)
        x, y = x0 + a * np.cos(lean) - b * np.sin(lean), y0 + a * np.sin(lean) + b * np.cos(lean)
        heights = rng.uniform(0.9, 1.1, count)
        stamp(patch.nuclei, x, y, min(0.031, 0.25 * radius) * heights, np.full(count, 0.68), turn + lean, np.full(count, peak))


def _clusters(patch: Patch, finding: Finding, rng: np.random.Generator) -> None:
    """Packed clusters: lymphocytes (small, round, very dark) or granules of pigment (dark brown)."""
    lymph = finding.label == "lymphocytic infiltrate"
    field, stain = (patch.lymphocytes, LYMPHOCYTE) if lymph else (patch.melanin, MELANIN)
    radii, aspect, pitch = ((3.9, 4.8), (0.9, 1.0), 9.6) if lymph else ((3.0, 5.6), (0.7, 1.0), 8.6)
    peak = concentration(finding.contrast, stain)
    for number, (x0, y0) in enumerate(finding.places):
        diameter = finding.size * (1.0 if number == 0 else float(rng.uniform(0.82, 1.0)))
        radius = max(0.5 * diameter - radii[0], 1.0) / PATCH_UM
        count = max(5, round(0.80 * (diameter / pitch) ** 2))
        patch.scatter(rng, field, packed(rng, x0, y0, radius, count, 0.05 * radius), radii, aspect, peak)


_DRAW: dict[str, Callable[[Patch, Finding, np.random.Generator], None]] = {
    "necrosis": _necrosis,
    "glands": _glands,
    "lymphocytic infiltrate": _clusters,
    "pigment": _clusters,
}


def draw_pathology(case: Case, resolution: int) -> Image.Image:
    scene = case.stream("scene")
    patch = Patch(case, scene, resolution)
    drawn: list[tuple[Finding, np.random.Generator]] = []
    for label in _DRAW:
        finding = case.finding(label)
        if finding is not None and finding.contrast > 0:
            rng = case.finding_stream(label)
            drawn.append((placed(finding, rng), rng))
    _nuclei(patch, case, [finding for finding, _ in drawn], scene)
    for finding, rng in drawn:
        _DRAW[finding.label](patch, finding, rng)
    return to_image(patch.light())
