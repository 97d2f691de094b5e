"""Which fields of another program's file hold the id and the report: known forms, and `--map` for all others."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from medim.common.errors import UserError, unknown

TAKEN = ("id", "report", "image", "references")  # what a field can be taken for
MOST = 40  # fields that an error names
_MISSING = object()
_OF_A_DOC = ("id", "study_id", "question_id", "image_id")
_IDS = r"(^|_|\b)(u?id|study|case|name|key|index)"
_GENERATED = "pred|generat|hypothes|candidate|output|respon"
_TEXTS = "report|caption|answer|text"


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
    OWN,
)
"""ReXrank before ours: beside the prediction its rows may hold the reference as `report`. The harnesses are lmms-eval and
lm-evaluation-harness; what they leave out, and the two after them, have no ids: `--ids` gives them."""


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
    Raises UserError: no known form, or several texts that may be the report; a field of `--map` that the row lacks."""
    for path in given.values():
        if not has(row, path):
            raise UserError(f"{file}: --map: {unknown('field', path, _names_of(row))}")
    if "report" in given or "image" in given:
        ours = Form("--map", "id" if has(row, "id") else None, None, ordinal="doc_id" if has(row, "doc_id") else None)
        return replace(ours, **given)
    known = numbered or "id" in given
    fit = [form for form in FORMS if has(row, form.report) and (known or form.ordinal is not None or has(row, form.id))]
    if not fit and not any(has(row, key) for key in TAKEN[:3]):
        raise UserError(f"{file}: no form of predictions that is known here; {_advice(row)}")
    form = fit[0] if fit else OWN  # where a field is missing, the row says so
    if fit and form.name != "ReXrank" and (others := _others(row, form, fit)):
        raise UserError(f"{file}: the report may be {' or '.join([_shown(form), *others])}; {_advice(row)}")
    return replace(_with_id_of_doc(form, row, file) if form.ordinal and not known else form, **given)


def _others(row: Mapping[str, Any], form: Form, fit: Sequence[Form]) -> list[str]:
    """What may be the report instead: that of another form, or a text that is generated, going by its field's name."""
    reports = {form.report, *(other.report for other in fit if other.name == form.name)}
    others = {other.report: _shown(other) for other in fit if other.report not in reports}
    roots = {(path or "").partition(".")[0] for path in (*reports, *others)}
    texts = [key for key, value in row.items() if isinstance(value, str | list) and any(map(str.isalpha, str(value)))]
    return [*others.values(), *(f"'{key}'" for key in texts if key not in roots and re.search(_GENERATED, key, re.I))]


def _shown(form: Form) -> str:
    return f"'{form.report}' ({form.name})"


def _with_id_of_doc(form: Form, row: Mapping[str, Any], file: str) -> Form:
    """A harness counts its rows: an id is taken from the data set's row, `doc`, where that has one."""
    ids = [f"doc.{name}" for name in _OF_A_DOC if has(row, f"doc.{name}")]
    if len(ids) == 1:
        return replace(form, id=ids[0], ordinal=None)
    what = f"the id may be {' or '.join(ids)}" if ids else "doc_id counts rows and is no case's id"
    doc = row.get("doc")
    there = f"--map id=doc.FIELD (doc has {', '.join(doc)}), or " if isinstance(doc, Mapping) else ""
    raise UserError(f"{file}: {what}: give {there}--ids FILE with the ids in the order of the data set that was run")


def _names_of(row: Mapping[str, Any]) -> list[str]:
    """The fields of a row, and those of its objects."""
    inner = [f"{key}.{name}" for key, value in row.items() if isinstance(value, Mapping) for name in value]
    return [*map(str, row), *inner][:MOST]


def _advice(row: Mapping[str, Any]) -> str:
    """The fields that were found, and what `--map` may say of them."""
    names = _names_of(row)
    id, report = (
        next((name for sign in signs for name in names if re.search(sign, name, re.I)), "FIELD")
        for signs in ((_IDS,), (_GENERATED, _TEXTS))
    )
    return f"its fields are {', '.join(names) or 'none'}: say which, such as --map id={id},report={report}"


def parse_map(items: Sequence[str]) -> dict[str, str]:
    """`["id=question_id,report=text"]` as a dictionary. Raises UserError: not of this form, or an unknown key."""
    found: dict[str, str] = {}
    for item in ",".join(items).split(",") if items else ():
        key, equals, name = (part.strip() for part in item.partition("="))
        if not equals or not name:
            raise UserError(f"--map takes id=FIELD,report=FIELD, not '{item}'")
        if key not in TAKEN:
            raise unknown("key of --map", key, TAKEN)
        if key in found:
            raise UserError(f"--map says {key} twice: '{found[key]}' and '{name}'")
        found[key] = name
    return found
