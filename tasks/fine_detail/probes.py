"""Which cases of a data set carry a probe: a picture with one lesion of a given size and contrast."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from medim.data.dataset import PairDataset, keys_of
from medim.data.phantom.probes import Probe
from tasks.cases import unwrapped

PROBED = 24
"""Cases of each domain that carry probes, at most."""


@runtime_checkable
class DrawsProbes(Protocol):
    """A data set that draws lesions of a given size and contrast in its pictures."""

    def probe(self, split: str, index: int) -> Probe | None:
        """The case at `index` without its findings; None where it has no room for a lesion."""


def probes_of(ids: Sequence[str], dataset: PairDataset, most: int = PROBED) -> dict[str, Probe]:
    """Probes in the first cases of each domain that have room for one, at most `most` of each; by id."""
    base = unwrapped(dataset)
    assert isinstance(base, DrawsProbes)
    result: dict[str, Probe] = {}
    counts: dict[str, int] = {}
    for id in ids:
        _, split, number = id.rsplit("-", 2)
        index = int(number)
        assert keys_of(base, split, index).id == id
        probe = base.probe(split, index)
        if probe is not None and counts.get(probe.lesion.name, 0) < most:
            counts[probe.lesion.name] = counts.get(probe.lesion.name, 0) + 1
            result[id] = probe
    return result
