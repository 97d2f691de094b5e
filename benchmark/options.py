"""Options of the commands, each declared once: as an annotated parameter of a command, or as a field of its frozen dataclass.

    @click.command()
    @with_options
    def draw(model: Model, n: Annotated[int, Option("Number of samples.", low=1)] = 16) -> int: ...

The annotation says how click reads a value: a `bool` is a flag, a tuple may be given several times, a `Literal` takes one of
its names. Without a default the option is required. What several verbs share stands here as a type.
"""

import dataclasses
import functools
import inspect
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import click
from click.core import ParameterSource

from medim.common.errors import UserError, unknown

DEVICES = ("cpu", "cuda", "mps")
FOLDER, FILE = click.Path(file_okay=False, path_type=Path), click.Path(dir_okay=False, path_type=Path)
Callback = Callable[[click.Context, click.Parameter, Any], Any]


class NearestChoice(click.ParamType):
    """One of some names; an unknown one is answered with the nearest."""

    def __init__(self, kind: str, names: Sequence[str]) -> None:
        self.name = kind
        self.names = tuple(names)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value not in self.names:
            raise unknown(self.name, str(value), self.names)
        return str(value)

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return f"[{'|'.join(self.names)}]"


@dataclasses.dataclass(frozen=True)
class Option:
    """How one option is shown and checked."""

    help: str
    flag: str | None = None  # on the command line; by default `--` and the parameter's name
    metavar: str | None = None
    # low, high: bounds of a number, included; `above` is a lower bound that is not
    low: int | None = None
    high: int | None = None
    above: int | None = None
    # what a `Literal` is a choice of, for the message that names the nearest; by default the parameter's name
    kind: str | None = None
    type: click.ParamType | None = None  # in place of what the annotation says
    callback: Callback | None = None

    def decorator(self, name: str, annotation: Any, default: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """The option of click for a parameter `name`; `default` is `inspect.Parameter.empty` where it is required."""
        kind, several = annotation, get_origin(annotation) is tuple and get_args(annotation)[-1] is Ellipsis
        if several:
            kind = get_args(annotation)[0]
        elif get_origin(annotation) is dict:  # --set
            kind, several, default = str, True, ()
        required = default is inspect.Parameter.empty
        attributes: dict[str, Any] = {"is_flag": True} if kind is bool else {"type": self._type(name, kind)}
        if required or several:
            attributes |= {"required": required, "multiple": several}
        elif default is not None:
            attributes["default"] = default
            attributes["show_default"] = None if kind is bool or "[default" in self.help else True
        flag = self.flag or f"--{name.replace('_', '-')}"
        return click.option(flag, name, metavar=self.metavar, callback=self.callback, help=self.help, **attributes)

    def _type(self, name: str, kind: Any) -> click.ParamType:
        if self.type is not None:
            return self.type
        if get_origin(kind) is Literal:
            return NearestChoice(self.kind or name, get_args(kind))
        if kind is int and (self.low, self.high) != (None, None):
            return click.IntRange(self.low, self.high)
        if kind is float and (self.low, self.above) != (None, None):
            return click.FloatRange(self.low if self.above is None else self.above, self.high, min_open=self.above is not None)
        return click.Path(path_type=Path) if kind is Path else click.types.convert_type(kind)


def with_options(function: Callable[..., int | None]) -> Callable[..., None]:
    """Gives a function the options that its parameters declare, for `click.command`; its result is the exit status.
    A parameter whose type is a dataclass takes the options that its fields declare, as one object. What declares no `Option` is
    given by another decorator of click."""
    models: dict[str, tuple[type, list[str]]] = {}
    declared: list[tuple[str, Any, Any]] = []
    hints = get_type_hints(function, include_extras=True)
    for name, parameter in inspect.signature(function).parameters.items():
        if dataclasses.is_dataclass(hints[name]):
            model = hints[name]
            kinds = get_type_hints(model, include_extras=True)
            fields = [(one.name, kinds[one.name], one.default) for one in dataclasses.fields(model)]
            models[name] = model, [field for field, _, _ in fields]
            declared += fields
        else:
            declared.append((name, hints[name], parameter.default))

    @functools.wraps(function)
    def command(**values: Any) -> None:
        given = {name: model(**{field: values.pop(field) for field in fields}) for name, (model, fields) in models.items()}
        click.get_current_context().exit(function(**given, **values) or 0)

    decorated: Callable[..., None] = command
    for name, annotation, default in reversed(declared):
        kind, option = _read(annotation)
        if option is not None:
            empty = inspect.Parameter.empty
            decorated = option.decorator(name, kind, empty if default is dataclasses.MISSING else default)(decorated)
    return decorated


def _read(annotation: Any) -> tuple[Any, Option | None]:
    """The type that an annotation stands for, without None, and its option."""
    if get_origin(annotation) is Annotated:
        kind, option = _read(get_args(annotation)[0])
        return kind, next((one for one in get_args(annotation)[1:] if isinstance(one, Option)), option)
    if get_origin(annotation) in (Union, UnionType):
        return _read(next(one for one in get_args(annotation) if one is not NoneType))
    return annotation, None


def refuse_others(what: str, read: Sequence[str]) -> None:
    """Refuses options of the current command that were given and that one way of calling it, `what`, does not read. `read`: the
    parameters that it does read. Raises UserError: names the first."""
    ctx = click.get_current_context()
    for parameter in ctx.command.params:
        source = ctx.get_parameter_source(parameter.name or "")
        if parameter.name not in read and source is ParameterSource.COMMANDLINE:
            raise UserError(f"{what} takes no {'/'.join([*parameter.opts, *parameter.secondary_opts])}")


def _device(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    if value is not None and re.fullmatch(r"cpu|mps|cuda(:\d+)?", value) is None:
        raise unknown("device", value, DEVICES)
    if value not in (None, "cpu"):
        from medim.devices import chosen_device  # lazy: start-up

        chosen_device(value)
    return value


def parse_overrides(items: Sequence[str]) -> dict[str, str]:
    """`["a.b=1"]` as `{"a.b": "1"}`; the last of two settings of one key holds.
    Raises UserError: an item without `=`, or without a key before it."""
    overrides: dict[str, str] = {}
    for item in items:
        key, separator, text = item.partition("=")
        if not separator or not key.strip():
            raise UserError(f"--set takes key=value, not '{item}'")
        overrides[key.strip()] = text.strip()
    return overrides


def setting(help: str) -> Option:
    return Option(help, "--set", "KEY=VALUE", callback=lambda ctx, param, value: parse_overrides(value))


ProtocolName = Literal["strict-v1", "medim-paper-v1", "r2gen", "as-given"]
PROTOCOLS: tuple[ProtocolName, ...] = get_args(ProtocolName)

Model = Annotated[str, Option("Preset with shipped weights, local folder or hub id.", metavar="NAME|DIR|HUB-ID")]
_DATA = "A registered data set or a folder with pairs.jsonl; options follow a colon, parts are joined by +."
Data = Annotated[str, Option(_DATA, metavar="NAME|DIR")]
Out = Annotated[Path, Option("Folder for all that the command writes.", metavar="DIR", type=FOLDER)]
Seed = Annotated[int, Option("Of all that is drawn.", low=0)]
Split = Annotated[str, Option("Split to score on.")]
Limit = Annotated[int, Option("Use only the first N cases of the split.", metavar="N", low=1)]
Resolution = Annotated[
    int, Option("Side of the cases' images.  [default: the model's, else the data set's]", metavar="PIXELS", low=8)
]
Protocol = Annotated[ProtocolName, Option(f"How reports are scored.  [default: {PROTOCOLS[0]}]")]
_FEATURES = (
    "Feature space of the image metrics, such as inception:FILE or timm:NAME; repeatable.  [default: efficientnet-lite0]"
)
Features = Annotated[tuple[str, ...], Option(_FEATURES, metavar="SPEC")]
_JUDGE = "A chat model that looks at images, such as Qwen2-VL: judges generated pairs, on this machine alone."
Judge = Annotated[Path, Option(_JUDGE, metavar="FOLDER", type=click.Path(exists=True, file_okay=False, path_type=Path))]
_CHECKER = (
    "Reads findings: image=torchxrayvision:FILE, transformers:DIR or predictions:CSV; report=labeller or chexbert:FILE; steer= "
    "as image=, for what steers or filters; repeatable.  [default: report=labeller for chest X-rays]"
)
Checkers = Annotated[tuple[str, ...], Option(_CHECKER, "--checker", "MODALITY=KIND:FILE")]
_LABELS = "YAML: which finding of the data each label of a checker stands for, and thresholds.  [default: by name]"
CheckerLabels = Annotated[Path, Option(_LABELS, metavar="FILE", type=FILE)]
_CACHE = (
    "Folder that runs share: anchors' scores, features of references.  [default: MEDIM_BENCH_CACHE, else medim-bench in the "
    "user's cache; none for data under restricting terms]"
)
Cache = Annotated[str, Option(_CACHE, metavar="DIR|none")]
ShowSamples = Annotated[bool, Option("Show samples on the page although the data's terms restrict them.")]
_WHERE = "Where the model runs; the GPU where there is one."
Device = Annotated[str, Option(_WHERE, metavar="cpu|cuda|cuda:N|mps", callback=_device)]
Overrides = Annotated[
    dict[str, str], setting("Override a setting of the model, such as sampling.image.steps=32 or dtype=bfloat16; repeatable.")
]
Overwrite = Annotated[bool, Option("Start anew: remove what an earlier run wrote into --out.")]
