"""Files of weights that anyone may give: what a damaged one is, and their tensors read without running anything."""

import pickle
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy._core import multiarray
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from medim.common.errors import UserError, one_line
from medim.common.files import HEAD, read_mapping, stand_in, unreadable

KINDS = {".safetensors": "safetensors", ".gguf": "GGUF", **dict.fromkeys((".bin", ".pt", ".pth", ".ckpt"), "torch")}
_NAMES = ("model.safetensors", "diffusion_pytorch_model.safetensors", "pytorch_model.bin", "diffusion_pytorch_model.bin")
"""Weights of a folder, in the order in which transformers and diffusers look for them; each may be an index of shards."""
WRAPPERS = {
    "_orig_mod": "a compiled model's: save the one inside (`model._orig_mod`)",
    "_fsdp_wrapped_module": "a distributed model's: gather its whole state before saving",
    "module": "a distributed model's: save the one inside (`model.module`)",
    "base_model": "an adapter's (PEFT): merge it into its model (`merge_and_unload()`) and save that",
    "base_layer": "an adapter's (PEFT): merge it into its model (`merge_and_unload()`) and save that",
    "state_dict": "a training's state: save its state_dict alone",
    "param_groups": "an optimizer's state, not a model's",
    "exp_avg": "an optimizer's state, not a model's",
    "qweight": "a quantised model's: take the original",
}
"""What a part of a tensor's name says about what was saved."""
PICKLE = (
    "holds more than tensors, which could run code, and is not opened: where you trust it, save its state_dict alone "
    "(torch.save({'state_dict': ...})), best as safetensors"
)
_ADAPTERS = ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin")
_DTYPES = {type(np.dtype(kind)) for kind in "?bhilqBHILQefdgFDGSUMm"}


def refuse_damaged(path: str | Path) -> None:
    """Raises UserError where a weights file is missing, a pointer or a web page, cut off, or of another kind than its name."""
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
    if found == "safetensors":
        try:
            with safe_open(path, "pt"):
                pass
        except (SafetensorError, OSError) as error:
            raise _damaged(path, error) from error
    if head.startswith(b"PK") and not zipfile.is_zipfile(path):
        raise _damaged(path)


def refuse_damaged_folder(folder: str | Path) -> None:
    """Raises UserError where a weights file of a model's folder is damaged, missing, or under a name that nobody looks for."""
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
    """Raises UserError where a folder holds an adapter instead of a model."""
    if any((folder / name).is_file() for name in _ADAPTERS):
        raise UserError(f"what '{folder}' holds is {WRAPPERS['base_model']}")


def weight_files(folder: Path) -> list[Path]:
    """The files that a folder's weights are read from: one, or the shards of an index.
    Raises UserError: a broken index, or a missing shard."""
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
    """The tensors of a safetensors or torch file by name, on the CPU; nothing in the file is run.
    `key`: of the part of a torch file that holds the tensors, where there is one.
    Raises UserError: the file is missing or damaged, or holds something else than tensors."""
    path = Path(path)
    refuse_damaged(path)
    if path.suffix == ".safetensors":
        return load_file(path)
    content = read_state(path)
    state = content.get(key, content) if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"'{path}' holds no {key or 'state_dict'} of tensors")
    return dict(state)


def read_folder(folder: Path) -> dict[str, Tensor]:
    """The tensors of all weights files of a model's folder by name, on the CPU. Raises UserError as `refuse_damaged_folder`."""
    refuse_damaged_folder(folder)
    return {name: tensor for path in weight_files(folder) for name, tensor in read_tensors(path, "state_dict").items()}


def read_state(path: str | Path) -> Any:
    """What `torch.save` wrote, on the CPU: tensors, containers, and numpy scalars and arrays; nothing in the file is run.
    Raises UserError: the file is missing or damaged, or holds other objects, which might run code."""
    refuse_damaged(path)
    try:
        with torch.serialization.safe_globals(_numpy_globals()):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(f"'{path}' {PICKLE}") from error
    except Exception as error:  # of a damaged file torch raises a type for each damage
        raise _damaged(path, error) from error


def _numpy_globals() -> list[Any]:
    """The functions that numpy's scalars and arrays are unpickled by, under the names of numpy 1 and 2."""
    functions = (multiarray.scalar, multiarray._reconstruct)
    names = [(function, f"numpy.{core}.multiarray.{function.__name__}") for function in functions for core in ("core", "_core")]
    return [*names, np.dtype, np.ndarray, *_DTYPES]


def _damaged(path: str | Path, error: Exception | None = None) -> UserError:
    detail = "" if error is None else f" ({one_line(error)})"
    return UserError(f"'{path}' cannot be read: it is cut off or damaged; get it again{detail}")


@contextmanager
def whole_gguf(folder: str | Path, options: Mapping[str, Any]) -> Iterator[None]:
    """Raises UserError where reading a GGUF file (`gguf_file` of the options) failed because it is damaged."""
    try:
        yield
    except Exception as error:
        path = Path(folder) / options.get("gguf_file", "")
        if not path.is_file() or _is_whole_gguf(path):
            raise
        raise _damaged(path, error) from error


def _is_whole_gguf(path: Path) -> bool:
    """By the package gguf, where it is installed."""
    try:
        from gguf import GGUFReader  # lazy: gguf

        GGUFReader(path)
    except ImportError:
        return True
    except Exception:  # numpy's errors of a mapped file that ends too early
        return False
    return True


def _kind(head: bytes) -> str | None:
    """Kind of the file that begins so."""
    if head.startswith(b"GGUF"):
        return "GGUF"
    if head.startswith((b"PK\x03\x04", b"\x80")) and head[8:9] != b"{":
        return "torch"
    return "safetensors" if head[8:9] == b"{" else None


def _some(names: list[str]) -> str:
    return f"{len(names)} {'is' if len(names) == 1 else 'are'} ({first(names)})"


def first(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
