"""Draws an H&E-like tissue patch of a case: stain concentrations first, then light absorbed (Beer-Lambert)."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from medim.data.phantom.brushes import Field, Stains, grid_noise, inside, packed, stamp, to_image
from medim.data.phantom.v1.cases import COHORT, Case

_DEBRIS = np.array([0.46, 0.66, 0.52], np.float32)  # absorbance in red, green, blue
_SPACING = {"low": 0.29, "moderate": 0.165, "high": 0.104}  # between nuclei
RADIUS = {"necrosis": 0.29, "gland": 0.165, "lymphocytes": 0.125, "pigment": 0.10}


@dataclass(frozen=True)
class TissueBuild:
    """Tissue and staining that a patient's studies share; strengths are relative."""

    haematoxylin: float
    eosin: float
    warmth: float  # shifts eosin between magenta and orange
    fibres: float  # direction of the stroma, radians
    nuclei: float  # scale of the nuclei

    @classmethod
    def of(cls, case: Case) -> "TissueBuild":
        rng = COHORT.patient_stream(case.split, "build", case.domain, case.patient)
        return cls(
            haematoxylin=rng.uniform(0.88, 1.15),
            eosin=rng.uniform(0.8, 1.25),
            warmth=rng.uniform(-0.1, 0.1),
            fibres=rng.uniform(0.0, np.pi),
            nuclei=rng.uniform(0.93, 1.07),
        )


@dataclass(frozen=True)
class Region:
    kind: str
    x: float
    y: float
    radius: float


def place(case: Case, rng: np.random.Generator) -> list[Region]:
    """Room for every region of the case, the largest first, clear of one another where the patch allows."""
    wanted = ["necrosis"] * case.has("necrosis") + ["gland"] * int(case.attributes.get("glands", "0"))
    wanted += ["lymphocytes"] * int(case.attributes.get("lymphocytic infiltrate", "0"))
    wanted += ["pigment"] * (2 * case.has("pigment"))
    placed: list[Region] = []
    for kind in wanted:
        radius = RADIUS[kind] * rng.uniform(0.95, 1.05)
        margin = 0.20 if kind == "necrosis" else radius
        tries = rng.uniform(margin, 1.0 - margin, size=(96, 2))
        if placed:
            gaps = np.min([np.hypot(tries[:, 0] - r.x, tries[:, 1] - r.y) - r.radius - radius for r in placed], axis=0)
            free = np.flatnonzero(gaps > 0.01)
            best = int(free[0]) if len(free) else int(np.argmax(gaps))
        else:
            best = 0
        placed.append(Region(kind, float(tries[best, 0]), float(tries[best, 1]), radius))
    return placed


