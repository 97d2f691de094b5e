"""The cases of a phantom by split and index: their patients, their names, and the random streams they are drawn from."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from medim.common.errors import unknown
from medim.data.dataset import Keys
from medim.data.phantom.labels import DOMAINS
from medim.pair import SPLITS


@dataclass(frozen=True)
class Cohort:
    """All cases of one version. Everything in a phantom is a pure function of (version, split, index)."""

    name: str  # of the data set
    version: int  # enters every stream
    sizes: Mapping[str, int]  # cases of each split
    studies: tuple[int, ...]  # numbers of studies of consecutive patients of one domain; the pattern repeats
    purposes: tuple[str, ...]  # what streams are for; the position in this tuple enters the stream
    digits: int  # of indices and patients in ids

    def size(self, split: str) -> int:
        """Number of cases of a split. Raises UserError: unknown split."""
        if split not in self.sizes:
            raise unknown("split", split, self.sizes)
        return self.sizes[split]

    def locate(self, split: str, index: int) -> tuple[str, int, int]:
        """(domain, patient, visit) of a case; patients are numbered per split and domain, a patient's first visit is 0. Raises
        UserError: unknown split. Raises IndexError: `index` outside the split."""
        if not 0 <= index < self.size(split):
            raise IndexError(f"{self.name} {split} has {self.size(split)} pairs; index {index} is outside")
        firsts = list(accumulate(self.studies, initial=0))  # first study of each patient of the pattern, and its length
        block, place = divmod(index // len(DOMAINS), firsts[-1])
        member = max(number for number, first in enumerate(firsts) if first <= place)
        return DOMAINS[index % len(DOMAINS)], block * len(self.studies) + member, place - firsts[member]

    def keys(self, split: str, index: int) -> Keys:
        """Id, study and patient of a case. Raises as `locate`."""
        domain, patient, visit = self.locate(split, index)
        person = f"{self.name}-{split}-{domain[0]}{patient:0{self.digits}d}"
        return Keys(f"{self.name}-{split}-{index:0{self.digits}d}", f"{person}-s{visit}", person)

    def stream(self, split: str, purpose: str, *key: int) -> np.random.Generator:
        """An independent generator for one purpose of one split; `key` is what it belongs to, such as the case's index."""
        entropy = [self.version, SPLITS.index(split), self.purposes.index(purpose), *key]
        return np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy)))

    def patient_stream(self, split: str, purpose: str, domain: str, patient: int) -> np.random.Generator:
        """The generator of what a patient's studies share."""
        return self.stream(split, purpose, DOMAINS.index(domain), patient)
