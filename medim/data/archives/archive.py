"""What an adapter of an archive offers: a stream of pairs to prepare, and the reading of one picture."""

import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, ClassVar

from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from medim.common.errors import UserError, unknown
from medim.data.sources.pairs_file import NOT_STATED
from medim.data.splits import assign

ENTRY_POINTS = "medim.archives"


class Options(BaseModel):
    """What a user may choose for an archive, `--set key=value`; every field has a default and a description."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class WholeOptions(Options):
    """Of an archive whose size is known."""

    part: bool = Field(False, description="root holds a part of the archive, and that is meant: nothing is said of the rest.")


class FractionOptions(Options):
    """Splits drawn by patient, where the source has none."""

    val: float = Field(0.1, ge=0, le=1, description="Share of the patients in val, where the split is drawn here.")
    test: float = Field(0.1, ge=0, le=1, description="Share of the patients in test, where the split is drawn here.")
    seed: int = Field(0, description="Of the split, where it is drawn here.")

    @model_validator(mode="after")
    def _leave_some_to_train(self) -> "FractionOptions":
        if self.test + self.val > 1:
            raise ValueError(f"val + test is {self.test + self.val:g}, more than 1")
        return self

    def drawn_split(self, patient: str) -> str:
        """The split of a patient; see `medim.data.splits.assign`."""
        return assign(patient, {"val": self.val, "test": self.test}, self.seed)

    def drawn(self) -> dict[str, Any]:
        """How the split is drawn, for `Archive.facts`."""
        return {"by": "patient", "val": self.val, "test": self.test, "seed": self.seed}


class PatientOptions(Options):
    """The patient read from a name, where the source has no field for it."""

    patient_from: str = Field(
        "", description="Regular expression whose group 1 is the patient; else the source's own field, or a study."
    )

    @field_validator("patient_from")
    @classmethod
    def _has_a_group(cls, pattern: str) -> str:
        try:
            groups = re.compile(pattern).groups
        except re.error as error:
            raise ValueError(f"'{pattern}' is no regular expression: {error}") from None
        if pattern and groups < 1:
            raise ValueError(f"'{pattern}' has no group: put the patient's part in brackets, as in '^([^_]+)_'")
        return pattern

    def patient_in(self, name: str, shown: str = "the id") -> str:
        """Group 1 of `patient_from` in `name`.
        Raises UserError: it is not found, or empty; the line calls the name as `shown`."""
        match = re.search(self.patient_from, name)
        patient = (match[1] or "").strip() if match else ""
        if not patient:
            raise UserError(f"patient_from '{self.patient_from}' does not match {shown}")
        return patient


@dataclass(frozen=True)
class Record:
    """One pair to prepare."""

    # its line in `pairs.jsonl` but `image`: those of `listing.REQUIRED` and what else the archive has (`view`, `findings`,
    # `sections`, ...)
    fields: Mapping[str, Any]
    source: Any  # what `Archive.image` needs to read the picture; JSON-able (a path, or a list)


@dataclass(frozen=True)
class Loss:
    """Something of the archive that should have become a pair and cannot: a line of `failures.jsonl`."""

    item: str
    reason: str


@dataclass(frozen=True)
class Excluded:
    """Something that the options leave out: counted by reason in the manifest, no failure."""

    reason: str


def fewer(what: str, found: int, expected: int, where: str) -> list[Loss]:
    """The loss that says how many are missing of a whole archive, if any are."""
    if found >= expected:
        return []
    reason = f"{found:,} of {expected:,} are in {where}: is root the whole archive, is a file cut? part=true if a part is meant"
    return [Loss(what, reason)]


class Archive(ABC):
    """An archive in a folder (or a file) as its publisher lays it out.

    Instances are picklable: workers get a copy. `records` decodes no picture, has an order that depends on the archive
    alone, and streams: memory grows with the archive's own tables at most.

    Raises UserError: `root` does not hold such an archive; the line names the file or the column that is missing.
    """

    name: ClassVar[str]
    terms: ClassVar[str]  # licence or data-use terms; `Record.fields["terms"]` repeats them, or a source's own
    Options: ClassVar[type[Options]]
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}  # named sets of options, `--preset`

    def __init__(self, root: Path, options: BaseModel) -> None:
        self.root = root
        self.options = options
        self.images = root
        """The folder that the sources of records are relative to."""
        if not root.exists():
            raise UserError(f"{self.name}: '{root}' does not exist")

    @abstractmethod
    def records(self) -> Iterator[Record | Loss | Excluded]:
        """Every pair of the archive, and what becomes none."""

    def image(self, source: Any) -> Image.Image:
        """The picture of a record, 8-bit, mode L or RGB, at its own size; called in a worker.
        Raises UserError: it cannot be read; the record becomes a line of `failures.jsonl`."""
        from medim.imaging.images import read_image  # lazy: start-up

        return read_image(self.images / source)

    def shortfall(self) -> list[Loss]:
        """What the publisher's whole archive has and the listing did not find, with both counts; called after `records`."""
        return []

    def facts(self) -> dict[str, Any]:
        """What the manifest has beyond counts (parse coverage, versions found); called after `records`."""
        return {}


