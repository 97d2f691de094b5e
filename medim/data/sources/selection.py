"""Data sets derived from others: a low-data subset of one, a weighted mixture of several."""

import math
from collections.abc import Container, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import cached_property
from itertools import combinations

import numpy as np

from medim.common.errors import UserError, unknown
from medim.common.files import hash_of
from medim.data.dataset import Checker, DerivedDataset, Keys, PairDataset, checked_index, keys_of, steering_checker
from medim.data.sources.folder import image_hash
from medim.data.splits import nested_order
from medim.pair import SPLITS, ImageReportPair


class Subset(DerivedDataset):
    """A data set with a smaller training split; `val` and `test` are whole.
    The training split has all pairs of ceil(share * patients) patients, those with the smallest u =
    `medim.data.splits.u_of(patient, seed)`, in the data set's order. Of one seed, 1 % lies within 10 % within all.
    `share`: of the training patients, in (0, 1].
    `seed`: which patients.
    Raises UserError: a share outside (0, 1], or no training pairs."""

    def __init__(self, base: PairDataset, share: Fraction | float, seed: int = 0) -> None:
        if not 0 < share <= 1:
            raise UserError(f"a training share must lie above 0 and up to 1, not {share}")
        if base.size("train") == 0:
            raise UserError(f"data set '{base.name}' has no pairs in split 'train' to take a share of")
        super().__init__(base)
        self.share, self.seed = Fraction(share).limit_denominator(10**9), seed
        percent = f"train={float(self.share) * 100:.10g}%" + (f",seed={seed}" if seed else "")
        self.name = f"{base.name}{',' if ':' in base.name else ':'}{percent}"

    @cached_property
    def fingerprint(self) -> str:
        return hash_of(["subset", self.base.fingerprint, str(self.share), self.seed])

    @cached_property
    def _rows(self) -> np.ndarray:
        """Positions in the whole training split, growing; int64."""
        numbers: dict[str, int] = {}
        patients = (keys_of(self.base, "train", index).patient for index in range(self.base.size("train")))
        of_pair = np.fromiter((numbers.setdefault(patient, len(numbers)) for patient in patients), np.int64)
        chosen = nested_order(numbers, self.seed)[: math.ceil(self.share * len(numbers))]
        return np.flatnonzero(np.isin(of_pair, [numbers[patient] for patient in chosen]))

    def size(self, split: str) -> int:
        return len(self._rows) if split == "train" else self.base.size(split)

    def _row(self, split: str, index: int) -> int:
        return int(self._rows[checked_index(self, split, index)]) if split == "train" else index

    def pair(self, split: str, index: int) -> ImageReportPair:
        return self.base.pair(split, self._row(split, index))

    def keys(self, split: str, index: int) -> Keys:
        return keys_of(self.base, split, self._row(split, index))


