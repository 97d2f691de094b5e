"""What the adapters of loose sources share: text on one line, names of splits, paths that stay inside, ids that are unique."""

import difflib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationInfo, field_validator

from medim.common.declared import shown
from medim.common.errors import UserError, unknown
from medim.data.archives.archive import Options
from medim.data.splits import assign
from medim.imaging.image_files import backslash_hint
from medim.pair import SPLITS

_SPLIT_NAMES = {
    "train": ("train", "training", "trn"),
    "val": ("val", "valid", "validate", "validation", "dev"),
    "test": ("test", "testing", "tst"),
}


class FractionOptions(Options):
    """Splits drawn by patient, where the source has none."""

    val: float = Field(0.1, ge=0, le=1, description="Share of the patients in val, where the split is drawn here.")
    test: float = Field(0.1, ge=0, le=1, description="Share of the patients in test, where the split is drawn here.")
    seed: int = Field(0, description="Of the split, where it is drawn here.")

    @field_validator("test")
    @classmethod
    def _leave_some_to_train(cls, test: float, info: ValidationInfo) -> float:
        if test + info.data.get("val", 0) > 1:
            raise ValueError(f"val + test is {test + info.data['val']:g}, more than 1")
        return test

    def drawn_split(self, patient: str) -> str:
        """The split of a patient; see `medim.data.splits.assign`."""
        return assign(patient, {"val": self.val, "test": self.test}, self.seed)

    def drawn(self) -> dict[str, Any]:
        """How the split is drawn, for `Archive.facts`."""
        return {"by": "patient", "val": self.val, "test": self.test, "seed": self.seed}


class PatientOptions(Options):
    """The patient read from a name, where the source has no field for it."""

    patient_from: str = Field(
        "",
        description="Regular expression whose group 1 is the patient; else the source's own field, or a study.",
    )

    @field_validator("patient_from")
    @classmethod
    def _has_a_group(cls, pattern: str) -> str:
        if pattern:
            try:
                groups = re.compile(pattern).groups
            except re.error as error:
                raise ValueError(f"'{pattern}' is no regular expression: {error}") from None
            if groups < 1:
                raise ValueError(f"'{pattern}' has no group: put the patient's part in brackets, as in '^([^_]+)_'")
        return pattern

    def patient_in(self, name: str) -> str | None:
        """Group 1 of `patient_from` in `name`, or None where it is not found or empty."""
        match = re.search(self.patient_from, name)
        return (match[1] or "").strip() or None if match else None


_MISSING = ("nan", "na", "n/a", "#n/a", "<na>", "null", "none")


def missing_word(text: object) -> str | None:
    """The word that stands in a cell or a field for missing text, as programs write it; None where it is a text of its own.

    The one rule of all archives: such a text, alone and in any case, is an empty one, and what is lost by it names the word.

    >>> missing_word("NaN"), missing_word(float("nan")), missing_word("None."), missing_word("")
    ('NaN', 'NaN', None, None)
    """
    if isinstance(text, float) and text != text:
        return "NaN"
    word = text.strip() if isinstance(text, str) else ""
    return word if word.lower() in _MISSING else None


def written(text: Any) -> str:
    """A text without white space around it; empty where it is None or a word for missing text."""
    return "" if text is None or missing_word(text) else str(text).strip()


def report_in(value: Any, what: str) -> str:
    """A report on one line.

    Raises:
        UserError: `what` is no text, empty, or a word for missing text, which the line names.
    """
    if word := missing_word(value):
        raise UserError(f"{what} is '{word}', which stands for missing text")
    if not isinstance(value, str) and value is not None:
        raise UserError(f"{what} is no text: {shown(value)}")
    if not value or not value.strip():
        raise UserError(f"{what} is empty")
    return one_line(value)


