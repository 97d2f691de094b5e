"""Loose files: a folder with `pairs.jsonl`, or pictures with a text of the same name beside each."""

import difflib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from PIL import Image
from pydantic import Field

from medim.common.errors import UserError
from medim.common.json_lines import not_finite
from medim.data.archives.archive import Archive, Excluded, Loss, Record
from medim.data.archives.fields import FractionOptions, PatientOptions, UniqueIds, inside, known_split, report_in, unknown_split
from medim.data.archives.json_records import Entry, read_entries
from medim.data.archives.tables import decoded
from medim.data.sources.pairs_file import NOT_STATED

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".gif", ".dcm")
_NEEDED = ("id", "image", "report")


class FilesOptions(FractionOptions, PatientOptions):
    """Options of `Files`."""

    layout: Literal["auto", "pairs", "texts"] = Field(
        "auto", description="pairs: pairs.jsonl; texts: a .txt beside each picture; auto: pairs where there is pairs.jsonl."
    )
    split: Literal["auto", "source", "drawn"] = Field(
        "auto",
        description="source: of pairs.jsonl, or the folders train, val, test; drawn: by patient with val, test and seed; "
        "auto: the source's where it has any.",
    )
    domain: str = Field(NOT_STATED, description="Domain of the pairs that state none.")
    terms: str = Field(NOT_STATED, description="Licence or data-use terms of the pairs that state none.")


