"""Which pictures show next to nothing, from their rows (`reading.ROW`)."""

import numpy as np

FLAT = 4.0
"""Standard deviation in grey levels below which a picture is nearly empty; such are alike without being copies."""
FLAT_IN_THE_DARK = 1.0
"""The same for a nearly black picture, whose few levels may still hold all there is."""
DARK = 32
"""Grey level that 0.5 % of a picture's pixels should exceed; below it the picture is nearly black."""
CLIPPED = 0.2
"""Share of pixels outside the DICOM window of a picture from which it is named."""


def is_flat(rows: np.ndarray) -> np.ndarray:
    """Nearly empty pictures, bool (n,)."""
    return (rows["image"] != 0) & (rows["spread"] < np.where(rows["high"] < DARK, FLAT_IN_THE_DARK, FLAT))


def is_dark(rows: np.ndarray) -> np.ndarray:
    """Nearly black pictures that are not empty, bool (n,): 12-bit values in a 16-bit file look so."""
    return (rows["image"] != 0) & (rows["high"] < DARK) & ~is_flat(rows)


def is_clipped(rows: np.ndarray) -> np.ndarray:
    """Pictures whose DICOM window cuts off much of them, bool (n,)."""
    return rows["clipped"] > CLIPPED
