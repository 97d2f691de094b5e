"""LLaVA's JSON: conversations about an image, of which the answer is the report."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from medim.common.declared import shown
from medim.common.errors import UserError
from medim.data.archives.archive import EntryArchive, Excluded, FractionOptions, Loss, PatientOptions, Record
from medim.data.archives.exported import unpacked
from medim.data.archives.fields import (
    inside,
    key_in,
    labels_in,
    missing_word,
    one_line,
    pair_fields,
    report_in,
    split_in,
    written,
)
from medim.data.archives.json_records import find_json, read_list
from medim.data.sources.pairs_file import NOT_STATED

TAKEN = ("conversations",)  # the entry's fields that are no pair's
TOKEN = "<image>"
_CONVERSATIONS = ("conversations", "conversatons", "messages")  # the second: LLaVA-Med's own files spell it so
_HUMAN, _MODEL = ("human", "user"), ("gpt", "assistant", "model", "bot")


class LlavaOptions(FractionOptions, PatientOptions):
    file: str = Field("", description="The JSON or JSONL file, relative to root; without it the only one there.")
    images: str = Field("", description="Folder that the entries' image is relative to, itself relative to root.")
    turn: Literal["first", "last", "all"] = Field("first", description="The report: the first or last answer, or all of them.")
    split: Literal["auto", "drawn", "train", "val", "test"] = Field(
        "auto",
        description="One split for all; drawn: by patient with val, test and seed; auto: the entry's own field, else drawn.",
    )
    domain: str = Field(NOT_STATED, description="Domain of the pairs that state none.")
    terms: str = Field(NOT_STATED, description="Licence or data-use terms of the pairs that state none.")


class Llava(EntryArchive):
    """`[{"id", "image", "conversations": [{"from": "human", "value": "<image>..."}, {"from": "gpt", "value": ...}]}, ...]`.

    Also as one object a line (`.jsonl`), and in ShareGPT's dialects: `images`, `messages`, turns with `role` and `content`, a
    content in parts. `<image>` is no text: it is taken out of an answer, and `facts` counts these. The first question without
    it becomes `prompt`. `patient`, `study`, `split`, `domain`, `terms`, `view` and `findings` of an entry are used where
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

    def entries(self) -> Iterator[tuple[str, Any] | Loss | Excluded]:
        for entry in read_list(self.file):
            if isinstance(entry, Loss):
                yield entry
                continue
            identity = entry.value.get("id") if isinstance(entry.value, dict) else None
            yield entry.name(self.file) + (f" ({identity})" if identity is not None else ""), entry.value

    def facts(self) -> dict[str, Any]:
        """`file`; `turn`; `split` and how it is drawn; `repeated_ids`, renamed; `pairs_without_terms`;
        `answers_with_image_token`, of which it was taken out; `questions_with_other_image_tokens` than images."""
        return {
            "file": self.file.name,
            "turn": self.options.turn,
            "split": self.options.split,
            "drawn": self.options.drawn(),
            "repeated_ids": self.unique.repeated,
            "pairs_without_terms": self.counts["unstated"],
            **{what: count for what, count in self.counts.items() if count and what != "unstated"},
        }

    def pairs(self, value: Any) -> Iterator[Record | Excluded]:
        if not isinstance(value, dict):
            raise UserError("an object is needed")
        sources = [inside(path) for path in _paths(value)]
        if not sources:
            yield Excluded("entry without an image")
            return
        if (fields := unpacked(value, self.options, TAKEN, _last_answer(value))) is not None:
            split = self._split(fields, fields["patient"])
            yield Record(fields | {"id": self.unique(fields["id"]), "split": split}, sources[0])
            return
        prompt, report = self._texts(value, len(sources))
        name = os.path.splitext(sources[0])[0]
        identity = _key(value, "id") or name
        study = _key(value, "study") or name
        from_name = bool(self.options.patient_from)
        patient = self.options.patient_in(identity) if from_name else _key(value, "patient") or study
        split = self._split(value, patient)
        for number, source in enumerate(sources):
            fields = pair_fields(
                id=self.unique(f"{identity}-{number}" if len(sources) > 1 else identity),
                report=report,
                split=split,
                patient=patient,
                study=study,
                domain=_text(value, "domain") or self.options.domain,
                terms=_text(value, "terms") or self.options.terms,
                view=_text(value, "view"),
                findings=labels_in(value.get("findings"), "field 'findings'"),
                prompt=prompt or None,
            )
            yield Record(fields, source)

    def _texts(self, value: Mapping[str, Any], images: int) -> tuple[str, str]:
        """The first question and the report of an entry."""
        key = next((key for key in _CONVERSATIONS if key in value), None)
        if key is None:
            raise UserError(f"field 'conversations' is missing; the fields are: {', '.join(value)}")
        turns = value[key]
        if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
            raise UserError(f"field '{key}' must be a list of objects with 'from' and 'value', or 'role' and 'content'")
        texts = [(str(turn.get("from", turn.get("role"))).strip().lower(), _text_of(turn)) for turn in turns]
        questions = [text for role, text in texts if role in _HUMAN]
        answers = [text for role, text in texts if role in _MODEL]
        if not answers:
            roles = ", ".join(dict.fromkeys(f"'{role}'" for role, _ in texts)) or "nobody"
            raise UserError(f"no turn is from 'gpt' or 'assistant'; the turns are from {roles}")
        chosen = {"first": answers[:1], "last": answers[-1:], "all": answers}[self.options.turn]
        self.counts["answers_with_image_token"] += any(TOKEN in text for text in chosen)
        self.counts["questions_with_other_image_tokens"] += bool(questions) and questions[0].count(TOKEN) not in (0, images)
        report = report_in(" ".join(chosen).replace(TOKEN, " "), "the report")
        return one_line(questions[0].replace(TOKEN, " ")) if questions else "", report

    def _split(self, value: Mapping[str, Any], patient: str) -> str:
        if self.options.split not in ("auto", "drawn"):
            return self.options.split
        stated = _text(value, "split") if self.options.split == "auto" else None
        return self.options.drawn_split(patient) if stated is None else split_in(stated)


def _last_answer(value: Mapping[str, Any]) -> str | None:
    """Where an exported entry has its report."""
    turns = value.get("conversations")
    last = turns[-1] if isinstance(turns, list) and turns else None
    answer = last.get("value") if isinstance(last, dict) else None
    return answer if isinstance(answer, str) else None


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


def _text_of(turn: Mapping[str, Any]) -> str:
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
