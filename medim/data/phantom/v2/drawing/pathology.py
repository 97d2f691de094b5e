"""Draws the findings of a pathology case into a patch, each by its own size, contrast and count and from its own stream."""

from collections.abc import Callable

import numpy as np
from PIL import Image

from medim.data.phantom.v1.draw import inside, stamp
from medim.data.phantom.v2.cases import Case
from medim.data.phantom.v2.drawing.paint import noise
from medim.data.phantom.v2.drawing.placement import placed
from medim.data.phantom.v2.drawing.tissue import (
    DEBRIS,
    HAEMATOXYLIN,
    LYMPHOCYTE,
    MELANIN,
    Patch,
    TissueBuild,
    concentration,
    nuclei_at,
    spread,
)
from medim.data.phantom.v2.findings import MODERATE_SPACING, Finding
from medim.data.phantom.v2.names import DOMAINS, LABELS, PATCH_UM
from medim.data.phantom.v2.streams import patient_stream, stream

_GLAND_CONTRAST = 0.42  # at which a lumen is quite clear
_DUST = 3  # noise layer of necrotic debris


def _nuclei(patch: Patch, case: Case, regions: list[Finding], rng: np.random.Generator) -> None:
    """Stromal nuclei: the same places, so many of them as cellularity asks for; none where a region lies.

    Extra nuclei of high cellularity are drawn with that finding's contrast; those that low cellularity lacks have faded by its.
    """
    usual = nuclei_at(float(rng.uniform(*MODERATE_SPACING)))
    high, low = case.finding("high cellularity"), case.finding("low cellularity")
    count = max(usual, nuclei_at(high.size)) if high else usual
    xy = spread(rng, count)  # the first `usual` are those of the moderate patch
    peaks = np.full(count, concentration(patch.build.chromatin, HAEMATOXYLIN))
    if high:
        peaks[usual:] = concentration(high.contrast, HAEMATOXYLIN)
    if low:
        faded = max(patch.build.chromatin - low.contrast, 0.0)
        peaks[nuclei_at(low.size) :] = concentration(faded, HAEMATOXYLIN) if faded else 0.0
    draws = stream(case.split, "scene", case.index, 1).uniform(
        size=(count, 4)
    )  # row by row: nucleus k looks the same however many there are
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
    share = np.float32(min(finding.contrast / 0.14, 1.0))  # the stroma fades with a finding made fainter than any drawn
    patch.eosin *= 1.0 - 0.55 * share * dead
    patch.basophilia *= 1.0 - share * dead
    rough = np.clip(1.0 + 0.10 * noise(*patch.key, _DUST, patch.resolution, (32, 64, 128)), 0.5, 1.6)
    amount = concentration(finding.contrast, DEBRIS) + 0.24  # with what makes up for the stroma that has gone
    patch.debris += np.float32(amount) * share * dead * rough
    n = 26
    radii, turns = radius * np.sqrt(rng.uniform(0, 0.8, n)), rng.uniform(0, 2 * np.pi, n)
    dust = np.stack([x0 + radii * np.cos(turns), y0 + radii * np.sin(turns)], axis=1)
    patch.scatter(rng, patch.nuclei, dust, (0.8, 1.5), (0.7, 1.0), 2.5 * concentration(finding.contrast, HAEMATOXYLIN))


def _glands(patch: Patch, finding: Finding, rng: np.random.Generator) -> None:
    """White lumina within rings of cytoplasm and nuclei; the first is of the size asked for, the others a little smaller."""
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


def _packed(rng: np.random.Generator, x0: float, y0: float, radius: float, count: int) -> np.ndarray:
    """`count` points (N, 2) spread evenly over a disc (sunflower), jittered."""
    k = np.arange(count) + 0.5
    reach, turn = radius * np.sqrt(k / count), k * np.pi * (3.0 - np.sqrt(5.0)) + float(rng.uniform(0, 2 * np.pi))
    xy = np.stack([x0 + reach * np.cos(turn), y0 + reach * np.sin(turn)], axis=1)
    return xy + rng.normal(0.0, 0.05 * radius, xy.shape)


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
        patch.scatter(rng, field, _packed(rng, x0, y0, radius, count), radii, aspect, peak)


_DRAW: dict[str, Callable[[Patch, Finding, np.random.Generator], None]] = {
    "necrosis": _necrosis,
    "glands": _glands,
    "lymphocytic infiltrate": _clusters,
    "pigment": _clusters,
}


def draw_pathology(case: Case, resolution: int) -> Image.Image:
    """An H&E-like patch of the case, RGB."""
    build = TissueBuild.sample(patient_stream(case.split, "build", case.domain, case.patient))
    scene = stream(case.split, "scene", case.index)
    patch = Patch(build, scene, (case.split, case.index), resolution)
    drawn: list[tuple[Finding, np.random.Generator]] = []
    for label in _DRAW:
        finding = case.finding(label)
        if finding is not None and finding.contrast > 0:  # another visit is another biopsy: the stream is the case's
            rng = stream(case.split, "finding", DOMAINS.index(case.domain), case.index, LABELS.index(label))
            drawn.append((placed(finding, rng), rng))
    _nuclei(patch, case, [finding for finding, _ in drawn], scene)
    for finding, rng in drawn:
        _DRAW[finding.label](patch, finding, rng)
    return Image.fromarray(np.rint(patch.light() * 255.0).astype(np.uint8))