class Patch(Stains):
    def __init__(self, case: Case, resolution: int) -> None:
        super().__init__(resolution)
        self.build, self.rng = TissueBuild.of(case), COHORT.stream(case.split, "picture", case.index)
        self.eosin = self._stroma()

    def _stroma(self) -> Field:
        angle = self.build.fibres + self.rng.uniform(-0.3, 0.3)
        along = self.x * np.float32(np.cos(angle)) + self.y * np.float32(np.sin(angle))
        across = self.y * np.float32(np.cos(angle)) - self.x * np.float32(np.sin(angle))
        phase = self.rng.uniform(0, 2 * np.pi, 3)
        bend = 0.35 * np.sin(7.0 * along + phase[0])
        wave = np.sin(24.0 * across + 3.0 * bend + phase[1]) + 0.6 * np.sin(11.0 * across + 5.0 * along + phase[2])
        return (0.42 + 0.055 * wave).astype(np.float32)

    def _scatter(
        self, field: Field, xy: np.ndarray, radius: tuple[float, float], aspect: tuple[float, float], value: float
    ) -> None:
        n = len(xy)
        angle = self.rng.uniform(0, np.pi, n)
        strength = value * self.rng.uniform(0.9, 1.1, n)
        stamp(field, xy[:, 0], xy[:, 1], self.rng.uniform(*radius, n), self.rng.uniform(*aspect, n), angle, strength)

    def background(self, density: str, regions: list[Region]) -> None:
        """Nuclei on a jittered lattice, so that density reads the same everywhere; none inside a region."""
        spacing = _SPACING[density]
        count = round(1.0 / spacing) + 2
        ticks = (np.arange(count) - 0.5 * (count - 1)) * spacing + 0.5 + self.rng.uniform(-0.5, 0.5) * spacing
        xs, ys = np.meshgrid(ticks, ticks)
        xy = np.stack([xs.ravel(), ys.ravel()], axis=1)
        xy = xy + self.rng.uniform(-0.32, 0.32, xy.shape) * spacing
        for region in regions:
            clearance = region.radius * (1.12 if region.kind == "necrosis" else 1.0) + 0.02
            xy = xy[np.hypot(xy[:, 0] - region.x, xy[:, 1] - region.y) > clearance]
        scale = self.build.nuclei
        self._scatter(self.nuclei, xy, (0.027 * scale, 0.034 * scale), (0.65, 1.0), 1.35)

    def gland(self, region: Region) -> None:
        """A white lumen within a ring of cytoplasm and nuclei."""
        distance = np.hypot(self.x - region.x, self.y - region.y)
        soft = 0.75 / self.resolution
        wall, lumen = inside(distance - region.radius * 0.97, soft), inside(distance - region.radius * 0.50, soft)
        self.eosin += (0.50 - self.eosin) * wall
        self.basophilia += 0.16 * wall
        self.eosin *= 1.0 - 0.97 * lumen
        self.basophilia *= 1.0 - lumen
        count = 15
        turn = self.rng.uniform(0, 2 * np.pi) + np.arange(count) * (2 * np.pi / count)
        ring = region.radius * 0.78
        x, y = region.x + ring * np.cos(turn), region.y + ring * np.sin(turn)
        ones = np.ones(count)
        stamp(self.nuclei, x, y, 0.031 * ones, 0.72 * ones, turn, 1.45 * ones)

    def infiltrate(self, region: Region) -> None:
        """Small, round, very dark cells, packed."""
        self._scatter(self.lymphocytes, self._packed(region, 34), (0.0155, 0.019), (0.9, 1.0), 1.75)

    def pigment(self, region: Region) -> None:
        """Dark brown granules, packed."""
        self._scatter(self.melanin, self._packed(region, 18), (0.016, 0.024), (0.8, 1.0), 1.25)

    def _packed(self, region: Region, count: int) -> np.ndarray:
        return packed(self.rng, region.x, region.y, region.radius - 0.015, count, 0.05 * region.radius)

    def necrosis(self, region: Region) -> None:
        """A pale, grey, structureless area with an irregular border."""
        dx, dy = self.x - region.x, self.y - region.y
        turn = np.arctan2(dy, dx)
        phase = self.rng.uniform(0, 2 * np.pi, 2)
        border = region.radius * (1.0 + 0.07 * np.sin(3 * turn + phase[0]) + 0.05 * np.sin(5 * turn + phase[1]))
        dead = inside(np.hypot(dx, dy) - border, 0.012)
        self.eosin *= 1.0 - 0.80 * dead
        self.basophilia *= 1.0 - dead
        self.debris += 0.36 * dead

    def light(self) -> Field:
        """Transmitted light (R, R, 3) in [0, 1] under a lamp that varies a little, with grain."""
        build, rng = self.build, self.rng
        absorbance = self.absorbance(build.haematoxylin, build.eosin, build.warmth, _DEBRIS)
        lamp = np.float32(rng.uniform(0.95, 1.0)) * (1.0 + rng.uniform(-0.01, 0.01, 3)).astype(np.float32)
        strength = np.float32(rng.uniform(0.006, 0.015))
        noise = strength * grid_noise(rng, 64, self.resolution, Image.Resampling.BILINEAR)
        return np.clip(np.exp(-absorbance) * lamp + noise[:, :, None], 0.0, 1.0)


def draw_pathology(case: Case, resolution: int) -> Image.Image:
    patch = Patch(case, resolution)
    regions = place(case, patch.rng)
    patch.background(case.attributes["cellularity"], regions)
    draw = {"necrosis": patch.necrosis, "gland": patch.gland, "lymphocytes": patch.infiltrate, "pigment": patch.pigment}
    for region in regions:
        draw[region.kind](region)
    return to_image(patch.light())
