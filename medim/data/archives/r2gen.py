"""R2Gen's `annotation.json`: the form in which most report-generation code passes its data on."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from PIL import Image
from pydantic import Field

from medim.common.errors import UserError
from medim.data.archives.archive import Archive, Excluded, Loss, Record
from medim.data.archives.fields import PatientOptions, UniqueIds, inside, key_in, known_split, report_in, unknown_split
from medim.data.archives.json_records import Entry, find_json, read_entries
from medim.data.archives.own import completed, unpacked
from medim.data.sources.pairs_file import NOT_STATED

IU_TERMS = "CC BY-NC-ND 4.0 (Open-i, Indiana University)"
TAKEN = ("image_path",)
"""The entry's fields that are no pair's."""
MIMIC_TERMS = "PhysioNet Credentialed Health Data License 1.5.0 (MIMIC-CXR)"


class R2GenOptions(PatientOptions):
    """Options of `R2Gen`."""

    annotation: str = Field("", description="The JSON file, relative to root; without it the only annotation*.json there.")
    images: str = Field("images", description="Folder that image_path is relative to, itself relative to root.")
    study: Literal["all", "first"] = Field("all", description="Every image of a study, or its first.")
    domain: str = Field("chest-xray", description="Domain of every pair.")
    terms: str = Field(
        "", description="Terms of every pair; without it those of MIMIC-CXR or of Open-i where the entries show which it is."
    )


class R2Gen(Archive):
    """`{"train": [{"id", "report", "image_path": [...], "split"}, ...], "val": ..., "test": ...}` with a folder of images.

    An entry is a study: its images share the report. The split is the key of the list; where a key names no split, the
    entries' own field `split` tells it, and `facts` says so. `subject_id` and `study_id` (MIMIC-CXR's form) are used where
    they stand; else the patient is what precedes the first `_` of the id, as in `CXR2384_IM-0942`. What `medim-bench export`
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
        self._keys: dict[str, Counter[str]] = {}
        self._studies: set[tuple[str, str]] = set()
        self._repeated = 0

    def records(self) -> Iterator[Record | Loss | Excluded]:
        self._keys, self._studies = {}, set()
        unique = UniqueIds()
        for entry in read_entries(self.file):
            if isinstance(entry, Loss):
                yield entry
                continue
            if entry.key is None:
                raise UserError(f"{self.file}: holds one list; R2Gen's form has a list for each of train, val and test")
            if not isinstance(entry.value, dict):
                yield Loss(entry.name(self.file), "an object is needed")
                continue
            split = self._split(entry)
            self._keys.setdefault(entry.key, Counter())[split or "none"] += 1
            try:
                yield from self._pairs(entry, split, unique)
            except UserError as error:
                yield Loss(f"{entry.name(self.file)} ({entry.value.get('id')})", str(error))
        self._repeated = unique.repeated

    def image(self, source: Any) -> Image.Image:
        from medim.imaging.images import read_image

        return read_image(self.images / source)

    def facts(self) -> dict[str, Any]:
        """`keys`: the file's keys with their entries by split; `keys_that_name_no_split`; `repeated_ids`, renamed."""
        odd = [key for key in self._keys if known_split(key) is None]
        return {
            "annotation": self.file.name,
            "keys": {key: dict(splits) for key, splits in self._keys.items()},
            "keys_that_name_no_split": odd,
            "repeated_ids": self._repeated,
        }

    def _pairs(self, entry: Entry, split: str | None, unique: UniqueIds) -> Iterator[Record | Loss | Excluded]:
        value = entry.value
        if split is None:
            raise UserError(f"stands under '{entry.key}' but its field 'split' is '{value['split']}'")
        identity, paths = _checked(value)
        if (own := unpacked(value, TAKEN)) is not None:
            own = completed(own, self.options)
            if self.options.study == "first" and (own["patient"], own["study"]) in self._studies:
                yield Excluded("not the first image of its study")
            else:
                yield Record(own | {"id": unique(identity), "split": split}, inside(paths[0]))
            self._studies.add((own["patient"], own["study"]))
            return
        if "report" not in value:
            raise UserError("field 'report' is missing or no text")
        report = report_in(value["report"], "the report")
        stated = key_in(value.get("study_id"), "field 'study_id'")
        study = f"s{stated}" if stated else identity
        patient = self._patient(value, identity, paths[0])
        for number, path in enumerate(paths):
            name = unique(f"{identity}-{number}" if len(paths) > 1 else identity)
            if number and self.options.study == "first":
                yield Excluded("not the first image of its study")
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
                "study": study,
                "domain": self.options.domain,
                "terms": self.options.terms or _terms(value, source),
            }
            yield Record(fields, source)

    def _split(self, entry: Entry) -> str | None:
        """The entry's split; None where its key and its own field contradict each other.

        Raises:
            UserError: neither tells it.
        """
        by_key, own = known_split(entry.key or ""), entry.value.get("split")
        by_field = known_split(own) if isinstance(own, str) else None
        if by_key is None and by_field is None:
            hint = f"'{own}'" if own is not None else "missing"
            raise UserError(f"{entry.name(self.file)}: {unknown_split(entry.key or '')}, and its field 'split' is {hint}")
        if by_key is None or by_key == by_field or own is None:
            return by_key or by_field
        return None

    def _patient(self, value: Mapping[str, Any], identity: str, path: str) -> str:
        """The patient as `MimicCxr` or `OpenI` would call it, where the entry shows which of them it is from."""
        if self.options.patient_from:
            patient = self.options.patient_in(identity)
            if patient is None:
                raise UserError(f"patient_from '{self.options.patient_from}' does not match the id")
            return patient
        if subject := key_in(value.get("subject_id"), "field 'subject_id'"):
            return f"p{subject}"
        if path.startswith(f"CXR{identity}_"):
            return f"CXR{identity}"
        return identity.split("_")[0] or identity


def _checked(value: Mapping[str, Any]) -> tuple[str, list[str]]:
    """The id and the image paths of an entry; a UserError says what it lacks."""
    identity = key_in(value.get("id"), "field 'id'")
    if not identity:
        raise UserError("field 'id' is missing or empty")
    paths = value.get("image_path")
    paths = [paths] if isinstance(paths, str) else paths
    if not isinstance(paths, list) or not paths or not all(isinstance(path, str) for path in paths):
        raise UserError("field 'image_path' must be a list of paths")
    return identity, paths


def _terms(value: Mapping[str, Any], path: str) -> str:
    """Terms by what an entry shows: MIMIC-CXR's subject, or an Indiana file or study name."""
    if "subject_id" in value or re.match(r"(files/)?p1\d/p1\d{7}/s\d{8}/", path):
        return MIMIC_TERMS
    return IU_TERMS if re.match(r"CXR\d+_", path) or re.match(r"CXR\d+_", str(value["id"])) else NOT_STATED
