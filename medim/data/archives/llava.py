"""LLaVA's JSON: conversations about an image, of which the answer is the report."""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from PIL import Image
from pydantic import Field

from medim.data.archives.archive import Archive, Excluded, Loss, Record
from medim.data.archives.fields import (
    FractionOptions,
    PatientOptions,
    UniqueIds,
    inside,
    known_split,
    one_line,
    pair_fields,
    unknown_split,
)
from medim.data.archives.json_records import Entry, find_json, read_entries
from medim.data.archives.own import completed, unpacked
from medim.data.folder import NOT_STATED
from medim.errors import UserError

TAKEN = ("conversations",)
"""The entry's fields that are no pair's."""
_CONVERSATIONS = ("conversations", "conversatons")  # the second: LLaVA-Med's own files spell it so
_HUMAN, _MODEL = ("human", "user"), ("gpt", "assistant")


class LlavaOptions(FractionOptions, PatientOptions):
    """Options of `Llava`."""

    file: str = Field("", description="The JSON or JSONL file, relative to root; without it the only one there.")
    images: str = Field("", description="Folder that the entries' image is relative to, itself relative to root.")
    turn: Literal["first", "last", "all"] = Field("first", description="The report: the first or last answer, or all of them.")
    split: Literal["auto", "drawn", "train", "val", "test"] = Field(
        "auto",
        description="One split for all; drawn: by patient with val, test and seed; auto: the entry's own field, else drawn.",
    )
    domain: str = Field(NOT_STATED, description="Domain of the pairs that state none.")
    terms: str = Field(NOT_STATED, description="Licence or data-use terms of the pairs that state none.")