class EntryArchive(Archive):
    """An archive that is read entry by entry: a mistake loses its entry alone.
    `unique` and `counts` belong to one pass of `records`."""

    def __init__(self, root: Path, options: BaseModel) -> None:
        super().__init__(root, options)
        self._begin()

    def __getstate__(self) -> dict[str, Any]:
        """Without the ids: workers only read pictures, and get a copy with every piece of work."""
        return {**vars(self), "unique": UniqueIds()}

    def _begin(self) -> None:
        self.unique = UniqueIds()
        self.counts: Counter[str] = Counter()

    @abstractmethod
    def entries(self) -> Iterable[tuple[str, Any] | Loss | Excluded]:
        """The name and the value of each entry, or what becomes of it without being read."""

    @abstractmethod
    def pairs(self, value: Any) -> Iterable[Record | Loss | Excluded]:
        """The pairs of an entry. Raises UserError where it cannot be read."""

    def records(self) -> Iterator[Record | Loss | Excluded]:
        self._begin()
        for entry in self.entries():
            if isinstance(entry, Loss | Excluded):
                yield entry
                continue
            name, value = entry
            try:
                for pair in self.pairs(value):
                    self.counts["unstated"] += isinstance(pair, Record) and pair.fields["terms"] == NOT_STATED
                    yield pair
            except UserError as error:
                yield Loss(name, str(error))


class UniqueIds:
    """Ids of a source, each used once: a second `a` becomes `a-2`, in the source's order."""

    def __init__(self) -> None:
        self._used: set[str] = set()
        self.repeated = 0

    def __call__(self, name: str) -> str:
        unique, number = name, 1
        while unique in self._used:
            number += 1
            unique = f"{name}-{number}"
        self.repeated += unique != name
        self._used.add(unique)
        return unique


def archive_class(name: str) -> type[Archive]:
    """The adapter of a name, from the entry-point group `medim.archives`. Raises UserError: there is none."""
    registered = {entry.name: entry for entry in entry_points(group=ENTRY_POINTS)}
    if name not in registered:
        raise unknown("archive", name, registered)
    adapter: type[Archive] = registered[name].load()
    return adapter


def open_archive(name: str, root: Path, preset: str | None = None, overrides: Mapping[str, str] | None = None) -> Archive:
    """An archive with the options of a preset and of `key=value` overrides.
    Raises UserError: unknown archive, preset or option, or a value that the option does not take."""
    adapter = archive_class(name)
    if preset is not None and preset not in adapter.presets:
        raise unknown(f"preset of {name}", preset, adapter.presets)
    values = {**(adapter.presets[preset] if preset is not None else {}), **(overrides or {})}
    for key in values:
        if key not in adapter.Options.model_fields:
            raise unknown(f"option of {name}", key, adapter.Options.model_fields)
    try:
        options = adapter.Options.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        option = f"option '{'.'.join(map(str, first['loc']))}': " if first["loc"] else ""
        raise UserError(f"{name}: {option}{first['msg']}") from None
    return adapter(root, options)
