"""Where the weights of report metrics are: folders that the environment names. Nothing is downloaded."""

import os
from pathlib import Path

WEIGHTS = "MEDIM_BENCH_WEIGHTS"
FOLDERS = {"chexbert": "MEDIM_CHEXBERT", "radgraph": "MEDIM_RADGRAPH"}


def weights_folder(name: str) -> Path | None:
    """The folder that the model's own variable of `FOLDERS` names, else the one of the model's name in that of `WEIGHTS`.

    None where nothing names one.
    """
    if named := os.environ.get(FOLDERS[name]):
        return Path(named)
    shared = os.environ.get(WEIGHTS)
    return Path(shared) / name if shared and (Path(shared) / name).is_dir() else None
