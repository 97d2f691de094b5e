"""The normal chest: a patient's build, and one exposure of it without findings."""

from dataclasses import dataclass

import numpy as np

from medim.data.phantom.brushes import Field, band, blend, grid, inside, lung_distance, strokes
from medim.data.phantom.labels import SIDES
from medim.data.phantom.v2.cases import Case
from medim.data.phantom.v2.findings import CHEST_MM

LUNG = 0.27  # brightness of aerated lung, on which contrasts of chest findings are stated
DIRECTION = {"left": 1.0, "right": -1.0}  # sign of x away from the midline: the patient's left is on the image's right
HEART_SHIFT = 0.045  # of the normal heart's middle to the patient's left
_LEAN = 0.3  # of the heart's long axis


@dataclass(frozen=True)
class Vessels:
    """A lung's vessels as straight pieces: (N, 2) ends as (outwards, down), (N,) half widths, in units of the side."""

    starts: np.ndarray
    ends: np.ndarray
    half: np.ndarray

    @classmethod
    def sample(cls, rng: np.random.Generator) -> "Vessels":
        """A tree that forks three times, from the hilum outwards."""
        angle = np.radians(np.linspace(-72.0, 78.0, 7) + rng.uniform(-9.0, 9.0, 7))
        tips = np.stack([np.full(7, 0.095), np.linspace(0.38, 0.46, 7)], axis=1)
        starts, ends, halves = [], [], []
        half = 1.8 / CHEST_MM
        for reach in (0.085, 0.068, 0.055, 0.045):
            heading = np.stack([np.cos(angle), np.sin(angle)], axis=1)
            new = tips + heading * (reach * rng.uniform(0.75, 1.25, len(tips)))[:, None]
            starts.append(tips)
            ends.append(new)
            halves.append(half * rng.uniform(0.85, 1.1, len(tips)))
            spread = rng.uniform(0.22, 0.5, len(tips))
            angle = np.concatenate([angle + spread, angle - spread * rng.uniform(0.4, 1.0, len(tips))])
            tips, half = np.concatenate([new, new]), half * 0.64
        return cls(np.concatenate(starts), np.concatenate(ends), np.concatenate(halves))


@dataclass(frozen=True)
class ChestBuild:
    """The anatomy that a patient's studies share, in units of the picture's side."""

    width: float  # of the lungs, midline to outer wall
    apex: float
    base: float  # height of the costophrenic angles
    heart: float  # transverse diameter of the normal heart, mm
    knob: float  # radius of the aortic arch
    ribs: float  # phase of the rib shadows, in periods
    slope: float  # how steeply the ribs fall
    girth: float  # brightness of soft tissue
    carina: float  # height of the tracheal fork
    vessels: dict[str, Vessels]

    @classmethod
    def of(cls, case: Case) -> "ChestBuild":
        rng = case.patient_stream("build")
        names = ("width", "apex", "base", "heart", "knob", "ribs", "slope", "girth", "carina")
        low = (0.355, 0.09, 0.80, 118.0, 0.034, 0.0, 0.95, 0.52, 0.385)
        high = (0.40, 0.13, 0.85, 140.0, 0.050, 1.0, 1.25, 0.62, 0.41)
        values = (float(value) for value in rng.uniform(low, high))
        return cls(**dict(zip(names, values, strict=True)), vessels={side: Vessels.sample(rng) for side in SIDES})


