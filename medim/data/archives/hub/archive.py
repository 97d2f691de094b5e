"""Any source that the `datasets` library reads: a hub id, or local parquet, CSV, JSON, Arrow or image folders."""

import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

from PIL import Image
from pydantic import Field, field_validator

from medim.common.errors import UserError, unknown
from medim.data.archives.archive import EntryArchive, Excluded, FractionOptions, Loss, PatientOptions, Record
from medim.data.archives.exported import EXTRA, unpacked
from medim.data.archives.fields import key_in, known_split, missing_word, pair_fields, report_in, split_in, written
from medim.data.archives.hub.tables import Tables, TextTables, file_in, open_tables
from medim.data.archives.tables import require_columns
from medim.data.sources.pairs_file import NOT_STATED
from medim.imaging.image_files import backslash_hint
from medim.pair import SPLITS

_SKIP = "none"


class HubOptions(FractionOptions, PatientOptions):
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


class _Row(NamedTuple):
    """A row of a table: split, number in it, how messages call it, and its cells."""

    split: str
    number: int
    place: str
    cells: dict[str, Any]


class Hub(EntryArchive):
    """Rows of a source of the `datasets` library, by column names.

    By default the source is read through the library's Arrow cache (`HF_HOME`), written once: listing reads the columns of
    text alone, a worker maps the cache into memory and finds a row by its number. The cost is the whole source on disk, a
    second time where it is local. `streaming=true` writes no cache: the listing, the estimate of disk space and each worker
    read the rows in order, skipping those of others: for the first pairs of a large source (`--limit`), or few workers.

    What `medim-bench export` wrote (huggingface, parquet, webdataset) comes back with every field, without options. Nothing
    of a source is executed. `HF_HUB_OFFLINE=1` is respected. A path in a row must lie in `root` or the cache.
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
        self._begin()
        open_tables.cache_clear()  # in a process that opened this source before it changed
        tables = self._tables()
        needed = [options.image, options.report, *self._optional()]
        for name in tables.columns:
            require_columns(f"hub: '{root}', split '{name}'", tables.header(name, needed), needed)
            if options.split == "source" and not options.split_column and options.split_named(name) is None:
                hint = f"say what it is with split_names={name}=train, or give split=drawn"
                raise UserError(f"hub: '{root}': {unknown('split', name, SPLITS)}; {hint}")

    def _begin(self) -> None:
        super()._begin()
        self._rows: Counter[str] = Counter()
        self._keys: Counter[str] = Counter()

    def entries(self) -> Iterator[tuple[str, Any] | Loss | Excluded]:
        tables = self._tables()
        for name in tables.columns:
            wanted = [self.options.report, *self._optional()]
            if isinstance(tables, TextTables) or tables.is_list(name, self.options.image):
                wanted.append(self.options.image)
            if EXTRA in tables.columns[name]:
                wanted.append(EXTRA)
            for number, (place, cells) in enumerate(tables.entries(name, list(dict.fromkeys(wanted)))):
                self._rows[name] += 1
                yield cells if isinstance(cells, Loss) else (place, _Row(name, number, place, cells))

    def image(self, source: Any) -> Image.Image:
        from medim.imaging.images import read_image  # lazy: start-up

        if isinstance(source, dict):  # of a table of text
            value, place = source["file"], f"column '{self.options.image}' of {source['row']}"
        else:
            split, row, *element = source
            value = self._tables().cell(split, row, self.options.image)
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
            "repeated_ids": self.unique.repeated,
            "pairs_without_terms": self.counts["unstated"],
            **({"keys": [f"{count} x {what}" for what, count in self._keys.items()]} if self._keys else {}),
        }

    def _tables(self) -> Tables:
        return open_tables(str(self.root), self.options.config, self.options.revision, self.options.streaming)

    def _optional(self) -> list[str]:
        """The columns that the options name beyond image and report."""
        chosen = self.options
        named = [chosen.id, chosen.patient, chosen.study, chosen.view, chosen.findings, chosen.terms_column]
        return list(dict.fromkeys(column for column in [*named, chosen.split_column] if column))

    def pairs(self, value: _Row) -> Iterator[Record | Excluded]:
        options, tables, row = self.options, self._tables(), value.cells
        report = row[options.report]
        if (fields := unpacked(row.get(EXTRA), options, (), report if isinstance(report, str) else None)) is not None:
            if options.split_named(value.split) == _SKIP:
                yield Excluded(f"split: {value.split}")
                return
            split = options.drawn_split(fields["patient"]) if options.split == "drawn" else fields["split"]
            yield Record(fields | {"id": self.unique(fields["id"]), "split": split}, self._source(tables, value))
            return
        identity = self._key(row, options.id) or f"{value.split}-{value.number:07d}"
        study = self._key(row, options.study) or identity
        patient = self._patient(row, identity, study)
        stated = tables.label(value.split, options.split_column, row) if options.split_column else value.split
        if options.split == "drawn":
            split = _SKIP if options.split_named(value.split) == _SKIP else options.drawn_split(patient)
        else:
            split = options.split_named(stated) or split_in(stated)
        if split == _SKIP:
            yield Excluded(f"split: {stated}")
            return
        report = report_in(report, f"column '{options.report}'")
        images = row.get(options.image)
        elements = range(len(images)) if isinstance(images, list) else [None]
        if not elements:
            raise UserError(f"column '{options.image}' is an empty list")
        for element in elements:
            fields = pair_fields(
                id=self.unique(f"{identity}-{element}" if len(elements) > 1 else identity),
                report=report,
                split=split,
                patient=patient,
                study=study,
                domain=options.domain,
                terms=written(row.get(options.terms_column)) or options.terms or tables.licence(value.split) or NOT_STATED,
                view=written(row.get(options.view)) or None,
                findings=tables.labels(value.split, options.findings, row) if options.findings else None,
            )
            yield Record(fields, self._source(tables, value, element))

    def _source(self, tables: Tables, row: _Row, element: int | None = None) -> Any:
        """Where `image` finds a picture: the cell of a table of text, or the place of a typed one's cell."""
        if not isinstance(tables, TextTables):
            return [row.split, row.number] if element is None else [row.split, row.number, element]
        cell = row.cells[self.options.image]
        return {"file": cell if element is None else cell[element], "row": row.place}

    def _patient(self, row: dict[str, Any], identity: str, study: str) -> str:
        options = self.options
        patient = self._key(row, options.patient)
        if options.patient_from:
            name = patient or identity
            return options.patient_in(name, f"'{name}'")
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

    def _read(self, value: Any, place: str) -> bytes:
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
