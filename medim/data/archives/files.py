"""Loose files: a folder with `pairs.jsonl`, or pictures with a text of the same name beside each."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from medim.common.errors import UserError
from medim.common.json_lines import not_finite
from medim.data.archives.archive import EntryArchive, Excluded, FractionOptions, Loss, PatientOptions, Record
from medim.data.archives.fields import inside, known_split, report_in, split_in
from medim.data.archives.json_records import read_entries
from medim.data.archives.tables import decoded
from medim.data.sources.pairs_file import NOT_STATED, mistakes_in

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".gif", ".dcm")


class FilesOptions(FractionOptions, PatientOptions):
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


class Files(EntryArchive):
    """A folder of pairs, also one that `data prepare` wrote, prepared again (another size, another format, a new split).

    * `pairs.jsonl`: see `medim.data.sources.folder.FolderDataset`; a line with a mistake is lost alone.
      Texts are taken as they are.
    * texts: `a.png` and `a.txt` in one folder, as the authors' code reads; folders may be nested. The id is the path without
      its suffix; folders `train`, `val` and `test` at the top are the splits.

    Where neither the source nor `patient_from` states the patient, each study is one. `patient_from` is looked for in the
    file's name, or in its path relative to root where the expression holds a `/`.
    """

    name: ClassVar[str] = "folder"
    terms: ClassVar[str] = "of the source"
    Options: ClassVar[type[FilesOptions]] = FilesOptions
    options: FilesOptions

    def __init__(self, root: Path, options: FilesOptions) -> None:
        super().__init__(root, options)
        self.pairs_file = root if root.is_file() else root / "pairs.jsonl"
        self.images = self.pairs_file.parent
        present = self.pairs_file.is_file()
        self.layout = options.layout if options.layout != "auto" else "pairs" if present else "texts"
        if self.layout == "pairs" and not present:
            raise UserError(f"folder: '{self.pairs_file}' does not exist")
        if self.layout == "texts" and root.is_file():
            raise UserError(f"folder: '{root}' is a file; layout=texts needs a folder")
        self._drawn = options.split == "drawn"
        if self.layout == "texts":
            has_splits = any(known_split(path.name) for path in root.iterdir() if path.is_dir())
            if options.split == "source" and not has_splits:
                raise UserError(f"folder: '{root}' has no folders train, val and test; split=drawn draws them by patient")
            self._drawn = self._drawn or not has_splits

    def facts(self) -> dict[str, Any]:
        """`layout`; `split`: `source`, or how it was drawn; `pairs_without_terms`."""
        split = self.options.drawn() if self._drawn else "source"
        return {"layout": self.layout, "split": split, "pairs_without_terms": self.counts["unstated"]}

    def entries(self) -> Iterator[tuple[str, Any] | Loss | Excluded]:
        return self._lines() if self.layout == "pairs" else self._files()

    def pairs(self, value: Any) -> Iterator[Record]:
        yield self._of_text(*value) if self.layout == "texts" else self._of_line(value)

    def _lines(self) -> Iterator[tuple[str, Any] | Loss]:
        for entry in read_entries(self.pairs_file):
            if isinstance(entry, Loss):
                yield entry
            else:
                yield f"{self.pairs_file.name}:{entry.number}", entry.value

    def _of_line(self, row: Any) -> Record:
        if not isinstance(row, dict):
            raise UserError("a JSON object is needed")
        needed = ("id", "image", "report", *(() if self._drawn else ("split",)))
        stated = {name: value for name, value in row.items() if value != "" or name in needed}
        for mistake in mistakes_in(stated, needed):
            raise UserError(mistake)
        if (place := not_finite(row)) is not None:
            raise UserError(f"{place}, which JSON does not have")
        source = inside(row["image"])
        study = row.get("study") or row["id"]
        patient = row.get("patient") or self._patient(source, study)
        fields = {
            **{key: value for key, value in row.items() if key != "image"},
            "split": self.options.drawn_split(patient) if self._drawn else split_in(row["split"]),
            "patient": patient,
            "study": study,
            "domain": row.get("domain") or self.options.domain,
            "terms": row.get("terms") or self.options.terms,
        }
        return Record(fields, source)

    def _patient(self, path: str, otherwise: str) -> str:
        pattern = self.options.patient_from
        name = path if "/" in pattern else path.rsplit("/", 1)[-1]
        return self.options.patient_in(name, f"'{name}'") if pattern else otherwise

    def _files(self) -> Iterator[tuple[str, Any] | Loss | Excluded]:
        """Each picture with its text; files without partner are losses."""
        for folder, names in _walk(self.images, "", frozenset()):
            texts = {name[:-4]: name for name in names if name.lower().endswith(".txt")}
            used = set()
            for name in names:
                path = folder + name
                if re.search("[\ud800-\udfff]", path):
                    yield Loss(ascii(path), "the file's name is not UTF-8")
                    continue
                stem, suffix = os.path.splitext(name)
                if suffix.lower() == ".txt":
                    continue
                if suffix.lower() not in SUFFIXES:
                    yield Excluded(f"a file of another kind ('{suffix}')")
                elif stem not in texts:
                    yield Loss(path, f"no '{stem}.txt' beside it")
                else:
                    used.add(stem)
                    yield self._read(path, folder + texts[stem])
            for stem in sorted(texts.keys() - used):
                yield Loss(folder + texts[stem], f"no picture '{stem}.*' beside it ({', '.join(SUFFIXES)})")

    def _read(self, picture: str, text: str) -> tuple[str, Any] | Loss:
        study = os.path.splitext(picture)[0]
        identity = self.unique(study)
        try:
            return picture, (picture, identity, study, decoded((self.images / text).read_bytes()))
        except OSError as error:
            return Loss(text, f"cannot be read: {error.strerror}")
        except UserError as error:
            return Loss(text, str(error))

    def _of_text(self, picture: str, identity: str, study: str, content: str) -> Record:
        report = report_in(content, "the report")
        patient = self._patient(picture, study)
        split = self.options.drawn_split(patient) if self._drawn else known_split(picture.partition("/")[0])
        if split is None:
            raise UserError("lies outside the folders train, val and test")
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
