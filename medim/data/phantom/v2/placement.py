"""Where findings lie and how large they are, so that each can be seen: overlap is allowed, hiding is not."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from medim.common.errors import UserError
from medim.data.phantom.labels import kind_of, side_of
from medim.data.phantom.v2.findings import CHEST_MM, PATCH_UM, TABLES, ZONES, Finding, severity_of, spec_of

_TRIES = 24  # proposals before a finding is left out
_DARTS = 48  # places tried for each region of a patch
_GAP = 0.012  # between regions of a patch, of its side
_EFFUSION_UNDER_AIR = 115.0
_EFFUSION_UNDER_EDEMA = 105.0
_RIM_AROUND_OPACITY = 30.0  # widest rim of air (mm) that leaves the lung's middle in place
_REGIONS = ("necrosis", "glands", "lymphocytic infiltrate", "pigment")


def outer_wall(y: float, width: float = 0.355, apex: float = 0.13) -> float:
    """Distance of the lung's outer wall from the midline at height `y`; by default of the narrowest build."""
    rise = min(max((0.56 - y) / (0.56 - apex), 0.0), 1.0)
    return width * math.sqrt(1.0 - rise * rise) + 0.02 * max(y - 0.56, 0.0)


def radius_of(finding: Finding) -> float:
    """Half of the size, in units of the picture's side."""
    scale = PATCH_UM if finding.label in _REGIONS else CHEST_MM
    return 0.5 * finding.size / scale


def hides(over: Finding, under: Finding) -> bool:
    """Whether `over` covers `under` of the same chest so far that a reader could not tell it."""
    kind, covered, zone = kind_of(over.label), kind_of(under.label), under.zone
    opacity = covered in ("consolidation", "nodule")
    if kind == "cardiomegaly":
        return opacity and side_of(under.label) == "left" and zone == "lower"
    if kind == "pacemaker":
        return opacity and side_of(under.label) == "left" and zone == "upper"
    if kind == "pulmonary edema":
        return opacity and zone == "mid"
    if kind == "effusion" and covered == "pulmonary edema":
        return over.size > _EFFUSION_UNDER_EDEMA
    if side_of(over.label) != side_of(under.label):
        return False
    if kind == "effusion":
        if opacity and zone is not None:
            return over.size > TABLES.effusion_limit[covered][zone]
        return covered == "pneumothorax" and over.size > _EFFUSION_UNDER_AIR
    if kind == "pneumothorax" and opacity:
        rim = over.size / CHEST_MM + 0.015
        outside = any(u + radius_of(under) > outer_wall(y) - rim for u, y in under.places)
        return over.size > _RIM_AROUND_OPACITY or (covered == "nodule" and outside)
    if kind == "consolidation" and covered == "nodule":
        reach = radius_of(over) + radius_of(under) + 0.02
        return any(math.dist(a, b) < reach for a in over.places for b in under.places)
    return False


def conflict(a: Finding, b: Finding) -> bool:
    """Whether two findings cannot be in one picture."""
    if {a.label, b.label} == {"low cellularity", "high cellularity"}:
        return True
    if a.label in _REGIONS and b.label in _REGIONS:
        reach = radius_of(a) + radius_of(b)
        return any(math.dist(p, q) < reach for p in a.places for q in b.places)
    return hides(a, b) or hides(b, a)


def places_of(
    label: str, size: float, count: int, zone: str | None, others: Iterable[Finding], rng: np.random.Generator
) -> tuple[tuple[float, float], ...] | None:
    """Centres for `count` of a finding, clear of one another and of other regions; None where there is no room.
    Empty for a finding whose place is given by the anatomy."""
    kind = kind_of(label)
    if kind in TABLES.places:
        (u0, u1), (y0, y1) = TABLES.places[kind][zone or "mid"]
        if kind == "consolidation":
            return ((rng.uniform(u0, u1), rng.uniform(y0, y1)),)
        radius = 0.5 * size / CHEST_MM
        darts = np.stack([rng.uniform(u0, u1, _DARTS), rng.uniform(y0, y1, _DARTS)], axis=1)
        darts = darts[[u + radius < outer_wall(y) - 0.005 for u, y in darts]]
        return _clear(darts, count, radius, [], 0.02)
    if kind not in _REGIONS:
        return ()
    radius = 0.5 * size / PATCH_UM
    margin = 0.20 if kind == "necrosis" else radius + 0.01
    taken = [(p, radius_of(other)) for other in others if other.label in _REGIONS for p in other.places]
    return _clear(rng.uniform(margin, 1.0 - margin, (_DARTS * count, 2)), count, radius, taken, _GAP)


