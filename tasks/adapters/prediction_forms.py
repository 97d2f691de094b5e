"""Which fields of another program's file hold the id and the report: known forms, and `--map` for all others."""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from medim.common.errors import UserError, unknown

TAKEN = ("id", "report", "image", "references")  # what a field can be taken for
MOST = 40  # fields that an error names
_MISSING = object()
_OF_A_DOC = ("id", "study_id", "question_id", "image_id")
_LIKELY = {
    "id": r"(^|_|\b)(u?id|study|case|name|key|index)",
    "report": r"report|pred|caption|answer|output|respon|generat|text",
}


@dataclass(frozen=True)
class Form:
    """The fields of one program's rows; a dot leads into an object, or by its number into a list.
    `ordinal`: the field that counts the rows of the data set, from 0, where a row has no id."""

    name: str
    id: str | None
    report: str | None
    image: str | None = None
    references: str | None = None
    ordinal: str | None = None


OWN = Form("medim-bench", "id", "report", "image")
FORMS = (
    Form("ReXrank", "id", "model_prediction"),
    Form("LLaVA", "question_id", "text"),
    Form("VQA results", "question_id", "answer"),
    Form("COCO captions", "image_id", "caption"),
    Form("VLMEvalKit", "index", "prediction"),
    Form("OpenAI batch", "custom_id", "response.body.choices.0.message.content"),
    Form("image folder", "file_name", "text"),
    Form("evaluation harness", None, "filtered_resps", ordinal="doc_id"),
    Form("evaluation harness", None, "resps", ordinal="doc_id"),
    Form("LLaMA-Factory", None, "predict"),
    Form("ms-swift", None, "response"),
)
"""ReXrank before ours: beside the prediction its rows may hold the reference as `report`. The harnesses are lmms-eval and
lm-evaluation-harness; what they leave out, and the last two, have no ids: `--ids` gives them."""


def field(row: Any, path: str | None, missing: Any = None) -> Any:
    """The value at a path. A field whose name holds the dot comes first."""
    if isinstance(row, Mapping) and path in row:
        return row[path]
    step, dot, rest = (path or "").partition(".")
    if isinstance(row, list) and step.isdecimal() and int(step) < len(row):
        return field(row[int(step)], rest, missing) if dot else row[int(step)]
    return field(row[step], rest, missing) if dot and isinstance(row, Mapping) and step in row else missing


def has(row: Mapping[str, Any], path: str | None) -> bool:
    return field(row, path, _MISSING) is not _MISSING


def chosen(row: Mapping[str, Any], given: Mapping[str, str], numbered: bool, file: str) -> Form:
    """The form of a file, by its first row.
    `given`: what `--map` says; what it leaves open is as in the form that is recognised. Where it says what the report or the
    image is, nothing but `id` is taken beside it: an image may be that which was shown.
    `numbered`: `--ids` gives the ids, so that none is needed.
    Raises UserError: no known form, or several; a field of `--map` that the row lacks."""
    for path in given.values():
        if not has(row, path):
            raise UserError(f"{file}: --map: {unknown('field', path, names_of(row))}")
    if "report" in given or "image" in given:
        ours = Form("--map", "id" if has(row, "id") else None, None, ordinal="doc_id" if has(row, "doc_id") else None)
        return replace(ours, **given)
    known = numbered or "id" in given
    fit = [form for form in (*FORMS, OWN) if _fits(form, row, known)]
    if len({form.name for form in fit}) > 1 and fit[0].name != "ReXrank":
        names = " or ".join(dict.fromkeys(f"'{form.report}' ({form.name})" for form in fit))
        raise UserError(f"{file}: the report may be {names}; {_advice(row)}")
    if fit:
        return replace(_with_id_of_doc(fit[0], row, known, file), **given)
    if any(has(row, key) for key in TAKEN[:3]):
        return replace(OWN, **given)  # where a field is missing, the row says so
    raise UserError(f"{file}: no form of predictions that is known here; {_advice(row)}")


def _fits(form: Form, row: Mapping[str, Any], known: bool) -> bool:
    """Whether a row has the fields of a form; `known`: its id is found elsewhere."""
    answers = has(row, form.report) or (form is OWN and has(row, form.image))
    return answers and (known or form.ordinal is not None or has(row, form.id))


def _with_id_of_doc(form: Form, row: Mapping[str, Any], numbered: bool, file: str) -> Form:
    """A harness counts its rows: an id is taken from the data set's row, `doc`, where that has one."""
    if form.ordinal is None or numbered:
        return form
    ids = [f"doc.{name}" for name in _OF_A_DOC if has(row, f"doc.{name}")]
    if len(ids) == 1:
        return replace(form, id=ids[0], ordinal=None)
    what = f"the id may be {' or '.join(ids)}" if ids else "doc_id counts rows and is no case's id"
    doc = row.get("doc")
    there = f"--map id=doc.FIELD (doc has {', '.join(doc)}), or " if isinstance(doc, Mapping) else ""
    raise UserError(f"{file}: {what}: give {there}--ids FILE with the ids in the order of the data set that was run")


def names_of(row: Mapping[str, Any]) -> list[str]:
    """The fields of a row, and those of its objects."""
    inner = [f"{key}.{name}" for key, value in row.items() if isinstance(value, Mapping) for name in value]
    return [*map(str, row), *inner][:MOST]


def _advice(row: Mapping[str, Any]) -> str:
    """The fields that were found, and what `--map` may say of them."""
    names = names_of(row)
    likely = {key: next((name for name in names if re.search(sign, name, re.I)), "FIELD") for key, sign in _LIKELY.items()}
    example = ",".join(f"{key}={name}" for key, name in likely.items())
    return f"its fields are {', '.join(names) or 'none'}: say which, such as --map {example}"


def text_of(value: Any, what: str) -> str | None:
    """A report: a text, or a list of one, however deep; None where there is none.
    Raises UserError: several texts, or something else."""
    if isinstance(value, list):
        if len(value) == 1:
            return text_of(value[0], what)
        first = f": --map report={what}.0 takes the first" if value else ""
        raise UserError(f"field '{what}' holds {len(value)} texts, and one is scored{first}")
    if not isinstance(value, str | None):
        raise UserError(f"field '{what}' must be a string, not {str(value)[:40]}")
    return value


def spare(row: Mapping[str, Any], *wanted: str) -> str:
    """What was perhaps meant instead."""
    others = [key for key in row if key not in TAKEN[:3]]
    for name in wanted:
        if close := difflib.get_close_matches(name, others, n=1, cutoff=0.5):
            return f"; did you mean it by '{close[0]}'?"
    return f"; the line has {', '.join(map(repr, row)) or 'no field'}"


def parse_map(items: Sequence[str]) -> dict[str, str]:
    """`["id=question_id,report=text"]` as a dictionary. Raises UserError: not of this form, or an unknown key."""
    found: dict[str, str] = {}
    for item in ",".join(items).split(",") if items else ():
        key, equals, name = (part.strip() for part in item.partition("="))
        if not equals or not name:
            raise UserError(f"--map takes id=FIELD,report=FIELD, not '{item}'")
        if key not in TAKEN:
            raise unknown("key of --map", key, TAKEN)
        found[key] = name
    return found
