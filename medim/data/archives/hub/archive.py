"""Any source that the `datasets` library reads: a hub id, or local parquet, CSV, JSON, Arrow or image folders."""

import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar, Literal

from PIL import Image
from pydantic import Field, field_validator

from medim.common.errors import UserError
from medim.data.archives.archive import Archive, Excluded, Loss, Record
from medim.data.archives.fields import (
    FractionOptions,
    PatientOptions,
    UniqueIds,
    key_in,
    known_split,
    missing_word,
    pair_fields,
    report_in,
    require_columns,
    unknown_split,
    written,
)
from medim.data.archives.hub.tables import Tables, file_in, open_tables
from medim.data.archives.hub.text import TextTables
from medim.data.archives.own import EXTRA, completed, unpacked
from medim.data.sources.pairs_file import NOT_STATED
from medim.imaging.image_files import backslash_hint
from medim.pair import SPLITS

_SKIP = "none"


class HubOptions(FractionOptions, PatientOptions):
    """Options of `Hub`."""

    config: str = Field("", description="The configuration (subset), where the source has several.")
    revision: str = Field("", description="Branch, tag or commit of a hub id.")
    streaming: bool = Field(False, description="Read rows as they arrive instead of through the Arrow cache; see Hub.")
    image: str = Field("image", description="Column with the picture: an image, bytes, a path in root, or a list of them.")
    report: str = Field("report", description="Column with the report.")
    id: str = Field("", description="Column with the id; without it split and row number.")
    patient: str = Field("", description="Column with the patient; without it the study.")
    study: str = Field("", description="Column with the study; without it each row is one.")
    view: str = Field("", description="Column with the view.")
    findings: str = Field("", description="Column with labels: a list, class labels, or text parted by ; , or |.")
    terms_column: str = Field("", description="Column with the terms of each pair.")
    terms: str = Field("", description="Terms of the pairs that state none; without it the licence that the source declares.")
    domain: str = Field(NOT_STATED, description="Domain of every pair.")
    split: Literal["source", "drawn"] = Field("source", description="drawn: by patient with val, test and seed.")
    split_column: str = Field("", description="Column with the split; without it the source's own splits.")
    split_names: str = Field("", description="The source's splits by name, as 'unsplit=train,extra=none'; none leaves one out.")

    @field_validator("split_names")
    @classmethod
    def _are_splits(cls, text: str) -> str:
        for part in filter(None, text.split(",")):
            name, separator, split = (piece.strip() for piece in part.partition("="))
            if not separator or not name or split not in (*SPLITS, _SKIP):
                raise ValueError(f"'{part}' must be name=split, the split one of {', '.join(SPLITS)}, {_SKIP}")
        return text

    def split_named(self, name: str) -> str | None:
        """What a split of the source becomes: a split, `none`, or None where it is not known."""
        pairs = (part.split("=") for part in self.split_names.split(",") if part)
        return {key.strip(): value.strip() for key, value in pairs}.get(name) or known_split(name)


