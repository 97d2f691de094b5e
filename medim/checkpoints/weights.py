"""Weights from files that anyone may give: what a damaged file is, and that a network gets every tensor that it has.

A tensor that a file lacks would stay as it was drawn at random, and what such a model says looks plausible.
"""

import logging
import pickle
import re
import sys
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from medim.checkpoints.finite import refuse_broken
from medim.checkpoints.unpickling import read_checkpoint
from medim.common.errors import UserError, foreign, named, told
from medim.common.files import HEAD, read_mapping, stand_in, unreadable

KINDS = {".safetensors": "safetensors", ".gguf": "GGUF", **dict.fromkeys((".bin", ".pt", ".pth", ".ckpt"), "torch")}
_NAMES = ("model.safetensors", "diffusion_pytorch_model.safetensors", "pytorch_model.bin", "diffusion_pytorch_model.bin")
"""Of a folder's weights, in the order in which transformers and diffusers look for them; each may be an index of shards."""
_WRAPPERS = {
    "_orig_mod": "a compiled model's: save the one inside (`model._orig_mod`)",
    "_fsdp_wrapped_module": "a distributed model's: gather its whole state before saving",
    "module": "a distributed model's: save the one inside (`model.module`)",
    "base_model": "an adapter's (PEFT): merge it into its model (`merge_and_unload()`) and save that",
    "base_layer": "an adapter's (PEFT): merge it into its model (`merge_and_unload()`) and save that",
    "state_dict": "a training's state: save its state_dict alone",
    "param_groups": "an optimizer's state, not a model's",
    "exp_avg": "an optimizer's state, not a model's",
    "qweight": "a quantised model's: take the one that it was made from",
}
"""Parts of tensors' names that tell what wrapped the model when it was saved, or what else was."""
_PICKLE = (
    "holds more than tensors, which could run code, and is not opened: where you trust it, save its state_dict alone "
    "(torch.save({'state_dict': ...})), best as safetensors"
)
_ADAPTERS = ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin")


def refuse_damaged(path: str | Path) -> None:
    """Looks at the beginning of a weights file, and at the size that it claims.

    Raises:
        UserError: there is none, a pointer or a web page lies in its place, it is cut off, or of another kind than its name.
    """
    path = Path(path)
    kind = KINDS.get(path.suffix.lower())
    try:
        with path.open("rb") as stream:
            head = stream.read(HEAD)
    except OSError as error:
        raise unreadable(path, error) from error
    if what := stand_in(head):
        raise UserError(f"'{path}' {what}")
    found = _kind(head)
    if kind is not None and found != kind:
        if found is not None:
            ending = next(ending for ending, of in KINDS.items() if of == found)
            raise UserError(f"'{path}' is a {found} file, not {kind}: its name has to end in {ending}")
        raise UserError(f"'{path}' is no {kind} file (it begins with {head[:8]!r}): damaged, or something else under that name")
    cut = f"'{path}' cannot be read: it is cut off or damaged; get it again"
    if found == "safetensors":
        try:
            with safe_open(path, "pt"):
                pass
        except (SafetensorError, OSError) as error:
            raise UserError(f"{cut} ({told(error)})") from error
    if head.startswith(b"PK") and not zipfile.is_zipfile(path):
        raise UserError(cut)


def refuse_damaged_folder(folder: str | Path) -> None:
    """The same for the weights that a model's folder is read by, all shards included.

    Raises:
        UserError: a file is damaged, a shard is missing, or the folder holds weights under a name that nobody looks for.
    """
    folder = Path(folder)
    files = weight_files(folder)
    for path in files:
        refuse_damaged(path)
    if not files and not any(folder.glob("*.gguf")):
        others = sorted(path.name for path in folder.iterdir() if path.suffix in KINDS)
        refuse_adapter(folder)
        there = f"; what it holds ({', '.join(others[:4])}) is no name that is looked for" if others else ""
        raise UserError(f"'{folder}' holds no weights: {_NAMES[0]}, its shards with their index, or {_NAMES[2]}{there}")


def refuse_adapter(folder: Path) -> None:
    """Raises a UserError where a folder holds an adapter instead of a model."""
    if any((folder / name).is_file() for name in _ADAPTERS):
        raise UserError(f"what '{folder}' holds is {_WRAPPERS['base_model']}")


def weight_files(folder: Path) -> list[Path]:
    """The files that a folder's weights are read from: one, or the shards of an index.

    Raises:
        UserError: the index is no index, or names a shard that is missing.
    """
    for name in _NAMES:
        if (folder / name).is_file():
            return [folder / name]
        index = folder / f"{name}.index.json"
        if not index.is_file():
            continue
        places = read_mapping(index).get("weight_map")
        if not isinstance(places, dict) or not all(isinstance(shard, str) for shard in places.values()):
            raise UserError(f"'{index}': field 'weight_map' has to name the file of each tensor")
        shards = sorted(set(places.values()))
        missing = [shard for shard in shards if Path(shard).name != shard or not (folder / shard).is_file()]
        if missing:
            raise UserError(f"'{index}' names {len(shards)} files, of which {_some(missing)} missing: get them again")
        return [folder / shard for shard in shards]
    return []