class MixedDataset:
    """Several data sets as one. Training draws follow the weights; every split lists all pairs of all parts, once.

    The parts are interleaved in proportion to their sizes, each in its own order, so that the first n pairs of a split
    represent them all. Where an id, a study or a patient of one part occurs in another, all names of the two parts get the
    prefix `<number of the part>:` (from 1), as they name different things.

    Args:
        parts: at least two.
        weights: share of the training draws of each part, relative to the others; sizes play no role.

    Raises UserError: the same data set twice, or one archive in two parts that disagree on the split of a patient.
    """

    def __init__(self, parts: Sequence[PairDataset], weights: Sequence[Fraction | float]) -> None:
        self.parts, self.weights = tuple(parts), tuple(Fraction(weight) for weight in weights)
        names = [part.name for part in parts]
        bases = [part.base.fingerprint if isinstance(part, Subset) else part.fingerprint for part in parts]
        for place, base in enumerate(bases):
            if base in bases[:place]:
                raise UserError(f"data set '{names[place]}' stands twice in the mixture: give it once, with a weight")
        for one, other in combinations([part for part in parts if not part.synthetic], 2):
            _refuse_crossing(one, other)
        self.name = "+".join(_with_weight(name, weight) for name, weight in zip(names, self.weights, strict=True))
        self.synthetic = all(part.synthetic for part in parts)
        self.terms = "; ".join(dict.fromkeys(terms for part in parts for terms in part.terms.split("; ")))
        self.domains = tuple(dict.fromkeys(domain for part in parts for domain in part.domains))

    @cached_property
    def fingerprint(self) -> str:
        return hash_of(["mixture", [[p.fingerprint, str(w)] for p, w in zip(self.parts, self.weights, strict=True)]])

    def size(self, split: str) -> int:
        return sum(part.size(split) for part in self.parts)

    def part_of(self, split: str, count: int | None = None) -> np.ndarray:
        """Number of the part (from 0) that each of the first `count` pairs of a split comes from; int16."""
        return self._order[split][0][:count]

    @cached_property
    def _order(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Per split: the part of each position (int16), and the position within that part (int64)."""
        order = {}
        for split in SPLITS:
            sizes = [part.size(split) for part in self.parts]
            part = np.repeat(np.arange(len(sizes), dtype=np.int16), sizes)
            row = np.concatenate([np.arange(size) for size in sizes])
            place = np.argsort((row + 0.5) / np.maximum(np.asarray(sizes)[part], 1), kind="stable")
            order[split] = (part[place], row[place])
        return order

    @cached_property
    def _prefixes(self) -> tuple[str, ...]:
        """What stands before the ids, studies and patients of each part: nothing unless they collide with another's."""
        hashes = [_key_hashes(part) for part in self.parts]
        concerned: set[int] = set()
        for one, other in combinations(range(len(self.parts)), 2):
            if any(np.intersect1d(a, b).size for a, b in zip(hashes[one], hashes[other], strict=True)):
                concerned |= {one, other}
        return tuple(f"{number + 1}:" if number in concerned else "" for number in range(len(self.parts)))

    def _place(self, split: str, index: int) -> tuple[int, int]:
        if split not in self._order:
            raise unknown("split", split, SPLITS)
        part, row = self._order[split]
        checked_index(self, split, index)
        return int(part[index]), int(row[index])

    def pair(self, split: str, index: int) -> ImageReportPair:
        number, row = self._place(split, index)
        part, prefix = self.parts[number], self._prefixes[number]
        pair = part.pair(split, row)
        terms = pair.terms or part.terms
        if not prefix and terms == pair.terms:
            return pair
        names = {name: prefix + getattr(pair, name) for name in Keys._fields}
        return replace(pair, **names, terms=terms)

    def keys(self, split: str, index: int) -> Keys:
        number, row = self._place(split, index)
        return Keys(*(self._prefixes[number] + key for key in keys_of(self.parts[number], split, row)))

    def image_checker(self) -> Checker | None:
        """The one that all parts have; None where they differ or one has none."""
        return _common([part.image_checker() for part in self.parts])

    def report_checker(self) -> Checker | None:
        """The one that all parts have; None where they differ or one has none."""
        return _common([part.report_checker() for part in self.parts])

    def steering_image_checker(self) -> Checker | None:
        """The one that all parts have; None where they differ or one has none."""
        return _common([steering_checker(part) for part in self.parts])


def _key_hashes(part: PairDataset) -> np.ndarray:
    """Hashes (3, n) of all ids, studies and patients: 24 bytes a pair, where a million strings would take a gigabyte."""
    rows = ([hash(key) for key in keys_of(part, *place)] for place in _places(part))
    return np.fromiter(rows, np.dtype((np.int64, 3))).T


def _places(part: PairDataset) -> Iterator[tuple[str, int]]:
    return ((split, index) for split in SPLITS for index in range(part.size(split)))


def _refuse_crossing(one: PairDataset, other: PairDataset) -> None:
    """Refuses two parts where a patient is in one split here and in another there. A name alone proves nothing, as two archives
    may both have a patient `p0`: the parts must also hold a copy of one image, byte by byte, under one name of a patient."""
    here, there = ({keys_of(part, *place).patient: place[0] for place in _places(part)} for part in (one, other))
    crossing = [patient for patient, split in here.items() if there.get(patient, split) != split]
    if crossing and _images(one, there) & _images(other, here):
        raise UserError(
            f"'{one.name}' and '{other.name}' hold the same images, and patient '{crossing[0]}' is in '{here[crossing[0]]}' of "
            f"the first and in '{there[crossing[0]]}' of the second ({len(crossing)} in all): prepare both with one split"
        )


def _images(part: PairDataset, patients: Container[str]) -> set[tuple[str, str]]:
    """Patient and hash of every image file of these patients."""
    pairs = (part.pair(*place) for place in _places(part) if keys_of(part, *place).patient in patients)
    return {(pair.patient, image) for pair in pairs if (image := image_hash(pair)) is not None}


def _common(checkers: Sequence[Checker | None]) -> Checker | None:
    first = checkers[0]
    same = all(checker is not None and first is not None and checker.fingerprint == first.fingerprint for checker in checkers)
    return first if same else None


def _with_weight(name: str, weight: Fraction) -> str:
    if weight == 1:
        return name
    return f"{name}{',' if ':' in name else ':'}weight={float(weight):.10g}"