def key_in(value: Any, what: str) -> str:
    """A text or a whole number that names something, as it is written, without white space around it; empty where it is None.

    Raises:
        UserError: `what` is anything else.
    """
    if value is not None and (isinstance(value, bool) or not isinstance(value, str | int)):
        raise UserError(f"{what} is neither a text nor a whole number: {shown(value)}")
    return "" if value is None else str(value).strip()


def labels_in(value: Any, what: str, names: list[str] | None = None) -> list[str] | None:
    """A value as a list of labels: a list, numbers of `names`, or text parted by `;`, `,` or `|`; None where it is empty.

    Raises:
        UserError: `what` is none of these.
    """
    if value is None or missing_word(value):
        return None
    if isinstance(value, str):
        text = value.replace(";", "|").replace(",", "|")
        return [part.strip() for part in text.split("|") if part.strip()]
    items = value if isinstance(value, list) else [value]
    if names is not None and all(isinstance(item, int) for item in items):
        return [names[item] for item in items if item >= 0]
    if not all(isinstance(item, str) for item in items):
        raise UserError(f"{what} holds neither labels nor text: {shown(value)}")
    return items


def one_line(text: str) -> str:
    """The text with every run of white space as one space."""
    return " ".join(text.split())


def known_split(name: str) -> str | None:
    """`train`, `val` or `test` for the names that these go by (`validation`, `dev`, ...), in any case; else None."""
    lowered = name.strip().lower()
    return next((split for split, names in _SPLIT_NAMES.items() if lowered in names), None)


def unknown_split(name: str) -> UserError:
    """The error for a name that `known_split` does not know."""
    return unknown("split", name, SPLITS)


def inside(name: str) -> str:
    """A path of an archive's own text, normalised, relative to the archive's folder.

    Links within the folder are the owner's and are followed; a text cannot lead outside by itself.

    Raises:
        UserError: it is empty, absolute, or leads outside by `..`.
    """
    parts: list[str] = []
    if not name.strip() or "\0" in name:
        raise UserError(f"image {name!a} is no path")
    if word := missing_word(name):
        raise UserError(f"the image's path is '{word}', which stands for a missing one")
    if re.match(r"/|\\|[A-Za-z]:[\\/]", name):
        raise UserError(
            f"image '{name}' is an absolute path; it must be relative to the archive's folder of images{backslash_hint(name)}"
        )
    for part in name.split("/"):
        if part in ("", "."):
            continue
        if part != "..":
            parts.append(part)
        elif parts:
            parts.pop()
        else:
            raise UserError(f"image '{name}' leads outside the archive's folder of images{backslash_hint(name)}")
    if not parts:
        raise UserError(f"image '{name}' is the folder of images itself")
    return "/".join(parts)


class UniqueIds:
    """Ids of a source, each used once: a second `a` becomes `a-2`, in the source's order."""

    def __init__(self) -> None:
        self._used: set[str] = set()
        self.repeated = 0

    def __call__(self, name: str) -> str:
        unique, number = name, 1
        while unique in self._used:
            number += 1
            unique = f"{name}-{number}"
        self.repeated += unique != name
        self._used.add(unique)
        return unique


def require_columns(place: str | Path, found: Iterable[str], needed: Iterable[str]) -> None:
    """Says which column a table lacks.

    Raises:
        UserError: the line names the table, the column and the columns that are there, the nearest one first.
    """
    found = [name for name in found if name and not re.fullmatch(r"__\w+__", name)]  # pandas' index in a parquet file
    for column in needed:
        if column not in found:
            order = sorted(found, key=lambda name: -difflib.SequenceMatcher(None, name.lower(), column.lower()).ratio())
            there = ", ".join(dict.fromkeys(order))
            raise UserError(f"{place}: column '{column}' is missing; the columns are: {there or 'none'}")


def pair_fields(**fields: Any) -> dict[str, Any]:
    """The fields of a pair without those that are None or an empty mapping."""
    return {name: value for name, value in fields.items() if value is not None and value != {}}
