"""Draws a chest-radiograph-like picture of a case: frontal view, the patient's left on the image's right."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from PIL import Image

from medim.data.phantom.brushes import Field, blend, grid, grid_noise, inside, lung_distance, segment_distance, to_image
from medim.data.phantom.labels import SIDES
from medim.data.phantom.v1.cases import COHORT, Case

_DIRECTION = {"left": 1.0, "right": -1.0}  # sign of x away from the midline


@dataclass(frozen=True)
class ChestBuild:
    """The anatomy that a patient's studies share, in units of the image's side."""

    width: float  # of the lungs, midline to outer wall
    apex: float
    base: float  # height of the costophrenic angles
    heart: float  # scale
    ribs: float  # phase of the rib shadows, in periods
    girth: float  # brightness of soft tissue

    @classmethod
    def of(cls, case: Case) -> "ChestBuild":
        rng = COHORT.patient_stream(case.split, "build", case.domain, case.patient)
        return cls(
            width=rng.uniform(0.355, 0.40),
            apex=rng.uniform(0.09, 0.13),
            base=rng.uniform(0.80, 0.85),
            heart=rng.uniform(0.93, 1.07),
            ribs=rng.uniform(0.0, 1.0),
            girth=rng.uniform(0.52, 0.62),
        )


class Radiograph:
    """One exposure being drawn: `image` (R, R) in [0, 1], with the geometry that its layers share."""

    def __init__(self, case: Case, resolution: int) -> None:
        self.build, self.rng = ChestBuild.of(case), COHORT.stream(case.split, "picture", case.index)
        rng = self.rng
        self.soft = 0.75 / resolution
        x, y = grid(resolution)
        tilt, zoom = rng.uniform(-0.04, 0.04), rng.uniform(0.97, 1.04)
        shift_x, shift_y = rng.uniform(-0.02, 0.02, size=2)
        x, y = (x - 0.5 - shift_x) / zoom, (y - 0.5 - shift_y) / zoom
        self.x = (x + tilt * y).astype(np.float32)  # from the midline, positive towards the patient's left
        self.y = (y - tilt * x + 0.5).astype(np.float32)
        self.lateral = {side: self.x * np.float32(_DIRECTION[side]) for side in SIDES}
        self.lung = {side: inside(self.lung_distance(side), self.soft) for side in SIDES}

    def lung_distance(self, side: str, shrink: float = 0.0) -> Field:
        """Signed distance to a lung's border, see `brushes.lung_distance`."""
        build = self.build
        angle = build.base - (0.02 if side == "right" else 0.0)
        return lung_distance(self.lateral[side], self.y, build.width, build.apex, angle, shrink)

    def body(self) -> None:
        """Soft tissue, lungs, ribs, mediastinum, trachea."""
        x, y, build = self.x, self.y, self.build
        across = np.abs(x)
        shoulder = np.clip((y - 0.0) / 0.17, 0.0, 1.0)
        half = 0.13 + 0.34 * shoulder * shoulder * (3.0 - 2.0 * shoulder)
        torso = inside(across - half, 2 * self.soft)
        image = torso * np.float32(build.girth)
        lungs = self.lung["left"] + self.lung["right"]
        blend(image, 0.27 - 0.05 * (y - 0.4), lungs)
        for side in SIDES:  # vessels at the hila, faint
            u = self.lateral[side] - 0.13
            image += 0.09 * np.exp(-(u * u) / 0.003 - (y - 0.46) ** 2 / 0.008) * self.lung[side]
        ribs = np.cos(np.float32(2 * np.pi) * (8.5 * (y - 1.1 * across * across) + np.float32(build.ribs)))
        image += 0.035 * ribs * torso * inside(0.09 - across, 0.03)
        clavicle = np.abs(y - (build.apex + 0.115 - 0.28 * across)) - 0.012
        image += 0.09 * inside(clavicle, 0.014) * inside(across - 0.36, 0.02) * inside(0.05 - across, 0.02)
        blend(image, build.girth + 0.08, inside(across - 0.05, 0.03) * torso)
        blend(image, build.girth - 0.17, inside(np.maximum(across - 0.034, y - 0.37), 0.014))
        self.image = image

    def heart(self, enlarged: bool) -> None:
        """Cardiothoracic ratio about 0.42, or about 0.68 when enlarged."""
        jitter = self.rng.uniform(0.96, 1.04)
        rx, ry, offset = (0.262, 0.165, 0.06) if enlarged else (0.162, 0.15, 0.045)
        rx, ry = rx * self.build.heart * jitter, ry * self.build.heart
        x, y = self.x - offset, self.y - (self.build.base - 0.03 - 0.75 * ry)
        dx, dy = (x + 0.3 * y) / rx, (y - 0.3 * x) / ry  # the apex points down and to the patient's left
        distance = (np.sqrt(dx * dx + dy * dy) - 1.0) * min(rx, ry)
        blend(self.image, self.build.girth + 0.11, inside(distance, 2 * self.soft))

    def edema(self) -> None:
        """Bat-wing haze at both hila."""
        strength = self.rng.uniform(0.75, 0.95)
        y = (self.y - 0.43) / 0.15
        for side in SIDES:
            u = (self.lateral[side] - 0.15) / 0.115
            r2 = u * u + y * y
            blend(self.image, 0.68, strength * np.exp(-r2 * r2 * 0.6) * self.lung[side])

    def consolidation(self, side: str, zone: str) -> None:
        """A fluffy patch of merged puffs in the upper or lower zone."""
        u0, y0 = (0.205, 0.27) if zone == "upper" else (0.235, 0.635)
        u0, y0 = u0 + self.rng.uniform(-0.015, 0.015), y0 + self.rng.uniform(-0.02, 0.02)
        count = 6
        turn = self.rng.uniform(0, 2 * np.pi) + np.arange(count) * (2 * np.pi / count)
        reach = self.rng.uniform(0.05, 0.095, count)
        us, ys = np.append(u0 + reach * np.cos(turn), u0), np.append(y0 + reach * np.sin(turn), y0)
        widths = np.append(self.rng.uniform(0.038, 0.052, count), 0.065)
        puffs = np.zeros_like(self.image)
        for u, y, width in zip(us, ys, widths, strict=True):
            puffs += np.exp(-((self.lateral[side] - u) ** 2 + (self.y - y) ** 2) / np.float32(width * width))
        blend(self.image, self.rng.uniform(0.76, 0.84), np.clip(1.05 * puffs - 0.12, 0.0, 1.0) * self.lung[side])

    def nodule(self, side: str, size: str) -> None:
        """A sharp round spot in the mid zone: about 6 or 10 of 64 pixels across."""
        radius = self.rng.uniform(0.045, 0.05) if size == "small" else self.rng.uniform(0.075, 0.083)
        u0, y0 = self.rng.uniform(0.185, 0.25), self.rng.uniform(0.38, 0.46)
        distance = np.hypot(self.lateral[side] - u0, self.y - y0) - np.float32(radius)
        blend(self.image, self.rng.uniform(0.88, 0.95), inside(distance, self.soft))

    def effusion(self, side: str, size: str) -> None:
        """Fluid over the diaphragm with a meniscus that climbs laterally: about 1/6 or 1/2 of the lung's height."""
        level = self.build.base - 0.10 if size == "small" else 0.53
        level += self.rng.uniform(-0.012, 0.012)
        climb = np.clip((self.lateral[side] - 0.08) / 0.29, 0.0, 1.0)
        surface = level - 0.10 * climb * climb
        blend(self.image, 0.84, inside(surface - self.y, 1.5 * self.soft) * self.lung[side])

    def pneumothorax(self, side: str) -> None:
        """Air without lung markings over apex and outer wall, the visceral pleura a bright line."""
        collapsed = self.lung_distance(side, shrink=self.rng.uniform(0.11, 0.13))
        above = inside(self.y - 0.64, 0.05)
        beside = inside(0.09 - self.lateral[side], 0.01)
        blend(self.image, 0.0, inside(-collapsed, self.soft) * above * self.lung[side] * beside)
        line = inside(np.abs(collapsed) - max(0.008, 0.4 * self.soft), self.soft)
        blend(self.image, 0.80, line * above * self.lung[side] * beside)

    def pacemaker(self) -> None:
        """A generator over the upper left chest and its lead to the heart."""
        bx, by = 0.285 + self.rng.uniform(-0.015, 0.015), 0.185 + self.rng.uniform(-0.015, 0.015)
        path = [(bx - 0.05, by + 0.01), (0.10, by + 0.05), (0.045, 0.38), (0.075, self.build.base - 0.13)]
        lead = np.minimum.reduce([segment_distance(self.x, self.y, a, b) for a, b in pairwise(path)])
        blend(self.image, 0.97, inside(lead - 0.010, self.soft))
        box = np.maximum(np.abs(self.x - bx) - 0.075, np.abs(self.y - by) - 0.058)
        blend(self.image, 1.0, inside(box, self.soft))

    def endotracheal_tube(self) -> None:
        """A tube in the tracheal shadow, its tip above the carina."""
        drift, tip = self.rng.uniform(-0.008, 0.008), self.rng.uniform(0.33, 0.38)
        distance = np.maximum(np.abs(self.x - drift) - 0.016, self.y - tip)
        blend(self.image, 1.0, inside(distance, self.soft))

    def put(self, label: str, grade: str | None) -> None:
        """Draws a finding; a grade where it has one."""
        side, _, kind = label.partition(" ")
        if side not in SIDES:
            whole = {"pulmonary edema": self.edema, "pacemaker": self.pacemaker, "endotracheal tube": self.endotracheal_tube}
            whole[label]() if label in whole else self.heart(enlarged=True)
        elif grade is None:
            self.pneumothorax(side)
        else:
            {"consolidation": self.consolidation, "effusion": self.effusion, "nodule": self.nodule}[kind](side, grade)

    def expose(self) -> Image.Image:
        """The film: gamma, gain, fog and grain."""
        gamma, gain, fog, noise = (self.rng.uniform(*r) for r in ((0.85, 1.2), (0.92, 1.03), (0.0, 0.04), (0.008, 0.02)))
        film = np.clip(self.image, 0.0, 1.0) ** np.float32(gamma) * np.float32(gain) + np.float32(fog)
        grain = grid_noise(self.rng, 64, film.shape[0], Image.Resampling.BILINEAR)
        return to_image(np.clip(film + np.float32(noise) * grain, 0.0, 1.0))


def draw_chest(case: Case, resolution: int) -> Image.Image:
    """A frontal radiograph of the case, RGB with equal channels."""
    film = Radiograph(case, resolution)
    film.body()
    film.heart(enlarged=case.has("cardiomegaly"))
    sided = [f"{side} {kind}" for side in SIDES for kind in ("consolidation", "effusion", "pneumothorax", "nodule")]
    for label in ("pulmonary edema", *sided, "endotracheal tube", "pacemaker"):
        if case.has(label):
            film.put(label, case.attributes.get(label))
    return film.expose()