class Llava(Archive):
    """`[{"id", "image", "conversations": [{"from": "human", "value": "<image>..."}, {"from": "gpt", "value": ...}]}, ...]`.

    Also as one object a line (`.jsonl`). The first question without `<image>` is kept as `prompt`. `patient`, `study`,
    `split`, `domain`, `terms`, `view` and `findings` of an entry are used where they stand; else the patient is what
    `patient_from` finds in the id, or the study, and the study is the first image: entries about it stay in one split. What
    `medim-bench export` wrote comes back with every field.
    """

    name: ClassVar[str] = "llava"
    terms: ClassVar[str] = "of the source"
    Options: ClassVar[type[LlavaOptions]] = LlavaOptions
    options: LlavaOptions

    def __init__(self, root: Path, options: LlavaOptions) -> None:
        super().__init__(root, options)
        self.file = find_json(root, options.file, ("*.json", "*.jsonl"), "file")
        self.images = (self.file.parent if root.is_file() else root) / options.images
        if not self.images.is_dir():
            raise UserError(f"llava: '{self.images}' is no folder (option images)")
        self._unstated = self._repeated = 0

    def records(self) -> Iterator[Record | Loss | Excluded]:
        self._unstated = self._repeated = 0
        unique = UniqueIds()
        for entry in read_entries(self.file):
            if isinstance(entry, Loss):
                yield entry
                continue
            if entry.key is not None:
                raise UserError(f"{self.file}: an object with the key '{entry.key}'; LLaVA's form is one list of entries")
            try:
                yield from self._pairs(entry, unique)
            except UserError as error:
                identity = entry.value.get("id") if isinstance(entry.value, dict) else None
                yield Loss(entry.name(self.file) + (f" ({identity})" if identity is not None else ""), str(error))
        self._repeated = unique.repeated

    def image(self, source: Any) -> Image.Image:
        from medim.data.images import read_image

        return read_image(self.images / source)

    def facts(self) -> dict[str, Any]:
        """`file`; `turn`; `split` and how it is drawn; `repeated_ids`, renamed; `pairs_without_terms`."""
        return {
            "file": self.file.name,
            "turn": self.options.turn,
            "split": self.options.split,
            "drawn": self.options.drawn(),
            "repeated_ids": self._repeated,
            "pairs_without_terms": self._unstated,
        }

    def _pairs(self, entry: Entry, unique: UniqueIds) -> Iterator[Record | Excluded]:
        value = entry.value
        if not isinstance(value, dict):
            raise UserError("an object is needed")
        if value.get("image") in (None, "", []):
            yield Excluded("entry without an image")
            return
        paths = value["image"] if isinstance(value["image"], list) else [value["image"]]
        if not all(isinstance(path, str) for path in paths):
            raise UserError("field 'image' must be a path")
        sources = [inside(path) for path in paths]
        if (own := self._own(value)) is not None:
            self._unstated += (own.get("terms") or NOT_STATED) == NOT_STATED
            yield Record(own | {"id": unique(own["id"]), "split": self._split(own, own["patient"])}, sources[0])
            return
        prompt, report = self._texts(value)
        name = os.path.splitext(sources[0])[0]
        identity = str(value["id"]) if isinstance(value.get("id"), str | int) else name
        study = _text(value, "study") or name
        patient = self._patient(value, identity, study)
        split = self._split(value, patient)
        for number, source in enumerate(sources):
            terms = _text(value, "terms") or self.options.terms
            self._unstated += terms == NOT_STATED
            yield Record(
                pair_fields(
                    id=unique(f"{identity}-{number}" if len(sources) > 1 else identity),
                    report=report,
                    split=split,
                    patient=patient,
                    study=study,
                    domain=_text(value, "domain") or self.options.domain,
                    terms=terms,
                    view=_text(value, "view"),
                    findings=_labels(value),
                    prompt=prompt or None,
                ),
                source,
            )

    def _own(self, value: Mapping[str, Any]) -> dict[str, Any] | None:
        """The fields of a pair that `medim-bench export` wrote; None of any other entry."""
        turns = value.get("conversations")
        last = turns[-1] if isinstance(turns, list) and turns else None
        answer = last.get("value") if isinstance(last, dict) else None
        own = unpacked(value, TAKEN, answer if isinstance(answer, str) else None)
        return None if own is None else completed(own, self.options)

    def _texts(self, value: Mapping[str, Any]) -> tuple[str, str]:
        """The first question and the report of an entry."""
        key = next((key for key in _CONVERSATIONS if key in value), None)
        if key is None:
            raise UserError("field 'conversations' is missing")
        turns = value[key]
        if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
            raise UserError(f"field '{key}' must be a list of objects with 'from' and 'value'")
        questions = [turn.get("value") for turn in turns if turn.get("from") in _HUMAN]
        answers = [turn.get("value") for turn in turns if turn.get("from") in _MODEL]
        if not answers:
            raise UserError("no turn is from 'gpt'")
        if not all(isinstance(text, str) for text in questions + answers):
            raise UserError("a turn has no text in 'value'")
        chosen = {"first": answers[:1], "last": answers[-1:], "all": answers}[self.options.turn]
        report = one_line(" ".join(chosen))
        if not report:
            raise UserError("the report is empty")
        return one_line(re.sub("<image>", " ", questions[0])) if questions else "", report

    def _patient(self, value: Mapping[str, Any], identity: str, study: str) -> str:
        if self.options.patient_from:
            patient = self.options.patient_in(identity)
            if patient is None:
                raise UserError(f"patient_from '{self.options.patient_from}' does not match the id")
            return patient
        return _text(value, "patient") or study

    def _split(self, value: Mapping[str, Any], patient: str) -> str:
        if self.options.split not in ("auto", "drawn"):
            return self.options.split
        own = _text(value, "split") if self.options.split == "auto" else None
        if own is None:
            return self.options.drawn_split(patient)
        split = known_split(own)
        if split is None:
            raise unknown_split(own)
        return split


def _text(value: Mapping[str, Any], field: str) -> str | None:
    """A field that holds text, or None (LLaVA-Med's `domain`, an object of flags, is none)."""
    return value[field].strip() or None if isinstance(value.get(field), str) else None


def _labels(value: Mapping[str, Any]) -> list[str] | None:
    labels = value.get("findings")
    return labels if isinstance(labels, list) and all(isinstance(label, str) for label in labels) else None
