"""What every data set offers."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

from medim.pair import ImageReportPair


@runtime_checkable
class Checker(Protocol):
    """Reads findings from what was generated. One per modality and data set; it never steers what it scores."""

    name: str
    fingerprint: str
    labels: tuple[str, ...]

    def __call__(self, items: Sequence[Any], /) -> list[frozenset[str]]:
        """The labels present in each item, an image (`PIL.Image.Image`) or a report (`str`)."""


@runtime_checkable
class Described(Protocol):
    """A checker that was chosen for a data set, and says in signatures what its reading depends on."""

    def details(self) -> dict[str, Any]:
        """JSON-able, by short names."""


@runtime_checkable
class Steers(Protocol):
    """A data set that may have a checker of images that steers."""

    def steering_image_checker(self) -> Checker | None: ...


@runtime_checkable
class TakesCheckers(Steers, Protocol):
    """A data set that has no checkers until some are chosen for it."""

    def use_checkers(self, checkers: Mapping[str, Checker], /) -> None:
        """Those of images (`image`), of reports (`report`), and of images, that steers (`steer`)."""


class PairDataset(Protocol):
    """Pairs in a fixed order, by split.
    `name`: as given to `--data`.
    `fingerprint`: hash of content and split; equal hashes mean equal pairs. It follows the options of the constructor.
    `synthetic`: True where no patient stands behind the images; shown wherever results are.
    `terms`: licence or data-use terms of the set as a whole.
    `domains`: the values of `domain` that occur."""

    @property
    def name(self) -> str: ...

    @property
    def fingerprint(self) -> str: ...

    @property
    def synthetic(self) -> bool: ...

    @property
    def terms(self) -> str: ...

    @property
    def domains(self) -> tuple[str, ...]: ...

    def size(self, split: str) -> int:
        """Number of pairs of a split."""

    def pair(self, split: str, index: int) -> ImageReportPair:
        """The pair at `index` (0-based) of a split; an IndexError outside it."""

    def image_checker(self) -> Checker | None:
        """Reads findings from images, or None where the set has no such checker."""

    def report_checker(self) -> Checker | None:
        """Reads findings from reports, or None where the set has no such checker."""


class Keys(NamedTuple):
    """The names of a pair, all that a pass over a million pairs needs."""

    id: str
    study: str
    patient: str


@runtime_checkable
class KnowsKeys(Protocol):
    """A data set that names a pair without drawing or decoding its image."""

    def keys(self, split: str, index: int) -> Keys:
        """Id, study and patient of `pair(split, index)`."""


def pairs(dataset: PairDataset, split: str, limit: int | None = None) -> Iterator[ImageReportPair]:
    """The first `limit` pairs of a split (all by default)."""
    for index in range(min(dataset.size(split), limit) if limit is not None else dataset.size(split)):
        yield dataset.pair(split, index)


def keys_of(dataset: PairDataset, split: str, index: int) -> Keys:
    """Id, study and patient of a pair, without its image where the data set `KnowsKeys`."""
    if isinstance(dataset, KnowsKeys):
        return dataset.keys(split, index)
    pair = dataset.pair(split, index)
    return Keys(pair.id, pair.study, pair.patient)


def checked_index(dataset: PairDataset, split: str, index: int) -> int:
    """`index`; an IndexError where the split has no such pair."""
    size = dataset.size(split)
    if not 0 <= index < size:
        raise IndexError(f"'{dataset.name}' has {size} pairs in split '{split}': there is no number {index}")
    return index


def steering_checker(dataset: PairDataset) -> Checker | None:
    """The checker of images that steers, where the data set has one."""
    return dataset.steering_image_checker() if isinstance(dataset, Steers) else None


class DerivedDataset:
    """A data set derived from another: its names, sizes, keys and checkers, until a subclass says otherwise."""

    def __init__(self, base: PairDataset) -> None:
        self.base = base
        self.name, self.synthetic, self.terms, self.domains = base.name, base.synthetic, base.terms, base.domains

    def size(self, split: str) -> int:
        return self.base.size(split)

    def keys(self, split: str, index: int) -> Keys:
        return keys_of(self.base, split, index)

    def image_checker(self) -> Checker | None:
        return self.base.image_checker()

    def report_checker(self) -> Checker | None:
        return self.base.report_checker()

    def steering_image_checker(self) -> Checker | None:
        return steering_checker(self.base)
