"""An environment for one metric: a folder with a Python of the metric alone, built from a recipe.

recipe.yaml       what is installed, what the metric gives, what it needs (`Recipe`)
metric.py         is run there: `python metric.py IN OUT`, see `jsonl.py`
medim_metric.py   reads and writes these files
venv/             Python and packages
weights/          the user's files: the metric's cache folder, which nothing here fills
environment.json  written last: what was installed
"""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from pydantic import BaseModel, ConfigDict, Field, field_validator

from medim.common.declared import checked, read_mapping
from medim.common.errors import UserError, plain, unknown
from medim.common.files import hash_files, hash_of, read_json, read_text, write_json
from tasks.metrics.weights import WEIGHTS, variable, weights_folder

RECIPES = Path(__file__).with_name("recipes")
RECIPE, WHOLE, HELPER = "recipe.yaml", "environment.json", "medim_metric.py"
Task = Literal["report-generation", "image-generation", "joint-generation"]
_WINDOWS = os.name == "nt"


class Gives(BaseModel):
    """One value of a metric. `better`: which way; None for a descriptive value. `missing`: the value of a case without an
    answer; None: such a case withholds the metric."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    better: Literal["higher", "lower"] | None = None
    missing: float | None = None

    @property
    def higher(self) -> bool | None:
        return None if self.better is None else self.better == "higher"


class Recipe(BaseModel):
    """What a metric is, and the packages that it runs on."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    title: str  # of its columns; of several values each has its name behind it
    version: str  # raised with every change of a value
    python: str = ""  # versions that it runs on, such as ">=3.9,<3.13"
    requirements: tuple[str, ...] = ()  # what pip installs; nothing: the environment has the standard library alone
    bare: tuple[str, ...] = ()  # what pip installs without the packages that these ask for
    script: str = "metric.py"
    values: dict[str, Gives] = Field(default_factory=dict)  # of each case, by name; the column is their mean over cases
    corpus: dict[str, Gives] = Field(default_factory=dict)  # of all cases together
    tasks: tuple[Task, ...] = ("report-generation",)  # that it scores
    domains: tuple[str, ...] = ()  # of the cases that it scores; none: all
    images: bool = False  # whether a line has `image`, the path of a PNG file
    timeout: int = Field(3600, ge=1)  # seconds for one system
    weights: tuple[str, ...] = ()  # files and folders that have to be in `weights/`
    source: str = ""  # where these are to be had
    licence: str = ""  # their terms

    @field_validator("python")
    @classmethod
    def _specifier(cls, value: str) -> str:
        try:
            SpecifierSet(value)
        except InvalidSpecifier as error:
            raise ValueError(f"no range of versions, such as '>=3.9,<3.13': {error}") from None
        return value

    def columns(self) -> dict[str, Gives]:
        """What it gives, by the name of the column."""
        return {self.column(name): gives for name, gives in {**self.values, **self.corpus}.items()}

    def column(self, value: str) -> str:
        return self.title if len(self.values) + len(self.corpus) == 1 else f"{self.title}, {value}"


def read_recipe(folder: Path) -> Recipe:
    """The recipe of a folder. Raises UserError: there is none, or it is not as it should be."""
    recipe = checked(Recipe, read_mapping(read_text(folder / RECIPE), str(folder / RECIPE)), str(folder / RECIPE))
    if not recipe.values and not recipe.corpus:
        raise UserError(f"{folder / RECIPE}: neither 'values' nor 'corpus' names what the metric gives")
    if not (folder / recipe.script).is_file():
        raise UserError(f"{folder / RECIPE}: field 'script': no file '{folder / recipe.script}'")
    return recipe


def shipped() -> dict[str, Path]:
    """The recipes of this package, by name."""
    return {path.parent.name: path.parent for path in sorted(RECIPES.glob(f"*/{RECIPE}"))}


@dataclass(frozen=True)
class Environment:
    """A whole environment."""

    name: str
    folder: Path
    recipe: Recipe

    @classmethod
    def opened(cls, name: str, folder: Path, weights: bool = True) -> "Environment":
        """The environment of a folder. Raises UserError: it is not whole, or lacks weights (`weights` false: they may)."""
        if not (folder / WHOLE).is_file():
            raise UserError(
                f"'{folder}' is no whole metric environment: medim-bench metric-environment make {name} --out {folder}"
            )
        recipe = read_recipe(folder)
        absent = [file for file in recipe.weights if not (folder / "weights" / file).exists()]
        if weights and absent:
            raise UserError(f"{recipe.title}: '{folder / 'weights'}' holds no '{absent[0]}'; source: {recipe.source}")
        return cls(name, folder, recipe)

    @property
    def python(self) -> Path:
        return python_of(self.folder)

    @cached_property
    def signature(self) -> dict[str, Any]:
        """What has to be equal for two values to be comparable: recipe and script, Python, packages, weights."""
        files = [self.folder / RECIPE, self.folder / self.recipe.script]
        weights = weight_files(self.folder)
        return {
            "environment": f"{self.name} {self.recipe.version}",
            "recipe": hash_files(*files),
            "python": read_json(self.folder / WHOLE)["python"],
            "packages": hash_of(packages(self.folder)),
            "weights": hash_files(*weights) if weights else None,
        }


