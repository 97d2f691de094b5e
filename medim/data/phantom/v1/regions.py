"""Where a finding of a case lies, or would lie if the case had it."""

import numpy as np

from medim.common.errors import unknown
from medim.data.phantom.labels import CHEST, LABELS_BY_DOMAIN
from medim.data.phantom.v1.cases import Case
from medim.data.phantom.v1.chest import Radiograph
from medim.data.phantom.v1.pathology import RADIUS, Patch, place

VISIBLE = 0.04
"""Of a film's full range, by which a finding has to change it."""
PLACES = 12
"""A region of tissue that is not there yet goes to the freest of so many x so many places."""
_KINDS = {"glands": "gland", "lymphocytic infiltrate": "lymphocytes", "necrosis": "necrosis", "pigment": "pigment"}


class _Middle:
    """Stands for a random stream where the middle of each range is wanted."""

    def uniform(self, low: float, high: float, size: int | None = None) -> float | np.ndarray:
        middle = (low + high) / 2
        return middle if size is None else np.full(size, middle)


def finding_region(case: Case, label: str, resolution: int) -> np.ndarray:
    """Pixels (resolution, resolution) that show the finding; where the case lacks it, those that would, at any grade.

    A chest is in its own pose, and the finding at the middle of its range; tissue has the finding's own places, or the freest
    place; the density of cells is a finding of the whole picture.

    Raises UserError: a label of another domain.
    """
    if label not in LABELS_BY_DOMAIN[case.domain]:
        raise unknown(f"{case.domain} finding", label, LABELS_BY_DOMAIN[case.domain])
    return (_chest if case.domain == CHEST else _tissue)(case, label, resolution)


def _chest(case: Case, label: str, resolution: int) -> np.ndarray:
    film = Radiograph(case, resolution)
    film.rng = _Middle()  # type: ignore[assignment]
    film.body()
    film.heart(enlarged=False)
    before, marked = film.image.copy(), np.zeros(film.image.shape, bool)
    for grade in _grades(label):
        film.image = before.copy()
        film.put(label, grade)
        marked |= np.abs(film.image - before) > VISIBLE
    return marked


def _grades(label: str) -> tuple[str | None, ...]:
    if label.endswith("consolidation"):
        return ("upper", "lower")
    return ("small", "large") if label.endswith(("nodule", "effusion")) else (None,)


def _tissue(case: Case, label: str, resolution: int) -> np.ndarray:
    if label not in _KINDS:
        return np.ones((resolution, resolution), bool)
    patch = Patch(case, resolution)
    kind, regions = _KINDS[label], place(case, patch.rng)
    circles = [(region.x, region.y, region.radius) for region in regions if region.kind == kind]
    if not circles:
        radius = RADIUS[kind]
        ticks = np.linspace(min(radius, 0.2), 1 - min(radius, 0.2), PLACES)
        xs, ys = (axis.ravel() for axis in np.meshgrid(ticks, ticks))
        gaps = [np.hypot(xs - region.x, ys - region.y) - region.radius for region in regions]
        best = int(np.argmax(np.min(gaps, axis=0))) if gaps else len(xs) // 2
        circles = [(float(xs[best]), float(ys[best]), radius)]
    return np.any([np.hypot(patch.x - cx, patch.y - cy) < 1.1 * radius for cx, cy, radius in circles], axis=0)