class Exposure:
    """One exposure: `image` (R, R), brightness in [0, 1] before the film, in the frame of the patient's anatomy.
    `x`, `y`: anatomical coordinates of each pixel: from the midline (positive to the patient's left) and down.
    `lateral`: per side, distance from the midline outwards.
    `lung`: per side, coverage of the lung.
    `heart_shadow`: coverage of the heart.
    `heart_brightness`: of heart and mediastinum."""

    def __init__(self, build: ChestBuild, rng: np.random.Generator, resolution: int) -> None:
        self.build, self.resolution = build, resolution
        self.soft = 0.5 / resolution
        self.heart_brightness = build.girth + 0.11
        tilt, zoom, shift_x, shift_y = (float(v) for v in rng.uniform((-0.04, 0.97, -0.02, -0.02), (0.04, 1.04, 0.02, 0.02)))
        self._frame = (tilt, zoom, shift_x, shift_y)
        x, y = grid(resolution)
        x, y = (x - (0.5 + shift_x)) / zoom, (y - (0.5 + shift_y)) / zoom
        self.x, self.y = x + tilt * y, y - tilt * x + 0.5
        self.lateral = {side: self.x * np.float32(DIRECTION[side]) for side in SIDES}
        self.lung = {side: inside(self.lung_distance(side), self.soft) for side in SIDES}
        self.heart_shadow = self.heart(build.heart)
        self.image = self._normal()

    def to_picture(self, side: str, places: np.ndarray) -> np.ndarray:
        """(N, 2) as (outwards, down) -> (N, 2) as (x, y) in the picture."""
        tilt, zoom, shift_x, shift_y = self._frame
        x, y = places[:, 0] * DIRECTION[side], places[:, 1] - 0.5
        turned = np.stack([x - tilt * y, y + tilt * x], axis=1) / (1.0 + tilt * tilt)
        return turned * zoom + (0.5 + shift_x, 0.5 + shift_y)

    def lung_distance(self, side: str, shrink: float = 0.0) -> Field:
        """Signed distance to a lung's border, see `brushes.lung_distance`."""
        build = self.build
        return lung_distance(self.lateral[side], self.y, build.width, build.apex, self.angle(side), shrink)

    def angle(self, side: str) -> float:
        """Height of the costophrenic angle: the liver lifts the right one."""
        return self.build.base - (0.02 if side == "right" else 0.0)

    def heart(self, diameter: float) -> Field:
        """Coverage of a heart of a transverse diameter in mm."""
        wide = 0.5 * diameter / CHEST_MM
        grown = max(diameter - self.build.heart, 0.0) / CHEST_MM  # an enlarged heart is also taller, and lies further left
        ry = 0.15 + 0.08 * grown
        lean = 1.0 + _LEAN * _LEAN
        rx = float(np.sqrt(max((lean * wide) ** 2 - (_LEAN * ry) ** 2, 1e-4)))
        x = self.x - (HEART_SHIFT + 0.09 * grown)
        y = self.y - (self.build.base - 0.03 - 0.75 * ry)
        dx, dy = (x + _LEAN * y) / rx, (y - _LEAN * x) / ry  # the apex points down and to the patient's left
        return inside((np.sqrt(dx * dx + dy * dy) - 1.0) * min(rx, ry), 2.5 * self.soft)

    def _normal(self) -> Field:
        x, y, build, soft = self.x, self.y, self.build, self.soft
        across = np.abs(x)
        shoulder = np.clip(y / 0.17, 0.0, 1.0)
        torso = inside(across - (0.13 + 0.34 * shoulder * shoulder * (3.0 - 2.0 * shoulder)), 2 * soft)
        image = torso * (
            build.girth + 0.05 * np.clip((y - 0.7) / 0.3, 0.0, 1.0) - 0.06 * np.clip((across - 0.3) / 0.2, 0.0, 1.0)
        )
        lungs = self.lung["left"] + self.lung["right"]
        blend(image, LUNG - 0.05 * (y - 0.4), lungs)
        self._vessels(image)
        self._bones(image, across, torso)
        middle = 0.052 + 0.016 * np.clip((y - 0.2) / 0.2, 0.0, 1.0)
        blend(image, build.girth + 0.08, inside(across - middle, 0.012) * torso)
        knob = np.hypot(x - 0.045, y - 0.31) - build.knob
        blend(image, build.girth + 0.08, inside(knob, 2.5 * soft) * torso)
        discs = np.cos(np.float32(2 * np.pi * 15.0) * y)
        image += 0.018 * discs * inside(across - 0.042, 0.008) * torso  # the spine behind
        self._airway(image, across)
        blend(image, self.heart_brightness, self.heart_shadow)
        return image

    def _vessels(self, image: Field) -> None:
        for side in SIDES:
            tree = self.build.vessels[side]
            seen = tree.half * self.resolution > 0.05  # thinner than a tenth of a pixel: nothing to see
            shade = np.zeros_like(image)
            peaks = 0.17 + 12.0 * tree.half[seen]
            starts, ends = (self.to_picture(side, points[seen]) for points in (tree.starts, tree.ends))
            strokes(shade, starts, ends, tree.half[seen], peaks)
            u = self.lateral[side] - 0.11
            shade += 0.11 * np.exp(-(u * u) / 0.0016 - (self.y - 0.42) ** 2 / 0.004)  # hilum
            image += shade * self.lung[side]

    def _bones(self, image: Field, across: Field, torso: Field) -> None:
        """Posterior ribs (edges brighter than the middle), anterior ones that cross them, clavicles."""
        build, resolution = self.build, self.resolution
        cage = torso * inside(0.085 - across, 0.02) * inside(across - build.width - 0.03, 0.02)
        period = 1.0 / 8.5
        for fall, start, wide, bright, edge in (
            (build.slope, build.ribs * period, 0.26, 0.050, 0.045),
            (-0.55, build.ribs * period + 0.03, 0.22, 0.022, 0.012),
        ):
            height = (self.y - fall * across * across - start) / period
            phase = np.abs(height - np.rint(height)) * period  # distance from the rib's middle
            half = 0.5 * wide * period
            image += cage * (bright * band(phase, half, resolution) + edge * band(phase - half, 0.0035, resolution))
        clavicle = np.abs(self.y - (build.apex + 0.115 - 0.28 * across + 0.25 * (across - 0.2) ** 2))
        ends = inside(across - 0.36, 0.02) * inside(0.035 - across, 0.01)
        image += ends * (0.09 * band(clavicle, 0.016, resolution) + 0.05 * band(clavicle - 0.015, 0.0035, resolution))

    def _airway(self, image: Field, across: Field) -> None:
        build, y = self.build, self.y
        trachea = np.maximum(across - 0.024, y - build.carina)
        past = y - build.carina
        bronchi = np.maximum(np.abs(across - 0.62 * past - 0.006) - 0.014, np.maximum(past - 0.075, -past))
        blend(image, build.girth - 0.17, inside(np.minimum(trachea, bronchi), 0.009))
