"""What an adapter of an archive offers: a stream of pairs to be made, and the reading of one picture."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, ClassVar

from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from medim.common.errors import UserError, unknown

ENTRY_POINTS = "medim.archives"


class Options(BaseModel):
    """What a user may choose for an archive, `--set key=value`; every field has a default and a description."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class WholeOptions(Options):
    """Of an archive whose size is known."""

    part: bool = Field(False, description="root holds a part of the archive, and that is meant: nothing is said of the rest.")


@dataclass(frozen=True)
class Record:
    """One pair to be made.

    Attributes:
        fields: its line in `pairs.jsonl` but `image`: `id`, `report`, `split`, `patient`, `study`, `domain`, `terms` and what
            else the archive tells (`view`, `findings`, `sections`, ...). Any text that is not a known field is kept as it is.
        source: what `Archive.image` needs to read the picture; JSON-able (a path, or a list).
    """

    fields: Mapping[str, Any]
    source: Any


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

    Instances are picklable: workers get a copy. `records` is cheap for each pair (no picture is decoded), in an order that
    depends on the archive alone, and streams: memory does not grow with the number of pairs beyond what the archive's own
    tables take.

    Args:
        root: where the archive lies.
        options: an instance of the class's `Options`.

    Raises:
        UserError: `root` does not hold such an archive; the line names the file or the column that is missing.
    """

    name: ClassVar[str]
    terms: ClassVar[str]
    """Licence or data-use terms; `Record.fields["terms"]` repeats them, or a source's own."""
    Options: ClassVar[type[Options]]
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Named sets of options, `--preset`."""

    def __init__(self, root: Path, options: BaseModel) -> None:
        self.root = root
        self.options = options
        if not root.exists():
            raise UserError(f"{self.name}: '{root}' does not exist")

    @abstractmethod
    def records(self) -> Iterator[Record | Loss | Excluded]:
        """Every pair of the archive, and what becomes none."""

    @abstractmethod
    def image(self, source: Any) -> Image.Image:
        """The picture of a record, 8-bit, mode L or RGB, at its own size; called in a worker.

        Raises:
            UserError: it cannot be read; the record becomes a line of `failures.jsonl`.
        """

    def shortfall(self) -> list[Loss]:
        """What the publisher's whole archive has and the listing did not find, with both counts; asked once `records` ended."""
        return []

    def facts(self) -> dict[str, Any]:
        """What the manifest should tell beyond counts (parse coverage, versions found); asked once `records` has ended."""
        return {}


def archive_class(name: str) -> type[Archive]:
    """The adapter of a name, from the entry-point group `medim.archives`.

    Raises:
        UserError: no such adapter; the line names the nearest.
    """
    registered = {entry.name: entry for entry in entry_points(group=ENTRY_POINTS)}
    if name not in registered:
        raise unknown("archive", name, registered)
    adapter: type[Archive] = registered[name].load()
    return adapter


def open_archive(name: str, root: Path, preset: str | None = None, overrides: Mapping[str, str] | None = None) -> Archive:
    """An archive with the options of a preset and of `key=value` overrides.

    Raises:
        UserError: unknown archive, preset or option, or a value that the option does not take.
    """
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
        raise UserError(f"{name}: option '{'.'.join(map(str, first['loc']))}': {first['msg']}") from None
    return adapter(root, options)