def state(folder: Path) -> str:
    """Changes whenever a file of an environment does; cheap."""
    files = [file for file in [*sorted(folder.glob("*")), *weight_files(folder)] if file.is_file()]
    return hash_of([packages(folder), [[str(file), file.stat().st_size, file.stat().st_mtime_ns] for file in files]])


def python_of(folder: Path) -> Path:
    return folder / "venv" / ("Scripts/python.exe" if _WINDOWS else "bin/python")


def packages(folder: Path) -> list[str]:
    """Names and versions of what is installed now."""
    places = "Lib/site-packages" if _WINDOWS else "lib/python*/site-packages"
    return sorted(path.stem for path in (folder / "venv").glob(f"{places}/*.dist-info"))


def weight_files(folder: Path) -> list[Path]:
    """The files in `weights/`, links to files and folders followed, but for the locks that caches leave."""
    places = os.walk(folder / "weights", followlinks=True)
    found = (Path(place) / name for place, _, names in places for name in names)
    return sorted(path for path in found if path.is_file() and path.suffix != ".lock")


def environments() -> dict[str, Path | None]:
    """The folders of environments by name: those of the shipped recipes, None where there is none, and the user's."""
    found: dict[str, Path | None] = {name: weights_folder(name) for name in shipped()}
    shared = os.environ.get(WEIGHTS)
    for whole in sorted(Path(shared).glob(f"*/{WHOLE}")) if shared else ():
        found.setdefault(whole.parent.name, whole.parent)
    return found


def missing(name: str) -> UserError:
    """Why a shipped recipe's metric gives nothing: no folder is named."""
    recipe = read_recipe(shipped()[name])
    make = f"medim-bench metric-environment make {name} --out DIR"
    place = f"name DIR by {variable(name)}, or let it be '{name}' in the folder {WEIGHTS}"
    weights = f"; weights: {recipe.source} ({recipe.licence})" if recipe.source else ""
    return UserError(f"{recipe.title} needs a separate environment: {make}, and {place}{weights}")


def make(source: str, out: Path, python: str | None = None, overwrite: bool = False) -> Environment:
    """Makes an environment; an unfinished one of the same folder starts anew, `weights/` is left as it is.
    `source`: name of a shipped recipe, or a folder with `recipe.yaml`.
    `python`: the interpreter; by default this one.
    Raises UserError: an unknown recipe, a whole environment without `overwrite`, a folder with something else in it, another
    version of Python than it needs, or a package that cannot be installed."""
    folder = Path(source) if Path(source).is_dir() else shipped().get(source)
    if folder is None:
        raise unknown("recipe", source, shipped())
    recipe, name = read_recipe(folder), folder.resolve().name
    if (out / WHOLE).is_file() and not overwrite:
        raise UserError(f"'{out}' is a whole metric environment: --overwrite builds it anew")
    if out.is_dir() and any(path.name != "weights" for path in out.iterdir()) and not (out / RECIPE).is_file():
        raise UserError(f"'{out}' holds something else: an environment needs a folder to itself")
    interpreter = python or sys.executable
    version = _said([interpreter, "-c", "import platform; print(platform.python_version())"], interpreter)
    if version not in SpecifierSet(recipe.python):
        raise UserError(f"{recipe.title} needs Python {recipe.python}, and '{interpreter}' is {version}: name one by --python")
    (out / "weights").mkdir(parents=True, exist_ok=True)
    (out / WHOLE).unlink(missing_ok=True)
    for path in folder.iterdir():
        if path.is_file() and path.resolve().parent != out.resolve():
            shutil.copyfile(path, out / path.name)
    shutil.copyfile(Path(__file__).with_name("jsonl.py"), out / HELPER)
    wanted = [*recipe.requirements, *recipe.bare]
    _said([interpreter, "-m", "venv", "--clear", *([] if wanted else ["--without-pip"]), str(out / "venv")], "venv")
    for requirements, options in ((recipe.requirements, []), (recipe.bare, ["--no-deps"])):
        if requirements:
            pip = [str(python_of(out).absolute()), "-m", "pip", "install", "--disable-pip-version-check", "-q"]
            _said([*pip, *options, *requirements], "pip")
    write_json(out / WHOLE, {"name": name, "python": version, "packages": packages(out)})
    return Environment(name, out, recipe)


def _said(command: list[str], what: str) -> str:
    """What a command prints. Raises UserError with the line in which it says why it failed."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise UserError(f"'{what}' cannot be run: {error.strerror}") from error
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in lines if line.upper().startswith("ERROR")]
        raise UserError(f"{what} failed: {plain((errors or lines or ['status ' + str(done.returncode)])[-1])}")
    return done.stdout.strip()