class Hub(Archive):
    """Rows of a source of the `datasets` library, by column names.

    By default the source is read through the library's Arrow cache (`HF_HOME`), made once: listing reads the columns of
    text alone, a worker maps the cache into memory and finds a row by its number, so that any picture is at hand at once
    and what was interrupted goes on. The cost is the whole source on disk, a second time where it is local.
    `streaming=true` makes no cache: listing and each worker read the rows in order, the worker skipping those of others, so
    that the source is read once for the listing, once for the estimate of disk space and once for each worker: for the
    first few pairs of a large source (`--limit`), or few workers.

    What `medim-bench export` wrote (huggingface, parquet, webdataset) comes back with every field, without options.

    Nothing of a source is executed. `HF_HUB_OFFLINE=1` is respected. A path in a row must lie in `root` or the cache.
    """

    name: ClassVar[str] = "hub"
    terms: ClassVar[str] = "of the source"
    Options: ClassVar[type[HubOptions]] = HubOptions
    options: HubOptions

    def __init__(self, root: Path, options: HubOptions) -> None:
        if not root.exists() and not re.fullmatch(r"[\w][\w.-]*(/[\w][\w.-]*)?", str(root)):
            raise UserError(f"hub: '{root}' does not exist, and is no hub id (owner/name)")
        self.root = root  # not the base class's check: a hub id is no path
        self.options = options
        open_tables.cache_clear()  # in a process that opened this source before it changed
        tables = self._tables()
        needed = [options.image, options.report, *self._optional()]
        for name in tables.columns:
            require_columns(f"hub: '{root}', split '{name}'", tables.header(name, needed), needed)
        if options.split == "source" and not options.split_column:
            for name in tables.columns:
                if options.split_named(name) is None:
                    hint = f"say what it is with split_names={name}=train, or give split=drawn"
                    raise UserError(f"hub: '{root}': {unknown_split(name)}; {hint}")
        self._rows: Counter[str] = Counter()
        self._keys: Counter[str] = Counter()
        self._repeated = self._unstated = 0

    def records(self) -> Iterator[Record | Loss | Excluded]:
        self._rows, self._keys, self._repeated, self._unstated = Counter(), Counter(), 0, 0
        tables, unique = self._tables(), UniqueIds()
        columns = [self.options.report, *self._optional()]
        for name in tables.columns:
            with_image = isinstance(tables, TextTables) or tables.is_list(name, self.options.image)
            wanted = [*columns, self.options.image] if with_image else columns
            if EXTRA in tables.columns[name]:
                wanted = list(dict.fromkeys([*wanted, EXTRA]))
            for number, (place, row) in enumerate(tables.entries(name, wanted)):
                self._rows[name] += 1
                if isinstance(row, Loss):
                    yield row
                    continue
                try:
                    yield from self._pairs(tables, name, number, place, row, unique)
                except UserError as error:
                    yield Loss(place, str(error))
        self._repeated = unique.repeated

    def image(self, source: Any) -> Image.Image:
        from medim.imaging.images import read_image

        if isinstance(source, dict):  # of a table of text
            value, place = source["file"], f"column '{self.options.image}' of {source['row']}"
        else:
            split, row, *element = source
            value = self._tables().cell(split, row, self.options.image)  # type: ignore[union-attr]
            value = value[element[0]] if element else value
            place = f"column '{self.options.image}' of row {row} in split '{split}'"
        data = self._read(value, place)
        with tempfile.TemporaryDirectory() as folder:  # for the one reader of files, whatever format this is
            file = Path(folder) / "image"
            file.write_bytes(data)
            try:
                return read_image(file)
            except UserError as error:
                raise UserError(str(error).replace(f"image '{file}'", place)) from None

    def facts(self) -> dict[str, Any]:
        """`rows` by the source's splits; `columns`; `split`, how it was drawn; `repeated_ids`; `pairs_without_terms`;
        `keys` (ids, patients, studies) that are empty, numbers with a fraction, or read like a missing value."""
        return {
            "rows": dict(self._rows),
            "columns": self._tables().columns,
            "streaming": self.options.streaming,
            "split": self.options.drawn() if self.options.split == "drawn" else "source",
            "repeated_ids": self._repeated,
            "pairs_without_terms": self._unstated,
            **({"keys": [f"{count} x {what}" for what, count in self._keys.items()]} if self._keys else {}),
        }

    def _tables(self) -> Tables | TextTables:
        return open_tables(str(self.root), self.options.config, self.options.revision, self.options.streaming)

    def _optional(self) -> list[str]:
        """The columns that the options name beyond image and report."""
        chosen = self.options
        named = [chosen.id, chosen.patient, chosen.study, chosen.view, chosen.findings, chosen.terms_column]
        return list(dict.fromkeys(column for column in [*named, chosen.split_column] if column))

    def _pairs(
        self, tables: Tables | TextTables, name: str, number: int, place: str, row: dict[str, Any], unique: UniqueIds
    ) -> Iterator[Record | Excluded]:
        options = self.options
        if (own := self._own(row)) is not None:
            split = options.drawn_split(own["patient"]) if options.split == "drawn" else own["split"]
            self._unstated += (own.get("terms") or NOT_STATED) == NOT_STATED
            skipped = options.split_named(name) == _SKIP
            yield (
                Excluded(f"split: {name}")
                if skipped
                else Record(own | {"id": unique(own["id"]), "split": split}, self._source(tables, name, number, place, row))
            )
            return
        identity = self._key(row, options.id) or f"{name}-{number:07d}"
        study = self._key(row, options.study) or identity
        patient = self._patient(row, identity, study)
        split = self._split(tables, name, row, patient)
        if split == _SKIP:
            yield Excluded(f"split: {name if not options.split_column else tables.label(name, options.split_column, row)}")
            return
        report = report_in(row[options.report], f"column '{options.report}'")
        images = row.get(options.image)
        several = isinstance(images, list)
        count = len(images) if isinstance(images, list) else 1
        if not count:
            raise UserError(f"column '{options.image}' is an empty list")
        findings = tables.labels(name, options.findings, row) if options.findings else None
        terms = written(row.get(options.terms_column)) or options.terms or tables.licence(name) or NOT_STATED
        for element in range(count):
            self._unstated += terms == NOT_STATED
            yield Record(
                pair_fields(
                    id=unique(f"{identity}-{element}" if count > 1 else identity),
                    report=report,
                    split=split,
                    patient=patient,
                    study=study,
                    domain=options.domain,
                    terms=terms,
                    view=written(row.get(options.view)) or None,
                    findings=findings,
                ),
                self._source(tables, name, number, place, row, element if several else None),
            )

    def _source(
        self, tables: Tables | TextTables, name: str, number: int, place: str, row: dict[str, Any], element: int | None = None
    ) -> Any:
        """Where `image` finds a picture: what the cell of a table of text says, or the place of a typed one's cell."""
        if not isinstance(tables, TextTables):
            return [name, number] if element is None else [name, number, element]
        cell = row[self.options.image]
        return {"file": cell if element is None else cell[element], "row": place}

    def _own(self, row: dict[str, Any]) -> dict[str, Any] | None:
        """The fields of a pair that `medim-bench export` wrote; None of any other row."""
        report = row[self.options.report]
        own = unpacked(row.get(EXTRA), (), report if isinstance(report, str) else None)
        return None if own is None else completed(own, self.options)

    def _patient(self, row: dict[str, Any], identity: str, study: str) -> str:
        options = self.options
        if options.patient_from:
            looked_at = self._key(row, options.patient) or identity
            patient = options.patient_in(looked_at)
            if patient is None:
                raise UserError(f"patient_from '{options.patient_from}' does not match '{looked_at}'")
            return patient
        patient = self._key(row, options.patient)
        if options.patient and not patient:
            raise UserError(f"column '{options.patient}' is empty")
        return patient or study

    def _key(self, row: dict[str, Any], column: str) -> str:
        """A cell that names something, as it is written; empty where the option names no column or the cell is."""
        value = row[column] if column else None
        if isinstance(value, bytes):
            try:
                value = value.decode()
            except UnicodeDecodeError:
                raise UserError(f"column '{column}' holds bytes that are no text") from None
        if isinstance(value, float) and value == value:
            self._keys[f"'{column}' is a number with a fraction, taken as Python prints it: what it was as text is lost"] += 1
            value = repr(value)
        elif isinstance(value, date | Decimal):
            value = str(value)
        elif isinstance(value, str) and (word := missing_word(value)):
            self._keys[f"'{column}' is '{word}', taken as a name although it reads like a missing value"] += 1
        key = key_in(None if value != value else value, f"column '{column}'")  # a NaN of a typed table is an empty cell
        if column and not key:
            self._keys[f"'{column}' is empty: taken as if the option named no column"] += 1
        return key

    def _split(self, tables: Tables | TextTables, name: str, row: dict[str, Any], patient: str) -> str:
        if self.options.split == "drawn":
            return _SKIP if self.options.split_named(name) == _SKIP else self.options.drawn_split(patient)
        own = tables.label(name, self.options.split_column, row) if self.options.split_column else name
        split = self.options.split_named(own)
        if split is None:
            raise unknown_split(own)
        return split

    def _read(self, value: Any, place: str) -> bytes:
        """The bytes of a cell with a picture."""
        if isinstance(value, Mapping):
            value = value.get("bytes") or value.get("path")
        if isinstance(value, bytes):
            return value
        if not isinstance(value, str) or not value:
            raise UserError(f"{place} holds no image, no bytes and no path")
        try:
            return file_in(str(self.root), value)
        except OSError as error:
            hint = backslash_hint(value)
            raise UserError(f"{place}: '{value}' cannot be read: {error.strerror or error}{hint}") from None
