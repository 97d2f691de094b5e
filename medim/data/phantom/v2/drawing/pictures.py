"""The picture of a case, and the hash that freezes all pictures."""

import numpy as np
from PIL import Image

from medim.common.errors import UserError
from medim.common.files import hash_of
from medim.data.phantom.v2.cases import Case, sample_case
from medim.data.phantom.v2.drawing.chest import draw_chest
from medim.data.phantom.v2.drawing.pathology import draw_pathology
from medim.data.phantom.v2.names import CHEST, LABELS, SPLIT_SIZES, VERSION

RESOLUTIONS = (32, 1024)  # smallest and largest side
_STEP, _OFFSET = 8.0, 6.2  # the offset keeps every thumbnail of version 2 clear of the borders between two steps
FROZEN = 8  # pictures of each split that the hash sees
PICTURES_FINGERPRINT = "7920c9bf1c52a243"


def draw(case: Case, resolution: int) -> Image.Image:
    """The picture of a case, sampled or made by hand: RGB, `resolution` pixels square; the same picture at any resolution.

    Every finding is drawn from a random stream of its own, so that a twin's picture differs only where the finding is.

    Raises:
        UserError: a resolution out of range, or a case made by hand whose findings have no room.
    """
    low, high = RESOLUTIONS
    if not low <= resolution <= high:
        raise UserError(f"phantom-v2: resolution {resolution} is outside {low}..{high}")
    return (draw_chest if case.domain == CHEST else draw_pathology)(case, resolution)


def thumbnail(image: Image.Image) -> list[list[list[int]]]:
    """4 x 4 means in 32 steps: the last digit of a sine does not matter, a changed drawing does."""
    steps: list[list[list[int]]] = np.rint((block_means(image) + _OFFSET) / _STEP).astype(int).tolist()
    return steps


def block_means(image: Image.Image) -> np.ndarray:
    """Means (4, 4, 3) of the blocks of a picture."""
    side = image.width // 4
    return np.asarray(image, np.float64).reshape(4, side, 4, side, 3).mean(axis=(1, 3))


def compute_pictures_fingerprint() -> str:
    """Hash over version, labels, split sizes, 64 cases of each split, and thumbnails of some pictures at 64 and 128 px."""
    content: list[object] = [VERSION, LABELS, SPLIT_SIZES]
    for split in SPLIT_SIZES:
        for index in range(64):
            case = sample_case(split, index)
            findings = [[f.label, f.severity, round(f.size, 3), round(f.contrast, 4), f.count, f.zone] for f in case.findings]
            content.append([case.patient, case.visit, case.cellularity, findings])
            if index < FROZEN:
                content.append([thumbnail(draw(case, resolution)) for resolution in (64, 128)])
    return hash_of(content)
