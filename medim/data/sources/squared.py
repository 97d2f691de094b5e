"""A data set whose pictures are squares in a geometry that is not ours."""

from dataclasses import replace

from medim.common.files import hash_of
from medim.data.dataset import DerivedDataset, PairDataset
from medim.imaging.images import Geometry, as_rgb, square
from medim.pair import ImageReportPair


class SquaredDataset(DerivedDataset):
    """The pairs of a set with images, their pictures padded and resized to `side` pixels."""

    def __init__(self, base: PairDataset, geometry: Geometry, side: int) -> None:
        super().__init__(base)
        self.geometry, self.side = geometry, side
        self.fingerprint = hash_of([base.fingerprint, geometry.name, side])

    def pair(self, split: str, index: int) -> ImageReportPair:
        pair = self.base.pair(split, index)
        return replace(pair, image=square(as_rgb(pair.image), self.side, self.geometry))
