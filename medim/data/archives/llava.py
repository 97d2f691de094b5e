"""LLaVA's JSON: conversations about an image, of which the answer is the report."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from PIL import Image
from pydantic import Field

from medim.common.declared import shown
from medim.common.errors import UserError
from medim.data.archives.archive import Archive, Excluded, Loss, Record
from medim.data.archives.fields import (
    FractionOptions,
    PatientOptions,
    UniqueIds,
    inside,
    key_in,
    known_split,
    labels_in,
    missing_word,
    one_line,
    pair_fields,
    report_in,
    unknown_split,
    written,
)
from medim.data.archives.json_records import Entry, find_json, read_entries
from medim.data.archives.own import completed, unpacked
from medim.data.sources.pairs_file import NOT_STATED

TAKEN = ("conversations",)
"""The entry's fields that are no pair's."""
TOKEN = "<image>"
_CONVERSATIONS = ("conversations", "conversatons", "messages")  # the second: LLaVA-Med's own files spell it so
_HUMAN, _MODEL = ("human", "user"), ("gpt", "assistant", "model", "bot")


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

    Also as one object a line (`.jsonl`), and in ShareGPT's dialects: `images`, `messages`, turns with `role` and `content`, a
    content in parts. `<image>` is no text: it is taken out of an answer, and `facts` counts these. The first question without
    it is kept as `prompt`. `patient`, `study`, `split`, `domain`, `terms`, `view` and `findings` of an entry are used where
    they stand; else the patient is what `patient_from` finds in the id, or the study, and the study is the first image:
    entries about it stay in one split. What `medim-bench export` wrote comes back with every field.
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
        self._tokens: Counter[str] = Counter()

    def records(self) -> Iterator[Record | Loss | Excluded]:
        self._unstated = self._repeated = 0
        self._tokens = Counter()
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
        from medim.imaging.images import read_image

        return read_image(self.images / source)

    def facts(self) -> dict[str, Any]:
        """`file`; `turn`; `split` and how it is drawn; `repeated_ids`, renamed; `pairs_without_terms`;
        `answers_with_image_token`, of which it was taken out; `questions_with_other_image_tokens` than images."""
        return {
            "file": self.file.name,
            "turn": self.options.turn,
            "split": self.options.split,
            "drawn": self.options.drawn(),
            "repeated_ids": self._repeated,
            "pairs_without_terms": self._unstated,
            **{what: count for what, count in self._tokens.items() if count},
        }

    def _pairs(self, entry: Entry, unique: UniqueIds) -> Iterator[Record | Excluded]:
        value = entry.value
        if not isinstance(value, dict):
            raise UserError("an object is needed")
        sources = [inside(path) for path in _paths(value)]
        if not sources:
            yield Excluded("entry without an image")
            return
        if (own := self._own(value)) is not None:
            self._unstated += (own.get("terms") or NOT_STATED) == NOT_STATED
            yield Record(own | {"id": unique(own["id"]), "split": self._split(own, own["patient"])}, sources[0])
            return
        prompt, report = self._texts(value, len(sources))
        name = os.path.splitext(sources[0])[0]
        identity = _key(value, "id") or name
        study = _key(value, "study") or name
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
                    findings=labels_in(value.get("findings"), "field 'findings'"),
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

    def _texts(self, value: Mapping[str, Any], images: int) -> tuple[str, str]:
        """The first question and the report of an entry."""
        key = next((key for key in _CONVERSATIONS if key in value), None)
        if key is None:
            raise UserError(f"field 'conversations' is missing; the fields are: {', '.join(value)}")
        turns = value[key]
        if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
            raise UserError(f"field '{key}' must be a list of objects with 'from' and 'value', or 'role' and 'content'")
        said = [(_role(turn), _said(turn)) for turn in turns]
        questions = [text for role, text in said if role in _HUMAN]
        answers = [text for role, text in said if role in _MODEL]
        if not answers:
            roles = ", ".join(dict.fromkeys(f"'{role}'" for role, _ in said)) or "nobody"
            raise UserError(f"no turn is from 'gpt' or 'assistant'; the turns are from {roles}")
        chosen = {"first": answers[:1], "last": answers[-1:], "all": answers}[self.options.turn]
        self._tokens["answers_with_image_token"] += any(TOKEN in text for text in chosen)
        self._tokens["questions_with_other_image_tokens"] += bool(questions) and questions[0].count(TOKEN) not in (0, images)
        report = report_in(" ".join(chosen).replace(TOKEN, " "), "the report")
        return one_line(questions[0].replace(TOKEN, " ")) if questions else "", report

    def _patient(self, value: Mapping[str, Any], identity: str, study: str) -> str:
        if self.options.patient_from:
            patient = self.options.patient_in(identity)
            if patient is None:
                raise UserError(f"patient_from '{self.options.patient_from}' does not match the id")
            return patient
        return _key(value, "patient") or study

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


def _paths(value: Mapping[str, Any]) -> list[str]:
    """The paths of an entry's images, in whichever field they stand."""
    named: list[list[str]] = []
    for field in ("image", "images"):
        found = value.get(field)
        items = [] if found in (None, "") else found if isinstance(found, list) else [found]
        paths = [item.get("path") if isinstance(item, dict) else item for item in items]
        strings = [path for path in paths if isinstance(path, str)]
        if len(strings) != len(paths):
            raise UserError(f"field '{field}' must be a path, or a list of paths: {shown(found)}")
        if strings and strings not in named:
            named.append(strings)
    if len(named) > 1:
        raise UserError("the fields 'image' and 'images' name different pictures")
    return named[0] if named else []


def _role(turn: Mapping[str, Any]) -> str:
    return str(turn.get("from", turn.get("role"))).strip().lower()


def _said(turn: Mapping[str, Any]) -> str:
    """The text of a turn; of a content in parts (`{"type": "image"}`, `{"type": "text", "text": ...}`) the parts' texts."""
    text = turn.get("value", turn.get("content"))
    if isinstance(text, list) and all(isinstance(part, dict) for part in text):
        parts = [TOKEN if str(part.get("type", "")).startswith("image") else part.get("text") for part in text]
        text = " ".join(parts) if all(isinstance(part, str) for part in parts) else None
    if not isinstance(text, str):
        word = missing_word(text)
        raise UserError("a turn has no text in 'value' or 'content'" + (f" but {word}" if word else ""))
    return text


def _text(value: Mapping[str, Any], field: str) -> str | None:
    """A field that holds text, or None (LLaVA-Med's `domain`, an object of flags, is none)."""
    text = value.get(field)
    if text is not None and not isinstance(text, str | dict):
        raise UserError(f"field '{field}' is no text: {shown(text)}")
    return written(text) or None if isinstance(text, str) else None


def _key(value: Mapping[str, Any], field: str) -> str:
    """A field that names something; empty where there is none."""
    return written(key_in(value.get(field), f"field '{field}'"))
