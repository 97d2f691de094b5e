"""Where a finding of a case is, or would be: known of data sets that a program draws."""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import numpy as np

from medim.common.errors import UserError
from medim.data.dataset import PairDataset, keys_of
from medim.pair import SPLITS, ImageReportPair
from tasks.cases import at_resolution, unwrapped

VISIBLE = 6
"""Grey levels of 255 by which a pixel has to differ to count as changed: beneath it film grain is."""


@runtime_checkable
class Twinned(Protocol):
    """A data set that draws a pair with one finding more or less."""

    def twin_pairs(self, split: str, index: int, label: str) -> tuple[ImageReportPair, ImageReportPair]:
        """The pair and its counterfactual, whose images differ only where the finding is."""


@runtime_checkable
class ShowsRegions(Protocol):
    """A data set that knows where a finding lies."""

    def finding_region(self, split: str, index: int, label: str) -> np.ndarray | None:
        """Pixels (R, R) that show the finding, or would; None where there is no room for it."""


def knows_regions(dataset: PairDataset) -> bool:
    """Whether `true_regions` can tell anything of this data set."""
    return isinstance(unwrapped(dataset), Twinned | ShowsRegions)


def true_regions(dataset: PairDataset, findings: Mapping[str, str], resolution: int) -> dict[str, np.ndarray]:
    """The pixels (resolution, resolution) in which a finding of a case is, or would be, by the case's id.
    `findings`: one for each id; ids and findings of which nothing is known have no entry in the result."""
    base = at_resolution(unwrapped(dataset), resolution)
    left, result = set(findings), {}
    for split in reversed(SPLITS):  # the training split, the longest, is looked through last
        for index in range(base.size(split) if left else 0):
            id = keys_of(base, split, index).id
            if id not in left:
                continue
            left.remove(id)
            region = _region(base, split, index, findings[id])
            if region is not None and region.any():
                result[id] = region
            if not left:
                break
    return result


def _region(dataset: PairDataset, split: str, index: int, finding: str) -> np.ndarray | None:
    if isinstance(dataset, ShowsRegions):
        return dataset.finding_region(split, index, finding)
    if not isinstance(dataset, Twinned):
        return None
    try:
        pair, twin = dataset.twin_pairs(split, index, finding)
    except UserError:  # no room for the finding
        return None
    images = [np.asarray(one.image, dtype=np.int16) for one in (pair, twin)]
    return np.abs(images[0] - images[1]).max(axis=2) > VISIBLE
