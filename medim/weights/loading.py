"""A network gets every tensor that it has, all of them finite.
A tensor that a file lacks would stay random, and the output of such a model looks plausible."""

import logging
import pickle
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from medim.common.errors import UserError, foreign, named
from medim.weights.files import PICKLE, WRAPPERS, first, refuse_damaged, refuse_damaged_folder, weight_files, whole_gguf

Shapes = Mapping[str, tuple[int, ...]]
FLOATS = {torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}
"""Types that weights are read in, as safetensors calls them."""


def fill(network: nn.Module, tensors: Mapping[str, Tensor], what: str, *, assign: bool = False) -> None:
    """Gives a network its tensors: every one that it has, and no others. `what`: names the weights in errors, such as "weights
    'model.safetensors' of the image checker". `assign`: replace the network's tensors (of one on the meta device) instead of
    their values. Raises UserError: one is missing, has no place or another shape, or is not finite."""
    present = network.state_dict()
    refuse_incomplete(what, shapes_of(present), shapes_of(tensors))
    _refuse_rounded(what, present, {name for name, tensor in tensors.items() if tensor.dtype not in FLOATS})
    refuse_broken(tensors, what)
    network.load_state_dict(tensors, assign=assign)


def load(
    kind: Any, source: str | Path, what: str, *, lacking: str | None = None, without_heads: bool = False, **options: Any
) -> tuple[Any, list[str]]:
    """A model of transformers or diffusers by its class's `from_pretrained`, with every tensor from its files.
    Tensors that are tied to another or that the class ignores are reported on stderr.
    `source`: a folder, or a hub id.
    `what`: names it in errors, such as "backbone 'owner/name'".
    `lacking`: pattern of names that the files may lack.
    `without_heads`: whether the files may hold heads, outside the modules of this class.
    `options`: of `from_pretrained`.
    Returns the model, and the names that fit `lacking` and are missing.
    Raises UserError: a file is missing or damaged, or a tensor is missing, has no place or another shape."""
    with named(f"{what} cannot be loaded"):
        if (file := options.get("gguf_file")) is not None:
            refuse_damaged(Path(source) / file)
        elif Path(source).is_dir():
            refuse_damaged_folder(source)
    with foreign(f"{what} cannot be loaded"), _quiet(), whole_gguf(source, options):
        try:
            model, info = kind.from_pretrained(
                str(source), output_loading_info=True, ignore_mismatched_sizes=True, **options
            )  # `_refuse` compares shapes
        except pickle.UnpicklingError as error:
            raise UserError(f"{what} cannot be loaded: a file of '{source}' {PICKLE}") from error
    if vars(model).get("_hf_peft_config_loaded"):
        raise UserError(f"{what}: its folder holds {WRAPPERS['base_layer']}")
    missing, unexpected = set(info["missing_keys"]), set(info["unexpected_keys"])
    absent = sorted(name for name in missing if lacking is not None and re.search(lacking, name))
    heads = sorted(name for name in unexpected if without_heads and _is_head(model, name))
    shapes = {name: (tuple(given), tuple(expected)) for name, given, expected in info["mismatched_keys"]}
    count = len(model.state_dict())
    _refuse(what, count, missing - set(absent), unexpected - set(heads), shapes)
    tied = sorted(getattr(model, "all_tied_weights_keys", None) or ())
    names = (shapes_in(Path(source)).keys() if Path(source).is_dir() else set()) - model.state_dict().keys()
    declared = getattr(model, "_keys_to_ignore_on_load_unexpected", None) or ()
    dropped = sorted(name for name in names if any(re.search(pattern, name) for pattern in declared))
    report_tensors(what, tied, "tied to another")
    report_tensors(what, dropped, "left aside, as its class declares")
    report_tensors(what, heads, "of a head, which is not read")
    report_tensors(what, absent, "missing, which nothing reads")
    _refuse_rounded(what, model.state_dict(), _rounded(Path(source)) if Path(source).is_dir() else ())
    refuse_broken(model.state_dict(), what)
    return model, absent


def report_tensors(what: str, names: Iterable[str], says: str) -> None:
    """Prints one line on tensors that a model does without, where there are any."""
    if names := sorted(names):
        print(f"{what}: {len(names)} of its tensors {says} ({first(names)})", file=sys.stderr)


