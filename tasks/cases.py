"""From a data set's split to the cases of a task."""

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from medim.common.errors import UserError
from medim.data.dataset import Keys, PairDataset, keys_of
from medim.data.sources.folder import ReportsOnly
from medim.data.sources.selection import MixedDataset, Subset
from medim.imaging.images import read_image, square
from medim.pair import SPLITS, ImageReportPair
from tasks.protocols import Case

LARGEST = 512
"""Of the side that is taken where neither a system nor a data set has one of its own: the paper's."""


@runtime_checkable
class Drawn(Protocol):
    """A data set whose pictures are drawn, at any resolution: none is ever resized."""

    resolution: int

    def with_resolution(self, resolution: int) -> PairDataset:
        """The same pairs, drawn at another resolution."""


def at_resolution(dataset: PairDataset, resolution: int) -> PairDataset:
    """The data set with its pictures drawn at `resolution`, where they are drawn at all; also inside subsets and mixtures."""
    if isinstance(dataset, Drawn):
        return dataset if dataset.resolution == resolution else dataset.with_resolution(resolution)
    if isinstance(dataset, Subset):
        return Subset(at_resolution(dataset.base, resolution), dataset.share, dataset.seed)
    if isinstance(dataset, MixedDataset):
        return MixedDataset([at_resolution(part, resolution) for part in dataset.parts], dataset.weights)
    return dataset


def unwrapped(dataset: PairDataset) -> PairDataset:
    """Returns the data set that subsets are of."""
    return unwrapped(dataset.base) if isinstance(dataset, Subset) else dataset


def own_resolution(dataset: PairDataset, split: str) -> int | None:
    """Side of a data set's images: what it is drawn at, else the longer side of the split's first image, up to `LARGEST`. None
    for a set of reports alone. Raises UserError: the split is unknown or empty, or its first image cannot be read."""
    _check_split(dataset, split)
    if not has_images(dataset):
        return None
    whole = unwrapped(dataset)
    if isinstance(whole, Drawn):
        return whole.resolution
    image = whole.pair(split, 0).image
    return min(max((read_image(image) if isinstance(image, Path) else image).size), LARGEST)


def has_images(dataset: PairDataset) -> bool:
    """Whether the set has images at all: a set of reports alone serves the scoring of reports."""
    return not isinstance(dataset, ReportsOnly)


class SplitIds(Mapping[str, Keys]):
    """The keys of a split's pairs by id, in order, and why a pair of the data set is none of the cases to be scored. No image
    is read where the data set knows its keys. `cases`: ids of those to be scored: the first pairs of the first studies
    (`cases_of`). Raises UserError: an unknown or empty split."""

    def __init__(self, dataset: PairDataset, split: str, cases: Iterable[str]) -> None:
        _check_split(dataset, split)
        self.dataset, self.split, self.cases = dataset, split, frozenset(cases)
        self._keys = {keys.id: keys for keys in (keys_of(dataset, split, row) for row in range(dataset.size(split)))}

    def __getitem__(self, id: str) -> Keys:
        return self._keys[id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def why_not(self, id: str) -> str | None:
        """Why a pair is no case; None where it is one, or is of no split."""
        if id in self.cases:
            return None
        if id in self._keys:
            return "beyond the first cases (--limit)" if id in self.stand_for_studies else "second image of its study"
        other = self._elsewhere.get(id)
        return other and f"of split {other}"

    @cached_property
    def stand_for_studies(self) -> frozenset[str]:
        """The first pair of each study: what `cases_of` takes without a limit."""
        first: dict[tuple[str, str], str] = {}
        for keys in self._keys.values():
            first.setdefault((keys.patient, keys.study), keys.id)
        return frozenset(first.values())

    @cached_property
    def _elsewhere(self) -> dict[str, str]:
        rows = [(split, row) for split in SPLITS if split != self.split for row in range(self.dataset.size(split))]
        return {keys_of(self.dataset, split, row).id: split for split, row in rows}


def cases_of(dataset: PairDataset, split: str, resolution: int, limit: int | None = None) -> list[Case]:
    """The first `limit` cases of a split (all by default), with images of `resolution` x `resolution` pixels.

    A study is scored once: where it holds several images, its first pair stands for it. Pictures that a program draws are
    drawn at `resolution`; others are resized.

    Raises UserError: an unknown or empty split, a limit below 1, a pair without a report, an unreadable image.
    """
    _check_split(dataset, split)
    dataset = at_resolution(dataset, resolution)
    if limit is not None and limit < 1:
        raise UserError(f"limit must be at least 1, not {limit}")
    pairs = islice(_first_of_each_study(dataset, split), limit)
    return [_case(dataset, pair, resolution) for pair in pairs]


def drawn_cases(dataset: PairDataset, split: str, resolution: int, count: int, seed: int) -> list[Case]:
    """At most `count` cases of a split, drawn without replacement from all of it, one a study.
    Pairs without a report are passed over. Of one seed, fewer cases are the first of more.
    Raises UserError: an unknown or empty split, an unreadable image."""
    _check_split(dataset, split)
    dataset = at_resolution(dataset, resolution)
    cases: list[Case] = []
    seen: set[tuple[str, str]] = set()
    for index in np.random.default_rng(seed).permutation(dataset.size(split)):
        if len(cases) == count:
            break
        pair = dataset.pair(split, int(index))
        study = pair.patient, pair.study
        if study not in seen and pair.report is not None and pair.report.strip():
            seen.add(study)
            cases.append(_case(dataset, pair, resolution))
    return cases


def _check_split(dataset: PairDataset, split: str) -> None:
    if split not in SPLITS:
        raise UserError(f"unknown split '{split}' of data set '{dataset.name}' (known: {', '.join(SPLITS)})")
    if not dataset.size(split):
        raise UserError(f"data set '{dataset.name}' has no pairs in split '{split}'")


def _first_of_each_study(dataset: PairDataset, split: str) -> Iterator[ImageReportPair]:
    seen: set[tuple[str, str]] = set()
    for index in range(dataset.size(split)):
        pair = dataset.pair(split, index)
        study = pair.patient, pair.study
        if study not in seen:
            seen.add(study)
            yield pair


def _case(dataset: PairDataset, pair: ImageReportPair, resolution: int) -> Case:
    if pair.report is None or not pair.report.strip():
        raise UserError(f"pair '{pair.id}' of data set '{dataset.name}' has no report: it cannot be a reference")
    image = read_image(pair.image) if isinstance(pair.image, Path) else pair.image
    findings = None if pair.findings is None else frozenset(pair.findings)
    others = pair.extra.get("other_reports", [])
    if not isinstance(others, list) or not all(isinstance(text, str) and text.strip() for text in others):
        raise UserError(f"pair '{pair.id}' of data set '{dataset.name}': field 'other_reports' must be a list of texts")
    return Case(pair.id, pair.patient, pair.domain, square(image, resolution), pair.report, findings, tuple(others))