def _clear(
    darts: np.ndarray, count: int, radius: float, taken: Sequence[tuple[tuple[float, float], float]], gap: float
) -> tuple[tuple[float, float], ...] | None:
    """The first `count` of the darts (N, 2) that keep `gap` from what is taken and from one another."""
    chosen: list[tuple[float, float]] = []
    for x, y in darts:
        place = (float(x), float(y))
        if all(math.dist(place, p) > r + radius + gap for p, r in taken) and all(
            math.dist(place, p) > 2 * radius + gap for p in chosen
        ):
            chosen.append(place)
            if len(chosen) == count:
                return tuple(chosen)
    return None


def _drawn(label: str, others: Sequence[Finding], rng: np.random.Generator) -> Finding | None:
    spec, kind = spec_of(label), kind_of(label)
    size = float(np.exp(rng.uniform(np.log(spec.sizes[0]), np.log(spec.sizes[1]))))
    contrast = float(rng.uniform(*spec.contrasts))
    count = 1 + int(rng.choice(len(spec.counts), p=spec.counts))
    zone = ZONES[int(rng.choice(3, p=TABLES.zone_share[kind]))] if kind in TABLES.zone_share else None
    places = places_of(label, size, count, zone, others, rng)
    if places is None:
        return None
    return Finding(label, severity_of(label, size, contrast), size, contrast, count, zone, places)


def propose(label: str, others: Sequence[Finding], rng: np.random.Generator) -> Finding | None:
    """A new finding that neither hides one of `others` nor is hidden; None where the picture has no room for it."""
    for _ in range(_TRIES):
        finding = _drawn(label, others, rng)
        if finding is not None and not any(conflict(finding, other) for other in others):
            return finding
    return None


def evolve(before: Finding, others: Sequence[Finding], rng: np.random.Generator, growth: tuple[float, float]) -> Finding | None:
    """The same finding at a later visit; None where it would now be hidden.
    `growth`: range of the factor on its size (on its contrast too, where that grades it); clipped to the default ranges."""
    spec = spec_of(before.label)
    for _ in range(_TRIES):
        factor = float(rng.uniform(*growth)) ** spec.pace
        size = float(np.clip(before.size * (factor if spec.graded_by == "size" else 1.0), *spec.sizes))
        stain = factor if spec.graded_by == "contrast" else float(rng.uniform(0.96, 1.04))
        contrast = float(np.clip(before.contrast * stain, *spec.contrasts))
        places = before.places
        if before.label in _REGIONS:  # another biopsy: other places
            drawn = places_of(before.label, size, before.count, before.zone, others, rng)
            if drawn is None:
                continue
            places = drawn
        severity = severity_of(before.label, size, contrast)
        after = replace(before, severity=severity, size=size, contrast=contrast, places=places)
        if not any(conflict(after, other) for other in others):
            return after
    return None


def placed(finding: Finding, rng: np.random.Generator) -> Finding:
    """The finding with its places: its own, or drawn from `rng` for one built by hand without.
    Raises UserError: no room for so many so large."""
    if finding.places:
        if len(finding.places) != finding.count:
            raise UserError(f"phantom-v2: '{finding.label}' has count {finding.count} and {len(finding.places)} places")
        return finding
    places = places_of(finding.label, finding.size, finding.count, finding.zone, (), rng)
    if places is None:
        raise UserError(f"phantom-v2: no room for '{finding.label}' with size {finding.size:g} and count {finding.count}")
    return replace(finding, places=places)
