"""What every data set offers, and how one is found by name or by folder."""

from collections.abc import Iterator, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Protocol, runtime_checkable

from PIL import Image

from medim.errors import UserError, unknown
from medim.pair import ImageReportPair

ENTRY_POINTS = "medim.datasets"


@runtime_checkable
class Checker(Protocol):
    """Reads findings from what was generated. One per modality and data set; it never steers what it scores."""

    name: str
    fingerprint: str
    labels: tuple[str, ...]

    def __call__(self, items: Sequence[Image.Image] | Sequence[str]) -> list[frozenset[str]]:
        """The labels present in each item."""


class PairDataset(Protocol):
    """Pairs in a fixed order, by split.

    Attributes:
        name: as given to `--data`.
        fingerprint: hash of content and split; equal hashes mean equal pairs.
        synthetic: True where no patient stands behind the images; shown wherever results are.
        terms: licence or data-use terms of the set as a whole.
        domains: the values of `domain` that occur.
    """

    name: str
    fingerprint: str
    synthetic: bool
    terms: str
    domains: tuple[str, ...]

    def size(self, split: str) -> int:
        """Number of pairs of a split."""

    def pair(self, split: str, index: int) -> ImageReportPair:
        """The pair at `index` (0-based) of a split."""

    def image_checker(self) -> Checker | None:
        """Reads findings from images, or None where the set has no such checker."""

    def report_checker(self) -> Checker | None:
        """Reads findings from reports, or None where the set has no such checker."""


@runtime_checkable
class KnowsPatients(Protocol):
    """A data set that tells whose a pair is without drawing or decoding its image."""

    def patient(self, split: str, index: int) -> str:
        """`pair(split, index).patient`."""


def pairs(dataset: PairDataset, split: str, limit: int | None = None) -> Iterator[ImageReportPair]:
    """The first `limit` pairs of a split (all by default)."""
    for index in range(min(dataset.size(split), limit) if limit is not None else dataset.size(split)):
        yield dataset.pair(split, index)


def patient_of(dataset: PairDataset, split: str, index: int) -> str:
    """The patient of a pair, without its image where the data set `KnowsPatients`."""
    return dataset.patient(split, index) if isinstance(dataset, KnowsPatients) else dataset.pair(split, index).patient


def load_dataset(name: str) -> PairDataset:
    """Opens a data set by registered name or by the path of a folder with `pairs.jsonl`.

    Names come from the entry-point group `medim.datasets`; a registered object is called without arguments,
    the one called `folder` with a path.

    Raises:
        UserError: neither a registered name nor a folder.
    """
    registered = {entry.name: entry for entry in entry_points(group=ENTRY_POINTS)}
    if name in registered and name != "folder":
        return registered[name].load()()
    if Path(name).exists() or "/" in name:
        return registered["folder"].load()(Path(name))
    error = unknown("data set", name, [n for n in registered if n != "folder"])
    raise UserError(f"{error}; or give a folder with pairs.jsonl")