def shapes_of(tensors: Mapping[str, Tensor]) -> Shapes:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def shapes_in(folder: Path) -> Shapes:
    """Shapes of the tensors in a folder's safetensors files."""
    shapes: dict[str, tuple[int, ...]] = {}
    for path in weight_files(folder):
        if path.suffix == ".safetensors":
            with safe_open(path, "pt") as file:
                names = file.keys()
                shapes |= {name: tuple(file.get_slice(name).get_shape()) for name in names}
    return shapes


def _rounded(folder: Path) -> Iterator[str]:
    """Names of the tensors in a folder's safetensors files that are no `FLOATS`."""
    for path in weight_files(folder):
        if path.suffix == ".safetensors":
            with safe_open(path, "pt") as file:
                yield from (name for name in file.keys() if file.get_slice(name).get_dtype() not in FLOATS.values())  # noqa: SIM118


def _refuse_rounded(what: str, network: Mapping[str, Tensor], names: Iterable[str]) -> None:
    """Raises UserError where one of the tensors `names`, integers or of 8 bits, belongs to a floating-point weight."""
    if rounded := sorted(name for name in names if name in network and network[name].is_floating_point()):
        raise UserError(
            f"{what}: {len(rounded)} of {len(network)} tensors are integers or of 8 bits ({first(rounded)}): they are "
            f"{WRAPPERS['qweight']}"
        )


def refuse_incomplete(what: str, expected: Shapes, given: Shapes) -> None:
    """Raises UserError where a tensor of a network is not given, has no place or another shape; names the likely cause."""
    other = {name: (given[name], shape) for name, shape in expected.items() if name in given and given[name] != shape}
    _refuse(what, len(expected), expected.keys() - given.keys(), given.keys() - expected.keys(), other)


def _refuse(
    what: str,
    count: int,
    missing: Iterable[str],
    unexpected: Iterable[str],
    other: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]],
) -> None:
    """`count` tensors of the model; `other` maps a name to its shapes in the file and in the model."""
    missing, unexpected = sorted(missing), sorted(unexpected)
    if missing or unexpected:
        faults = []
        if missing:
            faults.append(f"{len(missing)} of {count} tensors are missing ({first(missing)})")
        if unexpected:
            faults.append(f"{len(unexpected)} have no place in the model ({first(unexpected)})")
        parts = {part for name in unexpected for part in name.split(".")}
        lora = "base_model" if any(part.startswith("lora_") for part in parts) else None
        wrapper = lora or next((part for part in WRAPPERS if part in parts), None)
        cause = "the file is incomplete, or of a model of another kind or size"
        raise UserError(f"{what}: {' and '.join(faults)}: {f'they are {WRAPPERS[wrapper]}' if wrapper else cause}")
    if other:
        name, (given, expected) = min(other.items())
        raise UserError(
            f"{what}: {len(other)} of {count} tensors have another shape than by the configuration, such as {name}: "
            f"{given} in the file, {expected} by the configuration"
        )


def _is_head(model: nn.Module, name: str) -> bool:
    first = name.split(".")[0]
    return first != getattr(model, "base_model_prefix", None) and first not in dict(model.named_children())


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the progress bars and reports of transformers and diffusers."""
    from transformers.utils import logging as bars  # lazy: start-up

    loggers = [logging.getLogger(name) for name in ("transformers", "diffusers")]
    levels, shown = [logger.level for logger in loggers], bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if shown:
            bars.enable_progress_bar()


def first_broken(tensors: Mapping[str, Tensor] | Iterable[tuple[str, Tensor]]) -> str | None:
    """Name of the first tensor with a NaN or an infinite number, if any. Waits for the device once."""
    pairs = tensors.items() if isinstance(tensors, Mapping) else tensors
    names, largest = [], []
    for name, tensor in pairs:
        local = (tensor.to_local() if isinstance(tensor, DTensor) else tensor).detach()
        if local.is_floating_point() and local.numel() and local.device.type != "meta":
            low, high = local.aminmax()
            names.append(name)
            largest.append(torch.maximum(-low, high).float())
    if not names:
        return None
    found = torch.stack([value.to(largest[0].device) for value in largest]).isfinite().tolist()
    return next((name for name, fine in zip(names, found, strict=True) if not fine), None)


def refuse_broken(tensors: Mapping[str, Tensor] | Iterable[tuple[str, Tensor]], what: str) -> None:
    """Raises UserError that names `what` and its first tensor with a NaN or an infinite number."""
    name = first_broken(tensors)
    if name is not None:
        raise UserError(
            f"{what}: tensor {name} holds NaN or infinite numbers: take an earlier checkpoint, or get the file again"
        )
