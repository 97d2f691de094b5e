"""Where the files of metrics are: one folder for each metric, which the environment names. Nothing is downloaded.
A metric NAME reads the folder that MEDIM_NAME names (in capitals, `-` as `_`), else the folder NAME in that of
MEDIM_BENCH_WEIGHTS. A metric that runs in a separate environment has that environment there."""

import os
from dataclasses import dataclass
from pathlib import Path

from medim.common.declared import read_table
from medim.common.errors import UserError, unknown

WEIGHTS = "MEDIM_BENCH_WEIGHTS"


@dataclass(frozen=True)
class Source:
    """What a metric of this process reads."""

    title: str
    files: tuple[str, ...]  # that its folder has to hold
    source: str  # the public names of the files, where they are to be had
    licence: str  # terms of the weights
    aligns: tuple[str, ...] = ()  # of a model that joins images and texts: the domains that it knows
    option: str = ""  # of one that is used only where an option names it: that option
    recipe: str = ""  # of one that needs an environment for which no recipe is shipped: what a recipe has to install


SOURCES = read_table(Path(__file__).with_name("sources.yaml"), dict[str, Source])


def variable(name: str) -> str:
    """The environment variable that names a metric's folder."""
    return f"MEDIM_{name.upper().replace('-', '_')}"


def weights_folder(name: str) -> Path | None:
    """The folder of a metric; None where nothing names one."""
    if named := os.environ.get(variable(name)):
        return Path(named)
    shared = os.environ.get(WEIGHTS)
    return Path(shared) / name if shared and (Path(shared) / name).is_dir() else None


def place_of(name: str) -> str:
    """What goes where for a metric of `SOURCES`, in words."""
    listed = " and ".join(f"'{file}'" for file in SOURCES[name].files)
    return f"{listed} into one folder and name it by {variable(name)}, or by '{name}' in the folder {WEIGHTS}"


def find_weights(name: str) -> Path:
    """The folder of a metric of `SOURCES`, with all its files. Raises UserError that names what is missing, and its source."""
    if name not in SOURCES:
        raise unknown("metric with weights", name, SOURCES)
    needed, folder = SOURCES[name], weights_folder(name)
    if folder is None:
        raise UserError(f"{needed.title}'s files are missing: put {place_of(name)}; source: {needed.source}")
    for file in needed.files:
        if not (folder / file).is_file():
            raise UserError(f"{needed.title}: folder '{folder}' holds no '{file}'; source: {needed.source}")
    return folder