def read_tensors(path: str | Path, key: str | None = None) -> dict[str, Tensor]:
    """The tensors of a safetensors or torch file by their names, on the CPU; nothing in the file is run.

    Args:
        key: of a torch file whose tensors are one part of what it holds: that part, where there is one.

    Raises:
        UserError: the file is missing or damaged, or holds something else than tensors.
    """
    path = Path(path)
    refuse_damaged(path)
    if path.suffix == ".safetensors":
        return load_file(path)
    content = read_state(path)
    state = content.get(key, content) if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"'{path}' holds no {key or 'state_dict'} of tensors")
    return dict(state)


def read_state(path: str | Path) -> Any:
    """What `torch.save` wrote of tensors and plain values, on the CPU; nothing in the file is run.

    Raises:
        UserError: the file is missing or damaged, or holds other objects.
    """
    refuse_damaged(path)
    try:
        return read_checkpoint(path)
    except pickle.UnpicklingError as error:
        raise UserError(f"'{path}' {_PICKLE}") from error
    except Exception as error:  # of a damaged file torch raises a type for each damage
        raise UserError(f"'{path}' cannot be read: it is cut off or damaged; get it again ({told(error)})") from error


def fill(network: nn.Module, tensors: Mapping[str, Tensor], what: str, *, assign: bool = False) -> None:
    """Gives a network its tensors: every one that it has, and no others.

    Args:
        what: names the weights in the error, such as "weights 'model.safetensors' of the image checker".
        assign: the tensors themselves take the place of the network's (one on the meta device), instead of their values.

    Raises:
        UserError: one is missing, has no place or another shape; the line names some, and the likely cause.
    """
    own = network.state_dict()
    refuse_incomplete(what, shapes_of(own), shapes_of(tensors))
    _refuse_rounded(what, own, {name for name, tensor in tensors.items() if not tensor.is_floating_point()})
    refuse_broken(tensors, what)
    network.load_state_dict(tensors, assign=assign)


def load(
    kind: Any, source: str | Path, what: str, *, lacking: str | None = None, without_heads: bool = False, **options: Any
) -> tuple[Any, list[str]]:
    """A model of transformers or diffusers by its class's `from_pretrained`, with every tensor from its files.

    What is tied to another tensor, and what the class declares that it leaves aside, is told with its count.

    Args:
        source: a folder, or a hub id.
        what: names it in errors, such as "backbone 'owner/name'".
        lacking: pattern of names that the files may lack, since nobody reads them.
        without_heads: whether the files may hold heads, which stand outside the modules of this class.
        options: of `from_pretrained`.

    Returns:
        The model, and which of the names that fit `lacking` its files do lack.

    Raises:
        UserError: a file is missing or damaged, or a tensor is missing, has no place or another shape.
    """
    with named(f"{what} cannot be loaded"):
        if (file := options.get("gguf_file")) is not None:
            refuse_damaged(Path(source) / file)
        elif Path(source).is_dir():
            refuse_damaged_folder(source)
    with foreign(f"{what} cannot be loaded"), _quiet(), whole_gguf(source, options):
        try:
            model, info = kind.from_pretrained(
                str(source), output_loading_info=True, ignore_mismatched_sizes=True, **options
            )  # shapes are told below
        except pickle.UnpicklingError as error:
            raise UserError(f"{what} cannot be loaded: a file of '{source}' {_PICKLE}") from error
    if vars(model).get("_hf_peft_config_loaded"):
        raise UserError(f"{what}: its folder holds {_WRAPPERS['base_layer']}")
    missing, unexpected = set(info["missing_keys"]), set(info["unexpected_keys"])
    absent = sorted(name for name in missing if lacking is not None and re.search(lacking, name))
    heads = sorted(name for name in unexpected if without_heads and _is_head(model, name))
    shapes = {name: (tuple(given), tuple(own)) for name, given, own in info["mismatched_keys"]}
    count = len(model.state_dict())
    _refuse(what, count, missing - set(absent), unexpected - set(heads), shapes)
    tied = sorted(getattr(model, "all_tied_weights_keys", None) or ())
    names = (shapes_in(Path(source)).keys() if Path(source).is_dir() else set()) - model.state_dict().keys()
    declared = getattr(model, "_keys_to_ignore_on_load_unexpected", None) or ()
    dropped = sorted(name for name in names if any(re.search(pattern, name) for pattern in declared))
    for kept, says in (
        (tied, "tied to another"), (dropped, "left aside, as its class declares"), (heads, "of a head, which is not read"),
        (absent, "missing, which nothing reads"),
    ):  # fmt: skip
        if kept:
            tell(what, kept, says)
    _refuse_rounded(what, model.state_dict(), _no_fractions(Path(source)) if Path(source).is_dir() else ())
    refuse_broken(model.state_dict(), what)
    return model, absent


