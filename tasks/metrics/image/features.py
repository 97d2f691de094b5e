"""Features of images in one space, each image once: in memory, and on disk where a folder is given."""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from medim.common.errors import UserError, foreign
from medim.common.files import hash_of
from medim.imaging.images import to_tensor
from medim.perception.array import image_key, read_features, write_features
from medim.perception.space import Classifies, Precomputed, Space

BATCH, CPU_BATCH = 32, 4
"""Images through a network at once: the activations of more leave a CPU's cache and cost fresh pages of memory each time."""


class FeatureBank:
    """A feature space that remembers. `folder`: where kept features are written for later runs, under the space's fingerprint
    and the images' content keys: another network, another resize or one changed pixel finds nothing there."""

    def __init__(self, space: Space, device: str = "cpu", folder: Path | None = None) -> None:
        self.space = space
        self.device = device
        self._folder = None if folder is None else folder / f"{_slug(space.name)}-{space.fingerprint}"
        self._rows: dict[str, np.ndarray] = {}
        self._on_disk: set[str] = set()
        self._read = self._folder is None

    def features(self, images: Sequence[Image.Image], *, keep: bool = False) -> np.ndarray:
        """Features float64 (N, D) of images of any sizes, in their order.
        `keep`: also in the folder: for reference sets, which other systems need again.
        Raises UserError: a precomputed array lacks an image, a file in the folder is damaged, or the space fails."""
        keys = [image_key(image) for image in images]
        if isinstance(self.space, Precomputed):
            with foreign(f"feature space '{self.space.name}' failed"):
                return self._rows_of(self.space.rows(keys).double(), len(keys))
        if not self._read:
            self._load()
        missing = {key: image for key, image in zip(keys, images, strict=True) if key not in self._rows}
        if missing:
            self._rows.update(zip(missing, self._computed(list(missing.values())), strict=True))
        if keep and self._folder is not None:
            self._store(keys)
        return np.stack([self._rows[key] for key in keys]).astype(np.float64)

    @property
    def classifies(self) -> bool:
        """Whether `logits` gives any."""
        return isinstance(self.space, Classifies)

    def logits(self, features: np.ndarray) -> np.ndarray | None:
        """Class scores float64 (N, C) of features (N, D) of this space; None where its network has no classifier."""
        if not isinstance(self.space, Classifies):
            return None
        with foreign(f"the classifier of feature space '{self.space.name}' failed"):
            return self.space.logits(torch.from_numpy(features).float().to(self.device)).double().cpu().numpy()

    def _computed(self, images: list[Image.Image]) -> list[np.ndarray]:
        assert not isinstance(self.space, Precomputed)
        rows: list[np.ndarray] = []
        step = min(BATCH, CPU_BATCH) if self.device == "cpu" else BATCH
        for _, same_size in groupby(images, key=lambda image: image.size):
            group = list(same_size)
            for start in range(0, len(group), step):
                batch = to_tensor(group[start : start + step]).to(self.device)
                with foreign(f"feature space '{self.space.name}' failed"):
                    rows.extend(self._rows_of(self.space.features(batch).float(), len(batch)))
        return rows

    def _rows_of(self, features: torch.Tensor, count: int) -> np.ndarray:
        rows = features.cpu().numpy()
        if rows.ndim != 2 or len(rows) != count:
            raise UserError(f"feature space '{self.space.name}' gave an array of shape {rows.shape} for {count} images")
        if not np.isfinite(rows).all():
            raise UserError(f"feature space '{self.space.name}' gave NaN or infinity")
        return rows

    def _load(self) -> None:
        assert self._folder is not None
        for path in sorted(self._folder.glob("[!.]*.npz")):  # not what a killed run was writing
            ids, features = read_features(path)
            self._rows.update(zip(ids, features, strict=True))
            self._on_disk.update(ids)
        self._read = True

    def _store(self, keys: Sequence[str]) -> None:
        assert self._folder is not None
        new = [key for key in dict.fromkeys(keys) if key not in self._on_disk]
        if new:
            write_features(self._folder / f"{hash_of(new)}.npz", new, np.stack([self._rows[key] for key in new]))
            self._on_disk.update(new)


def _slug(name: str) -> str:
    """The name as part of a folder's name."""
    return "".join(letter if letter.isalnum() or letter in "-._" else "-" for letter in name)
