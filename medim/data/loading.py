"""What `--data` takes: `NAME-or-DIR[:key=value,...]`, several of them joined by `+`.

phantom                             a registered data set (entry-point group `medim.datasets`)
phantom:resolution=128              built with an option of its constructor
DIR:train=10%                       low data: the training split shrunk to 10 % of its patients (`seed=1`: others)
DIR+phantom:train=1%,weight=3       a mixture: three of four training draws come from the phantom
phantom:cached=DIR2                 pictures drawn once, packed in a folder, read back after that
"""

import inspect
import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from medim.common.errors import UserError, unknown
from medim.data.dataset import PairDataset
from medim.data.sources.folder import ReportsOnly
from medim.data.sources.selection import MixedDataset, Subset

ENTRY_POINTS = "medim.datasets"
RESERVED = ("train", "seed", "weight", "cached")
"""Keys that mean the same for every data set; any other key goes to its constructor."""


@dataclass(frozen=True)
class Part:
    """One term of an expression: a name or a folder, and its options as they were written."""

    source: str
    options: dict[str, str]


def load_dataset(expression: str) -> PairDataset:
    """Opens a data set by registered name, by the path of a folder with `pairs.jsonl`, or by an expression of these.
    The name of the data set spells the expression in one canonical way.
    Raises UserError: an unknown name or key (the nearest is given), a value of the wrong kind, or a mistake in a folder."""
    parts = parse(expression)
    if len(parts) == 1:
        if "weight" in parts[0].options:
            raise UserError(f"data '{expression}': weight is for a mixture: join data sets by '+'")
        return _opened(parts[0])
    weights = [_weight(part) for part in parts]
    return MixedDataset([_opened(part) for part in parts], weights)


def parse(expression: str) -> list[Part]:
    """The terms of an expression. A string that is a path as a whole is that path, whatever characters it has.
    Raises UserError: an empty term, an option without `=`, or one given twice."""
    if Path(expression).exists():
        return [Part(expression, {})]
    return [_parse_part(text.strip(), expression) for text in expression.split("+")]


def _parse_part(text: str, expression: str) -> Part:
    if not text:
        raise UserError(f"data '{expression}': a data set is missing beside '+'")
    source, colon, tail = text.rpartition(":")
    if Path(text).exists() or not colon:
        return Part(text, {})
    options: dict[str, str] = {}
    for item in tail.split(","):
        key, equals, value = (piece.strip() for piece in item.partition("="))
        if not equals or not key or not value:
            raise UserError(f"data '{text}': options are key=value, not '{item}'")
        if key in options:
            raise UserError(f"data '{text}': '{key}' is given twice")
        options[key] = value
    return Part(source, options)


def _opened(part: Part) -> PairDataset:
    factory, arguments = _factory(part.source)
    values, spelling = _converted(part, factory, len(arguments))
    dataset: Any = factory(*arguments, **values)
    if spelling:
        with suppress(AttributeError):  # of a data set whose name is read-only; its fingerprint follows the options anyway
            dataset.name = f"{dataset.name.split(':')[0]}:{spelling}"
    if "cached" in part.options:
        from medim.data.sources.packed import CachedPictures  # lazy: start-up

        dataset = CachedPictures(dataset, Path(part.options["cached"]))
    if "train" in part.options:
        return Subset(dataset, _share(part), _seed(part))
    if "seed" in part.options:
        raise UserError(f"data '{part.source}': seed says which patients `train=...` keeps; there is no train= here")
    return dataset


def _factory(source: str) -> tuple[Callable[..., PairDataset], list[Path]]:
    """The class of a registered name, or the folder's class and the path."""
    registered = {entry.name: entry for entry in entry_points(group=ENTRY_POINTS)}
    if source in registered and source != "folder":
        return registered[source].load(), []
    path = Path(source)
    if path.exists() or "/" in source:
        return ReportsOnly if ReportsOnly.fits(path) else registered["folder"].load(), [path]
    error = unknown("data set", source, [name for name in registered if name != "folder"])
    raise UserError(f"{error}; or give a folder with pairs.jsonl")


def _converted(part: Part, factory: Callable[..., Any], taken: int) -> tuple[dict[str, Any], str]:
    """The options that go to the constructor, converted to its annotations, and their canonical spelling.
    They are spelt in order of their names, without those at their defaults. `taken` arguments are given by position."""
    options = {key: value for key, value in part.options.items() if key not in RESERVED}
    if not options:
        return {}, ""
    parameters = dict(list(inspect.signature(factory, eval_str=True).parameters.items())[taken:])
    values: dict[str, Any] = {}
    for key, text in options.items():
        if key not in parameters:
            raise unknown(f"option of data set '{part.source}'", key, [*parameters, *RESERVED])
        annotation = parameters[key].annotation
        try:
            values[key] = text if annotation is inspect.Parameter.empty else TypeAdapter(annotation).validate_strings(text)
        except ValidationError as error:
            reason = error.errors()[0]["msg"]
            raise UserError(f"data set '{part.source}': {key}={text}: {reason[:1].lower() + reason[1:]}") from None
    chosen = sorted(key for key, value in values.items() if value != parameters[key].default)
    return values, ",".join(f"{key}={_spelt(values[key])}" for key in chosen)


def _spelt(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def _share(part: Part) -> Fraction:
    text = part.options["train"]
    share = _fraction(text.removesuffix("%").strip()) / (100 if text.endswith("%") else 1)
    if not 0 < share <= 1:
        raise UserError(f"data set '{part.source}': train={text} must be a share of the training patients, as 10% or 0.1")
    return share


def _seed(part: Part) -> int:
    text = part.options.get("seed", "0")
    if not text.isdecimal():
        raise UserError(f"data set '{part.source}': seed={text} must be a whole number from 0")
    return int(text)


def _weight(part: Part) -> Fraction:
    text = part.options.get("weight", "1")
    weight = _fraction(text)
    if weight <= 0 or not math.isfinite(float(weight)):
        raise UserError(f"data set '{part.source}': weight={text} must be a number above 0")
    return weight


def _fraction(text: str) -> Fraction:
    """The number of a text; 0, which no option takes, where it is none."""
    try:
        return Fraction(text)
    except (ValueError, ZeroDivisionError):
        return Fraction(0)
