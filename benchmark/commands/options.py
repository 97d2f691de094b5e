"""Options that mean the same in every verb."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from medim.common.errors import UserError, unknown

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


DEVICES = ("cpu", "cuda", "mps")
PROTOCOLS = ("strict-v1", "medim-paper-v1", "r2gen", "as-given")


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


def _device(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    if value is not None and re.fullmatch(r"cpu|mps|cuda(:\d+)?", value) is None:
        raise unknown("device", value, DEVICES)
    if value not in (None, "cpu"):
        from medim.devices import chosen_device

        chosen_device(value)
    return value


def _overrides(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> dict[str, str]:
    return parse_overrides(value)


def parse_overrides(items: Sequence[str]) -> dict[str, str]:
    """`["a.b=1"]` as `{"a.b": "1"}`; the last of two settings of one key holds.

    Raises:
        UserError: an item without `=`, or without a key before it.
    """
    overrides: dict[str, str] = {}
    for item in items:
        key, separator, text = item.partition("=")
        if not separator or not key.strip():
            raise UserError(f"--set takes key=value, not '{item}'")
        overrides[key.strip()] = text.strip()
    return overrides


def model_option(required: bool = True, help: str = "Preset with shipped weights, local folder or hub id.") -> Decorator:
    return click.option("--model", required=required, metavar="NAME|DIR|HUB-ID", help=help)


def data_option(
    required: bool = True,
    help: str = "A registered data set or a folder with pairs.jsonl; options follow a colon, parts are joined by +.",
) -> Decorator:
    return click.option("--data", required=required, metavar="NAME|DIR", help=help)


def out_option(
    required: bool = True, default: str | None = None, help: str = "Folder for all that the command writes."
) -> Decorator:
    return click.option(
        "--out", required=required and default is None, default=default, show_default=default is not None, metavar="DIR",
        type=click.Path(file_okay=False, path_type=Path), help=help,
    )  # fmt: skip


def seed_option(default: int | None = 0) -> Decorator:
    return click.option(
        "--seed",
        default=default,
        show_default=default is not None,
        type=click.IntRange(min=0),
        help="Of all that is drawn.",
    )


def limit_option(help: str = "Use only the first N cases of the split.") -> Decorator:
    return click.option("--limit", type=click.IntRange(min=1), metavar="N", help=help)


def resolution_option() -> Decorator:
    return click.option(
        "--resolution", type=click.IntRange(min=8), metavar="PIXELS",
        help="Side of the cases' images.  [default: the model's, else the data set's]",
    )  # fmt: skip


def protocol_option() -> Decorator:
    return click.option(
        "--protocol", type=NearestChoice("protocol", PROTOCOLS), help=f"How reports are scored.  [default: {PROTOCOLS[0]}]"
    )


def features_option() -> Decorator:
    return click.option(
        "--features", multiple=True, metavar="SPEC",
        help="Feature space of the image metrics, such as inception:FILE or timm:NAME; repeatable.  "
        "[default: efficientnet-lite0]",
    )  # fmt: skip


def judge_option() -> Decorator:
    return click.option(
        "--judge", type=click.Path(exists=True, file_okay=False, path_type=Path), metavar="FOLDER",
        help="A chat model that looks at images, such as Qwen2-VL: judges generated pairs, on this machine alone.",
    )  # fmt: skip


def refuse_others(ctx: click.Context, what: str, own: Sequence[str]) -> None:
    """Refuses options of a command that were given and that one way of calling it, `what`, does not read.

    Args:
        own: parameters that it does read, by their Python names.

    Raises:
        UserError: names the first.
    """
    for parameter in ctx.command.params:
        source = ctx.get_parameter_source(parameter.name or "")
        if parameter.name not in own and source is ParameterSource.COMMANDLINE:
            raise UserError(f"{what} takes no {'/'.join([*parameter.opts, *parameter.secondary_opts])}")


def cache_option() -> Decorator:
    return click.option(
        "--cache", metavar="DIR|none",
        help="Folder that runs share: anchors' scores, features of references.  [default: MEDIM_BENCH_CACHE, else medim-bench "
        "in the user's cache; none for data under restricting terms]",
    )  # fmt: skip


def show_samples_option() -> Decorator:
    return click.option(
        "--show-samples", is_flag=True, help="Show samples on the page although the data's terms restrict them."
    )


def device_option() -> Decorator:
    return click.option(
        "--device", callback=_device, metavar="cpu|cuda|cuda:N|mps", help="Where the model runs; the GPU where there is one."
    )


def set_option(help: str = "Override a field of the configuration; may be given several times.") -> Decorator:
    return click.option("--set", "overrides", multiple=True, callback=_overrides, metavar="KEY=VALUE", help=help)


def overwrite_option() -> Decorator:
    return click.option("--overwrite", is_flag=True, help="Start anew: remove what an earlier run wrote into --out.")
