"""Checkpoints of others, which are pickles: tensors, containers and numpy's numbers are read, and nothing that can run."""

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch

_DTYPES = {type(np.dtype(kind)) for kind in "?bhilqBHILQefdgFDGSUMm"}


def _numpy_globals() -> list[Any]:
    """What numpy's scalars and arrays are pickled by, under the names of numpy 1 and 2: it builds numbers from bytes."""
    multiarray = import_module("numpy._core.multiarray" if int(np.__version__.split(".")[0]) > 1 else "numpy.core.multiarray")
    functions = [multiarray.scalar, multiarray._reconstruct]
    names = [(function, f"numpy.{core}.multiarray.{function.__name__}") for function in functions for core in ("core", "_core")]
    return [*names, np.dtype, np.ndarray, *_DTYPES]


def read_checkpoint(path: str | Path) -> Any:
    """What `torch.save` wrote, on the CPU: tensors, containers, and numpy scalars and arrays of numbers or texts.

    Raises:
        pickle.UnpicklingError: it holds objects of another kind, which might run code.
        OSError, RuntimeError, EOFError, ValueError: no such file, or a damaged one.
    """
    with torch.serialization.safe_globals(_numpy_globals()):
        return torch.load(path, map_location="cpu", weights_only=True)
