"""Devices of this machine."""

import os
import sys
from importlib.util import find_spec
from shutil import which

import torch

from medim.common.errors import UserError


def chosen_device(name: str | None) -> torch.device:
    """The device named `cpu`, `mps`, `cuda` (the first GPU) or `cuda:N`; by default the first GPU, or else the CPU.
    Raises UserError: there is no such device."""
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    if device.type == "cuda":
        device, count = torch.device("cuda", device.index or 0), torch.cuda.device_count()
        if device.index >= count:
            raise UserError(f"device {name}: PyTorch finds {count} CUDA GPUs here; medim-bench doctor says why")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UserError(f"device {name}: PyTorch finds no Apple GPU here; medim-bench doctor says why")
    return device


def can_compile(device: torch.device) -> bool:
    """Whether `torch.compile` finds its tools: Triton and a C compiler for a GPU, else a C++ compiler."""
    if device.type == "cuda":
        return find_spec("triton") is not None and any(map(which, (os.environ.get("CC", "gcc"), "clang")))
    return which(os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")) is not None