def tell(what: str, names: Iterable[str], says: str) -> None:
    """One line on tensors that a model does without."""
    names = sorted(names)
    print(f"{what}: {len(names)} of its tensors {says} ({_first(names)})", file=sys.stderr)


Shapes = Mapping[str, tuple[int, ...]]


def shapes_of(tensors: Mapping[str, Tensor]) -> Shapes:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def shapes_in(folder: Path) -> Shapes:
    """Those of the tensors in a folder's safetensors files."""
    shapes: dict[str, tuple[int, ...]] = {}
    for path in weight_files(folder):
        if path.suffix == ".safetensors":
            with safe_open(path, "pt") as file:
                names = file.keys()
                shapes |= {name: tuple(file.get_slice(name).get_shape()) for name in names}
    return shapes


def _no_fractions(folder: Path) -> Iterator[str]:
    """Names of the tensors in a folder's safetensors files that hold whole or complex numbers."""
    for path in weight_files(folder):
        if path.suffix == ".safetensors":
            with safe_open(path, "pt") as file:
                yield from (name for name in file.keys() if "F" not in file.get_slice(name).get_dtype())  # noqa: SIM118


def _refuse_rounded(what: str, own: Mapping[str, Tensor], names: Iterable[str]) -> None:
    """Raises a UserError where one of the tensors `names`, which hold no fractions, is a weight that does."""
    if rounded := sorted(name for name in names if name in own and own[name].is_floating_point()):
        raise UserError(
            f"{what}: {len(rounded)} of {len(own)} tensors hold no fractions ({_first(rounded)}): they are "
            f"{_WRAPPERS['qweight']}"
        )


def refuse_incomplete(what: str, own: Shapes, given: Shapes) -> None:
    """Holds the tensors of a network against those that it is given.

    Raises:
        UserError: one is missing, has no place or another shape; the line names some, and the likely cause.
    """
    other = {name: (given[name], shape) for name, shape in own.items() if name in given and given[name] != shape}
    _refuse(what, len(own), own.keys() - given.keys(), given.keys() - own.keys(), other)


def _refuse(
    what: str,
    count: int,
    missing: Iterable[str],
    unexpected: Iterable[str],
    other: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]],
) -> None:
    """`count` tensors of the model; of those of `other` shape, that in the file and that in the model."""
    missing, unexpected = sorted(missing), sorted(unexpected)
    if missing or unexpected:
        faults = []
        if missing:
            faults.append(f"{len(missing)} of {count} tensors are missing ({_first(missing)})")
        if unexpected:
            faults.append(f"{len(unexpected)} have no place in the model ({_first(unexpected)})")
        parts = {part for name in unexpected for part in name.split(".")}
        lora = "base_model" if any(part.startswith("lora_") for part in parts) else None
        wrapper = lora or next((part for part in _WRAPPERS if part in parts), None)
        cause = "the file is incomplete, or of a model of another kind or size"
        raise UserError(f"{what}: {' and '.join(faults)}: {f'they are {_WRAPPERS[wrapper]}' if wrapper else cause}")
    if other:
        name, (given, own) = min(other.items())
        raise UserError(
            f"{what}: {len(other)} of {count} tensors have another shape than the configuration makes them, such as {name}: "
            f"{given} in the file, {own} by the configuration"
        )


@contextmanager
def whole_gguf(folder: str | Path, options: Mapping[str, Any]) -> Iterator[None]:
    """Around what reads a GGUF file (`gguf_file` of the options, in the folder), where one is read.

    Raises:
        UserError: it was not read, and the file is cut off or damaged; other errors pass as they are.
    """
    try:
        yield
    except Exception as error:
        path = Path(folder) / options.get("gguf_file", "")
        if not path.is_file() or _is_whole_gguf(path):
            raise
        raise UserError(f"'{path}' cannot be read: it is cut off or damaged; get it again ({told(error)})") from error


def _is_whole_gguf(path: Path) -> bool:
    """As far as the package gguf, where it is installed, can tell."""
    try:
        from gguf import GGUFReader

        GGUFReader(path)
    except ImportError:
        return True
    except Exception:  # it raises what numpy does of a mapped file that ends too early
        return False
    return True


def _kind(head: bytes) -> str | None:
    """What a file that begins so holds."""
    if head.startswith(b"GGUF"):
        return "GGUF"
    if head.startswith((b"PK\x03\x04", b"\x80")) and head[8:9] != b"{":
        return "torch"
    return "safetensors" if head[8:9] == b"{" else None


def _is_head(model: nn.Module, name: str) -> bool:
    first = name.split(".")[0]
    return first != getattr(model, "base_model_prefix", None) and first not in dict(model.named_children())


def _first(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _some(names: list[str]) -> str:
    return f"{len(names)} {'is' if len(names) == 1 else 'are'} ({_first(names)})"


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the progress bars and reports of transformers and diffusers: what their reports say is told here."""
    from transformers.utils import logging as bars

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
