"""Draws the findings of a chest case, each by its own size, contrast and count and from its own random stream."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from PIL import Image

from medim.data.phantom.brushes import Field, band, blend, inside, strokes, to_image
from medim.data.phantom.labels import SIDES, kind_of, side_of
from medim.data.phantom.v2.cases import Case
from medim.data.phantom.v2.drawing.anatomy import LUNG, ChestBuild, Exposure
from medim.data.phantom.v2.findings import CHEST_MM, Finding
from medim.data.phantom.v2.placement import placed

_GRAIN = (64, 128, 256, 512)
_TISSUE = 1  # noise layer of soft-tissue mottle; layer 0 is film grain


def brighten(image: Field, contrast: float, alpha: Field) -> None:
    """Adds an opacity in place: by `contrast` over lung, by less over what is bright already (the film's shoulder)."""
    image += alpha * (1.0 - image) * np.float32(contrast / (1.0 - LUNG))


def _cardiomegaly(film: Exposure, finding: Finding, _rng: np.random.Generator) -> None:
    """The heart out to the finding's diameter."""
    reached = min(finding.contrast / (film.heart_brightness - LUNG), 1.0)
    enlarged = film.heart(finding.size) * np.float32(reached)
    blend(film.image, film.heart_brightness, enlarged)
    film.heart_shadow = np.maximum(film.heart_shadow, enlarged)


def _edema(film: Exposure, finding: Finding, rng: np.random.Generator) -> None:
    """Bat-wing haze that reaches `size` from each hilum, mottled, with septal lines at the base at high resolution."""
    reach = finding.size / CHEST_MM
    for side in SIDES:
        u, y = (film.lateral[side] - 0.14) / (0.60 * reach), (film.y - 0.43) / (0.88 * reach)
        r2 = u * u + y * y
        haze = np.exp(-0.6 * r2 * r2) * film.lung[side] * (1.0 - 0.85 * film.heart_shadow)
        brighten(film.image, finding.contrast * float(rng.uniform(0.95, 1.05)), haze)
        n = 9
        height = film.angle(side) - rng.uniform(0.05, 0.19, n)
        length = rng.uniform(0.022, 0.04, n)
        wall = np.full(n, film.build.width - 0.012)
        lines = np.zeros_like(film.image)
        starts = film.to_picture(side, np.stack([wall, height], axis=1))
        ends = film.to_picture(side, np.stack([wall - length, height + 0.004], axis=1))
        strokes(lines, starts, ends, np.full(n, 0.6 / CHEST_MM), np.ones(n))
        brighten(film.image, 0.8 * finding.contrast, lines * film.lung[side])


def _consolidation(film: Exposure, finding: Finding, rng: np.random.Generator) -> None:
    """A fluffy patch of merged puffs, ragged at the border, with air bronchograms that show at high resolution."""
    side, radius = side_of(finding.label) or "left", 0.5 * finding.size / CHEST_MM
    u0, y0 = finding.places[0]
    u, y = film.lateral[side] - u0, film.y - y0
    count = 11
    turn = float(rng.uniform(0, 2 * np.pi)) + np.arange(count) * 2.4  # sunflower
    reach = radius * (0.30 + 0.42 * np.sqrt(np.arange(count) / count)) * rng.uniform(0.85, 1.15, count)
    wide, thick = radius * rng.uniform(0.24, 0.42, count), rng.uniform(0.55, 1.0, count)
    puffs = 0.45 * np.exp(-(u * u + y * y) / np.float32((0.6 * radius) ** 2))
    for a, r, w, t in zip(turn.tolist(), reach.tolist(), wide.tolist(), thick.tolist(), strict=True):
        puffs += np.float32(t) * np.exp(-((u - r * np.cos(a)) ** 2 + (y - r * np.sin(a)) ** 2) / np.float32(w * w))
    patch = np.clip(1.1 * puffs - 0.18, 0.0, 1.0)
    n = 4  # bronchi fan out from the side of the hilum
    heading = float(rng.uniform(-0.4, 0.4)) + np.linspace(-0.6, 0.6, n) + rng.uniform(-0.12, 0.12, n)
    heading = np.stack([np.cos(heading), np.sin(heading)], axis=1)
    root = np.array([u0 - 0.55 * radius, y0])
    starts, ends = root + 0.25 * radius * heading, root + (radius * rng.uniform(0.7, 1.15, n))[:, None] * heading
    air = np.zeros_like(film.image)
    strokes(air, film.to_picture(side, starts), film.to_picture(side, ends), np.full(n, 0.8 / CHEST_MM), np.full(n, 0.45))
    brighten(film.image, finding.contrast, patch * (1.0 - air) * film.lung[side])


def _nodule(film: Exposure, finding: Finding, rng: np.random.Generator) -> None:
    """Round spots, the first of the finding's size and the others a little smaller; short spicules at high resolution."""
    side = side_of(finding.label) or "left"
    for number, (u0, y0) in enumerate(finding.places):
        radius = 0.5 * finding.size / CHEST_MM * (1.0 if number == 0 else float(rng.uniform(0.82, 1.0)))
        lobes, phase = int(rng.integers(3, 6)), float(rng.uniform(0, 2 * np.pi))
        u, y = film.lateral[side] - u0, film.y - y0
        border = radius * (1.0 + 0.045 * np.cos(lobes * np.arctan2(y, u) + phase))
        spot = inside(np.hypot(u, y) - border, max(film.soft, 0.9 / CHEST_MM))
        n = 8
        turn = phase + np.arange(n) * (2 * np.pi / n) + rng.uniform(-0.2, 0.2, n)
        heading = np.stack([np.cos(turn), np.sin(turn)], axis=1)
        starts = (u0, y0) + 0.9 * radius * heading
        ends = (u0, y0) + (radius * rng.uniform(1.15, 1.45, n))[:, None] * heading
        strokes(spot, film.to_picture(side, starts), film.to_picture(side, ends), np.full(n, 0.35 / CHEST_MM), np.full(n, 0.7))
        brighten(film.image, finding.contrast, spot * film.lung[side])


def _effusion(film: Exposure, finding: Finding, rng: np.random.Generator) -> None:
    """Fluid whose meniscus reaches `size` above the costophrenic angle at the outer wall and falls towards the middle."""
    side, height = side_of(finding.label) or "left", finding.size / CHEST_MM
    drop = min(0.075, 0.5 * height) * float(rng.uniform(0.85, 1.15))
    climb = np.clip((film.lateral[side] - 0.08) / 0.28, 0.0, 1.0)
    surface = film.angle(side) - height + drop * (1.0 - climb * climb)
    fluid = inside(surface - film.y, max(film.soft, 1.5 / CHEST_MM)) * film.lung[side]
    film.image += fluid * np.maximum(LUNG + finding.contrast - film.image, 0.0)  # opaque; the heart in it stays as bright


def _pneumothorax(film: Exposure, finding: Finding, _rng: np.random.Generator) -> None:
    """A rim of air without vessels over apex and outer wall; the visceral pleura is a thin bright line."""
    side = side_of(finding.label) or "left"
    collapsed = film.lung_distance(side, shrink=finding.size / CHEST_MM)
    where = inside(film.y - 0.66, 0.05) * film.lung[side] * inside(0.09 - film.lateral[side], 0.01)
    film.image *= 1.0 - inside(-collapsed, film.soft) * where * np.float32(min(finding.contrast / LUNG, 1.0))
    brighten(film.image, 1.6 * finding.contrast, band(collapsed, 1.3 / CHEST_MM, film.resolution) * where)


def _tube(film: Exposure, finding: Finding, rng: np.random.Generator) -> None:
    """A tube in the trachea, walls brighter than its bore, its tip `size` above the carina."""
    drift = float(rng.uniform(-0.006, 0.006))
    tip = film.build.carina - finding.size / CHEST_MM
    off = np.abs(film.x - drift)
    above = inside(film.y - tip, film.soft)
    wall = np.clip(0.75 * band(off, 0.0145, film.resolution) + 0.25 * band(off - 0.0125, 0.003, film.resolution), 0.0, 1.0)
    brighten(film.image, finding.contrast, wall * above)


def _pacemaker(film: Exposure, finding: Finding, rng: np.random.Generator) -> None:
    """A generator over the upper left chest, `size` wide, and its lead to the heart."""
    bx, by = 0.285 + float(rng.uniform(-0.015, 0.015)), 0.185 + float(rng.uniform(-0.015, 0.015))
    half = 0.5 * finding.size / CHEST_MM
    path = [(bx - half, by + 0.01), (bx - half - 0.05, by - 0.01), (0.10, by + 0.04), (0.05, 0.33), (0.035, 0.5)]
    path.append((0.075, film.build.base - 0.11))
    points = film.to_picture("left", np.array(path))
    lead = np.zeros_like(film.image)
    pieces = np.concatenate([np.linspace(a, b, 5) for a, b in pairwise(points)])
    strokes(lead, pieces[:-1], pieces[1:], np.full(len(pieces) - 1, 1.8 / CHEST_MM), np.ones(len(pieces) - 1))
    strokes(lead, points[-1:], points[-1:] + np.array([0.004, 0.009]), np.array([2.6 / CHEST_MM]), np.ones(1))
    box = np.maximum(np.abs(film.x - bx) - 0.72 * half, np.abs(film.y - by) - 0.5 * half) - 0.28 * half
    corner = np.hypot(np.maximum(np.abs(film.x - bx) - 0.6 * half, 0.0), np.maximum(np.abs(film.y - by) - 0.4 * half, 0.0))
    case = inside(np.maximum(box, corner - 0.4 * half), film.soft)
    above = np.maximum(np.abs(film.x - bx + 0.25 * half) - 0.5 * half, np.abs(film.y - by + 0.55 * half) - 0.12 * half)
    header = inside(above, film.soft)
    brighten(film.image, finding.contrast, np.maximum(case * (1.0 - 0.25 * header), lead))


_DRAW: dict[str, Callable[[Exposure, Finding, np.random.Generator], None]] = {  # in this order, from back to front
    "cardiomegaly": _cardiomegaly,
    "pulmonary edema": _edema,
    "consolidation": _consolidation,
    "nodule": _nodule,
    "effusion": _effusion,
    "pneumothorax": _pneumothorax,
    "endotracheal tube": _tube,
    "pacemaker": _pacemaker,
}


def _develop(case: Case, image: Field, rng: np.random.Generator) -> Field:
    """The film: gamma, gain, fog, mottle and grain; (R, R) in [0, 1]."""
    gamma, gain, fog, rough = (float(v) for v in rng.uniform((0.88, 0.93, 0.0, 0.006), (1.15, 1.03, 0.04, 0.013)))
    resolution = image.shape[0]
    mottle = case.noise(_TISSUE, resolution, (8, 16, 32))
    film = np.clip(image + 0.008 * mottle, 0.0, 1.0) ** np.float32(gamma) * np.float32(gain) + np.float32(fog)
    return np.clip(film + np.float32(rough) * case.noise(0, resolution, _GRAIN), 0.0, 1.0)


def draw_chest(case: Case, resolution: int) -> Image.Image:
    """A frontal radiograph of the case, RGB with equal channels; the patient's left is on the image's right."""
    scene = case.stream("scene")
    film = Exposure(ChestBuild.of(case), scene, resolution)
    for kind, paint in _DRAW.items():
        for finding in case.findings:
            if kind_of(finding.label) == kind and finding.contrast > 0:
                rng = case.finding_stream(finding.label)
                paint(film, placed(finding, rng), rng)
    return to_image(_develop(case, film.image, scene))
