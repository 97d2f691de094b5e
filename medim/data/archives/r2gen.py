"""R2Gen's `annotation.json`: the form in which most report-generation code passes its data on."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from medim.common.errors import UserError, unknown
from medim.data.archives.archive import EntryArchive, Excluded, Loss, PatientOptions, Record
from medim.data.archives.exported import unpacked
from medim.data.archives.fields import inside, key_in, known_split, report_in
from medim.data.archives.json_records import Entry, find_json, read_entries
from medim.data.sources.pairs_file import NOT_STATED
from medim.pair import SPLITS

IU_TERMS = "CC BY-NC-ND 4.0 (Open-i, Indiana University)"
MIMIC_TERMS = "PhysioNet Credentialed Health Data License 1.5.0 (MIMIC-CXR)"
TAKEN = ("image_path",)  # the entry's fields that are no pair's
_NOT_FIRST = Excluded("not the first image of its study")


class R2GenOptions(PatientOptions):
    annotation: str = Field("", description="The JSON file, relative to root; without it the only annotation*.json there.")
    images: str = Field("images", description="Folder that image_path is relative to, itself relative to root.")
    study: Literal["all", "first"] = Field("all", description="Every image of a study, or its first.")
    domain: str = Field("chest-xray", description="Domain of every pair.")
    terms: str = Field(
        "", description="Terms of every pair; without it those of MIMIC-CXR or of Open-i where the entries show which it is."
    )


class R2Gen(EntryArchive):
    """`{"train": [{"id", "report", "image_path": [...], "split"}, ...], "val": ..., "test": ...}` with a folder of images.

    An entry is a study: its images share the report. The split is the key of the list; where a key names no split, it is
    the entries' field `split`, and `facts` says so. `subject_id` and `study_id` (MIMIC-CXR's form) are used where they
    stand; else the patient is what precedes the first `_` of the id, as in `CXR2384_IM-0942`. What `medim-bench export`
    wrote comes back with every field.
    """

    name: ClassVar[str] = "r2gen"
    terms: ClassVar[str] = f"of the source: {IU_TERMS}, or {MIMIC_TERMS}"
    Options: ClassVar[type[R2GenOptions]] = R2GenOptions
    options: R2GenOptions

    def __init__(self, root: Path, options: R2GenOptions) -> None:
        super().__init__(root, options)
        self.file = find_json(root, options.annotation, ("annotation*.json",), "annotation")
        self.images = self.file.parent / options.images if root.is_file() else root / options.images
        if not self.images.is_dir():
            raise UserError(f"r2gen: '{self.images}' is no folder; name the folder of the images with images=...")

    def _begin(self) -> None:
        super()._begin()
        self._keys: dict[str, Counter[str]] = defaultdict(Counter)
        self._studies: set[tuple[str, str]] = set()

    def entries(self) -> Iterator[tuple[str, Any] | Loss | Excluded]:
        for entry in read_entries(self.file):
            if isinstance(entry, Loss):
                yield entry
            elif entry.key is None:
                raise UserError(f"{self.file}: holds one list; R2Gen's form has a list for each of train, val and test")
            elif not isinstance(entry.value, dict):
                yield Loss(entry.name(self.file), "an object is needed")
            else:
                split = self._split(entry)
                self._keys[entry.key][split or "none"] += 1
                yield f"{entry.name(self.file)} ({entry.value.get('id')})", (entry, split)

    def facts(self) -> dict[str, Any]:
        """`keys`: the file's keys with their entries by split; `keys_that_name_no_split`; `repeated_ids`, renamed."""
        return {
            "annotation": self.file.name,
            "keys": {key: dict(splits) for key, splits in self._keys.items()},
            "keys_that_name_no_split": [key for key in self._keys if known_split(key) is None],
            "repeated_ids": self.unique.repeated,
        }

    def pairs(self, value: tuple[Entry, str | None]) -> Iterator[Record | Loss | Excluded]:
        entry, split = value
        row = entry.value
        if split is None:
            raise UserError(f"stands under '{entry.key}' but its field 'split' is '{row['split']}'")
        identity, paths = _checked(row)
        if (fields := unpacked(row, self.options, TAKEN)) is not None:
            study = (fields["patient"], fields["study"])
            if self.options.study == "first" and study in self._studies:
                yield _NOT_FIRST
            else:
                yield Record(fields | {"id": self.unique(identity), "split": split}, inside(paths[0]))
            self._studies.add(study)
            return
        if "report" not in row:
            raise UserError("field 'report' is missing or no text")
        report = report_in(row["report"], "the report")
        stated = key_in(row.get("study_id"), "field 'study_id'")
        patient = self._patient(row, identity, paths[0])
        for number, path in enumerate(paths):
            name = self.unique(f"{identity}-{number}" if len(paths) > 1 else identity)
            if number and self.options.study == "first":
                yield _NOT_FIRST
                continue
            try:
                source = inside(path)
            except UserError as error:
                yield Loss(name, str(error))
                continue
            fields = {
                "id": name,
                "report": report,
                "split": split,
                "patient": patient,
                "study": f"s{stated}" if stated else identity,
                "domain": self.options.domain,
                "terms": self.options.terms or _terms(row, source),
            }
            yield Record(fields, source)

    def _split(self, entry: Entry) -> str | None:
        """The entry's split; None where its key and its field contradict each other. Raises UserError: neither is a split."""
        by_key, stated = known_split(entry.key or ""), entry.value.get("split")
        by_field = known_split(stated) if isinstance(stated, str) else None
        if by_key is None and by_field is None:
            hint = f"'{stated}'" if stated is not None else "missing"
            error = unknown("split", entry.key or "", SPLITS)
            raise UserError(f"{entry.name(self.file)}: {error}, and its field 'split' is {hint}")
        return (by_key or by_field) if by_key in (None, by_field) or stated is None else None

    def _patient(self, row: Mapping[str, Any], identity: str, path: str) -> str:
        """The patient as `MimicCxr` or `OpenI` would call it, where the entry shows which of them it is from."""
        if self.options.patient_from:
            return self.options.patient_in(identity)
        if subject := key_in(row.get("subject_id"), "field 'subject_id'"):
            return f"p{subject}"
        return f"CXR{identity}" if path.startswith(f"CXR{identity}_") else identity.split("_")[0] or identity


def _checked(row: Mapping[str, Any]) -> tuple[str, list[str]]:
    """The id and the image paths of an entry; a UserError says what it lacks."""
    identity = key_in(row.get("id"), "field 'id'")
    if not identity:
        raise UserError("field 'id' is missing or empty")
    paths = row.get("image_path")
    paths = [paths] if isinstance(paths, str) else paths
    if not isinstance(paths, list) or not paths or not all(isinstance(path, str) for path in paths):
        raise UserError("field 'image_path' must be a list of paths")
    return identity, paths


def _terms(row: Mapping[str, Any], path: str) -> str:
    """Terms by what an entry shows: MIMIC-CXR's subject, or an Indiana file or study name."""
    if "subject_id" in row or re.match(r"(files/)?p1\d/p1\d{7}/s\d{8}/", path):
        return MIMIC_TERMS
    return IU_TERMS if re.match(r"CXR\d+_", path) or re.match(r"CXR\d+_", str(row["id"])) else NOT_STATED