class Files(Archive):
    """A folder of one's own, or one that `data prepare` wrote, made again (another size, another format, a new split).

    * `pairs.jsonl`: see `medim.data.sources.folder.FolderDataset`; a line with a mistake is lost, the others are kept.
      Texts are taken as they are.
    * texts: `a.png` and `a.txt` in one folder, as the authors' code reads; folders may be nested. The id is the path without
      its suffix; folders `train`, `val` and `test` at the top are the splits.

    Where neither the source nor `patient_from` tells the patient, each study is a patient of its own. `patient_from` is
    looked for in the file's name, or in its path relative to root where the expression holds a `/`.
    """

    name: ClassVar[str] = "folder"
    terms: ClassVar[str] = "of the source"
    Options: ClassVar[type[FilesOptions]] = FilesOptions
    options: FilesOptions

    def __init__(self, root: Path, options: FilesOptions) -> None:
        super().__init__(root, options)
        self.pairs = root if root.is_file() else root / "pairs.jsonl"
        self.folder = self.pairs.parent
        present = self.pairs.is_file()
        self.layout = options.layout if options.layout != "auto" else "pairs" if present else "texts"
        if self.layout == "pairs" and not present:
            raise UserError(f"folder: '{self.pairs}' does not exist")
        if self.layout == "texts" and root.is_file():
            raise UserError(f"folder: '{root}' is a file; layout=texts needs a folder")
        self._drawn = options.split == "drawn"
        if self.layout == "texts":
            has_splits = any(known_split(path.name) for path in root.iterdir() if path.is_dir())
            if options.split == "source" and not has_splits:
                raise UserError(f"folder: '{root}' has no folders train, val and test; split=drawn draws them by patient")
            self._drawn = self._drawn or not has_splits
        self._unstated = 0

    def records(self) -> Iterator[Record | Loss | Excluded]:
        self._unstated = 0
        for entry in self._from_lines() if self.layout == "pairs" else self._from_texts():
            self._unstated += isinstance(entry, Record) and entry.fields["terms"] == NOT_STATED
            yield entry

    def image(self, source: Any) -> Image.Image:
        from medim.imaging.images import read_image

        return read_image(self.folder / source)

    def facts(self) -> dict[str, Any]:
        """`layout`; `split`: `source`, or how it was drawn; `pairs_without_terms`."""
        split = self.options.drawn() if self._drawn else "source"
        return {"layout": self.layout, "split": split, "pairs_without_terms": self._unstated}

    # ---- pairs.jsonl -------------------------------------------------------------------------------------------------------

    def _from_lines(self) -> Iterator[Record | Loss]:
        for entry in read_entries(self.pairs):
            if isinstance(entry, Loss):
                yield entry
                continue
            try:
                yield self._of_line(entry)
            except UserError as error:
                yield Loss(f"{self.pairs.name}:{entry.number}", str(error))

    def _of_line(self, entry: Entry) -> Record:
        row = entry.value
        if not isinstance(row, dict):
            raise UserError("a JSON object is needed")
        for field in (*_NEEDED, "split") if not self._drawn else _NEEDED:
            if not isinstance(row.get(field), str) or not row[field].strip():
                if field in row:
                    raise UserError(f"field '{field}' must be a text that is not empty")
                near = difflib.get_close_matches(field, row, n=1)
                raise UserError(f"field '{field}' is missing" + (f"; did you mean it by '{near[0]}'?" if near else ""))
        if (place := not_finite(row)) is not None:
            raise UserError(f"{place}, which JSON does not have")
        _check_optional(row)
        source = inside(row["image"])
        patient = row.get("patient") or self._patient(source, row.get("study") or row["id"])
        split = self.options.drawn_split(patient) if self._drawn else known_split(row["split"])
        if split is None:
            raise unknown_split(row["split"])
        fields = {
            **{key: value for key, value in row.items() if key != "image"},
            "split": split,
            "patient": patient,
            "study": row.get("study") or row["id"],
            "domain": row.get("domain") or self.options.domain,
            "terms": row.get("terms") or self.options.terms,
        }
        return Record(fields, source)

    def _patient(self, path: str, otherwise: str) -> str:
        """The patient that `patient_from` finds in a path.

        Raises:
            UserError: it does not match.
        """
        pattern = self.options.patient_from
        if not pattern:
            return otherwise
        name = path if "/" in pattern else path.rsplit("/", 1)[-1]
        patient = self.options.patient_in(name)
        if patient is None:
            raise UserError(f"patient_from '{pattern}' does not match '{name}'")
        return patient

    # ---- pictures with texts beside them -----------------------------------------------------------------------------------

    def _from_texts(self) -> Iterator[Record | Loss | Excluded]:
        unique = UniqueIds()
        for folder, names in _walk(self.folder, "", frozenset()):
            texts = {name[:-4]: name for name in names if name.lower().endswith(".txt")}
            used = set()
            for name in names:
                if re.search("[\ud800-\udfff]", folder + name):
                    yield Loss(ascii(folder + name), "the file's name is not UTF-8")
                    continue
                stem, suffix = os.path.splitext(name)
                if suffix.lower() == ".txt":
                    continue
                if suffix.lower() not in SUFFIXES:
                    yield Excluded(f"a file of another kind ('{suffix}')")
                elif stem not in texts:
                    yield Loss(folder + name, f"no '{stem}.txt' beside it")
                else:
                    used.add(stem)
                    yield self._of_text(folder + name, folder + texts[stem], unique)
            for stem in sorted(texts.keys() - used):
                yield Loss(folder + texts[stem], f"no picture '{stem}.*' beside it ({', '.join(SUFFIXES)})")

    def _of_text(self, picture: str, text: str, unique: UniqueIds) -> Record | Loss:
        study = os.path.splitext(picture)[0]
        identity = unique(study)
        try:
            content = decoded((self.folder / text).read_bytes())
        except OSError as error:
            return Loss(text, f"cannot be read: {error.strerror}")
        except UserError as error:
            return Loss(text, str(error))
        try:
            report = report_in(content, "the report")
            patient = self._patient(picture, study)
            split = self.options.drawn_split(patient) if self._drawn else known_split(picture.partition("/")[0])
            if split is None:
                raise UserError("lies outside the folders train, val and test")
        except UserError as error:
            return Loss(picture, str(error))
        fields = {
            "id": identity,
            "report": report,
            "split": split,
            "patient": patient,
            "study": study,
            "domain": self.options.domain,
            "terms": self.options.terms,
        }
        return Record(fields, picture)


def _check_optional(row: Mapping[str, Any]) -> None:
    """Refuses what `FolderDataset` would refuse in the fields that a row may have."""
    for field in ("patient", "study", "domain", "terms", "view"):
        if not isinstance(row.get(field), str | None):
            raise UserError(f"field '{field}' must be a string")
    labels, sections = row.get("findings"), row.get("sections")
    if labels is not None and not (isinstance(labels, list) and all(isinstance(label, str) for label in labels)):
        raise UserError("field 'findings' must be a list of strings")
    if sections is not None and not (isinstance(sections, dict) and all(isinstance(t, str) for t in sections.values())):
        raise UserError("field 'sections' must map names to strings")


def _walk(folder: Path, prefix: str, above: frozenset[str]) -> Iterator[tuple[str, list[str]]]:
    """Each folder as its prefix (`a/b/`, empty at the top) and the names of its files, both in order; hidden ones are left
    out, links to folders are followed unless they lead back to a folder above."""
    real = os.path.realpath(folder)
    if real in above:
        return
    with os.scandir(folder) as entries:
        found = sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)
    yield prefix, [entry.name for entry in found if entry.is_file()]
    for entry in found:
        if entry.is_dir():
            yield from _walk(Path(entry.path), f"{prefix}{entry.name}/", above | {real})
