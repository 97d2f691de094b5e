"""Feature arrays that were computed elsewhere, and the key that ties a row to an image.
A file is an `.npz` of `ids` (N strings) and `features` (N, D): from any program with `numpy.savez`, with the `image_key` of
each image in the task's geometry as its id, or one that a run itself leaves in its folder of features."""

import hashlib
import zipfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from medim.common.errors import UserError
from medim.common.files import atomic_path, hash_files

IDS, FEATURES = "ids", "features"


def image_key(image: Image.Image) -> str:
    """SHA-256 over an image's mode, size and pixels: one changed pixel makes another key. 64 hex digits."""
    return hashlib.sha256(f"{image.mode} {image.size} ".encode() + image.tobytes()).hexdigest()


def read_features(path: str | Path) -> tuple[list[str], np.ndarray]:
    """Ids and features (N, D), of the type they were written in.
    Raises UserError: no such file, not an `.npz` of these two, ids that repeat, or values that are not finite."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"feature array '{path}' does not exist")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            if not isinstance(arrays, np.lib.npyio.NpzFile) or not {IDS, FEATURES} <= set(arrays):
                raise UserError(f"feature array '{path}' needs the two arrays '{IDS}' and '{FEATURES}': numpy.savez")
            ids, features = arrays[IDS].astype(str).tolist(), arrays[FEATURES]
    except (OSError, ValueError, AttributeError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"feature array '{path}' cannot be read as .npz: {error}") from error
    if features.ndim != 2 or len(ids) != len(features):
        raise UserError(f"feature array '{path}': '{FEATURES}' has shape {features.shape}, not ({len(ids)} ids, D)")
    if len(set(ids)) != len(ids):
        raise UserError(f"feature array '{path}': {len(ids) - len(set(ids))} ids occur twice")
    if not np.issubdtype(features.dtype, np.number) or not np.isfinite(features).all():
        raise UserError(f"feature array '{path}' holds values that are not finite numbers")
    return ids, features


def write_features(path: str | Path, ids: list[str], features: np.ndarray) -> None:
    """Writes what `read_features` reads, atomically."""
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, ids=np.array(ids), features=features)


class ArrayFeatures:
    """The space of one feature array. Raises UserError: see `read_features`."""

    trained_against = False
    resize = "as in the array"

    def __init__(self, path: str | Path) -> None:
        ids, features = read_features(path)
        self.path = Path(path)
        self.name = f"array:{self.path.name}"
        self.title = self.path.stem
        self.fingerprint = hash_files(self.path)
        self._features = torch.from_numpy(features)
        self._rows = {key: row for row, key in enumerate(ids)}

    def rows(self, keys: list[str]) -> torch.Tensor:
        """Features (N, D) of the images with these keys.
        Raises UserError: some image is not there; the message says how many."""
        strangers = [key for key in keys if key not in self._rows]
        if strangers:
            raise UserError(f"feature array '{self.path.name}' lacks {len(strangers)} of {len(keys)} images")
        return self._features[[self._rows[key] for key in keys]]
