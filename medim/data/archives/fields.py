"""The values of an archive's fields: text on one line, keys, labels, names of splits, paths that stay inside."""

import posixpath
import re
from typing import Any

from medim.common.declared import shown
from medim.common.errors import UserError, unknown
from medim.imaging.image_files import backslash_hint
from medim.pair import SPLITS

_SPLIT_NAMES = {
    "train": ("train", "training", "trn"),
    "val": ("val", "valid", "validate", "validation", "dev"),
    "test": ("test", "testing", "tst"),
}


_MISSING = ("nan", "na", "n/a", "#n/a", "<na>", "null", "none")


def missing_word(text: object) -> str | None:
    """The word by which programs write a missing text, where a cell or a field holds nothing else; else None.

    The one rule of all archives: such a text, in any case, is an empty one, and what is lost by it names the word.

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
    """A report on one line. Raises UserError: `what` is no text, empty, or a word for missing text, which the line names."""
    if word := missing_word(value):
        raise UserError(f"{what} is '{word}', which stands for missing text")
    if not isinstance(value, str) and value is not None:
        raise UserError(f"{what} is no text: {shown(value)}")
    if not value or not value.strip():
        raise UserError(f"{what} is empty")
    return one_line(value)


def key_in(value: Any, what: str) -> str:
    """A text or a whole number that names something, as it is written, without white space around it; empty where it is None.
    Raises UserError: `what` is anything else."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, str | int)):
        raise UserError(f"{what} is neither a text nor a whole number: {shown(value)}")
    return "" if value is None else str(value).strip()


def labels_in(value: Any, what: str, names: list[str] | None = None) -> list[str] | None:
    """A value as a list of labels: a list, numbers of `names`, or text parted by `;`, `,` or `|`; None where it is empty.
    Raises UserError: `what` is none of these."""
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


def split_in(name: str) -> str:
    """`known_split`; a UserError where it is none."""
    split = known_split(name)
    if split is None:
        raise unknown("split", name, SPLITS)
    return split


def inside(name: str) -> str:
    """A path that an archive states, normalised, relative to the archive's folder. Links within the folder are followed; a text
    cannot lead outside by itself. Raises UserError: it is empty, absolute, or leads outside by `..`."""
    if not name.strip() or "\0" in name:
        raise UserError(f"image {name!a} is no path")
    if word := missing_word(name):
        raise UserError(f"the image's path is '{word}', which stands for a missing one")
    if re.match(r"/|\\|[A-Za-z]:[\\/]", name):
        raise UserError(
            f"image '{name}' is an absolute path; it must be relative to the archive's folder of images{backslash_hint(name)}"
        )
    path = posixpath.normpath(name)
    if path.split("/")[0] == "..":
        raise UserError(f"image '{name}' leads outside the archive's folder of images{backslash_hint(name)}")
    if path == ".":
        raise UserError(f"image '{name}' is the folder of images itself")
    return path


def pair_fields(**fields: Any) -> dict[str, Any]:
    """The fields of a pair without those that are None or an empty mapping."""
    return {name: value for name, value in fields.items() if value is not None and value != {}}
