"""Suites: runs as data. Each YAML file beside this one is a suite of that name."""

from importlib.resources import files
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from medim.common.declared import checked, read_mapping
from medim.common.errors import unknown


class Suite(BaseModel):
    """What `medim-bench run --suite NAME` runs; the command line's own options come before it.
    `title`: one line, for people.
    `model`, `split`, `tasks`, `limit`, `seed`, `batch_size`, `resolution`, `protocol`, `features`: as the options of `run`.
    Without a model the command line has to give one.
    `data`: a data set or several, each run into a folder of its own; None where the command line has to give them.
    `needs`: what `data` has to be, for the message that asks for it.
    `out`: where the run goes by default.
    `set`: overrides of the configuration, as with `--set`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    model: str | None = None
    data: str | tuple[str, ...] | None = None
    needs: str | None = None
    split: str = "test"
    tasks: tuple[str, ...] = Field(min_length=1)
    limit: int | None = Field(default=None, ge=1)
    seed: int = Field(default=0, ge=0)
    batch_size: int = Field(default=64, ge=1)
    resolution: int | None = Field(default=None, ge=8)
    protocol: str = "strict-v1"
    features: tuple[str, ...] = ("efficientnet-lite0",)
    out: Path
    set: dict[str, str] = {}

    @property
    def data_sets(self) -> list[str]:
        """The data sets, none where they are to be given."""
        return [] if self.data is None else [self.data] if isinstance(self.data, str) else list(self.data)

    @property
    def hint(self) -> str:
        """What the data have to be, as the end of a sentence."""
        return "" if self.needs is None else f" ({self.needs})"


def names() -> list[str]:
    """The suites there are."""
    return sorted(Path(item.name).stem for item in files(__name__).iterdir() if item.name.endswith(".yaml"))


def load_suite(name: str) -> Suite:
    """The suite of this name. Raises UserError: no such suite; or a field of it is unknown, missing or invalid."""
    if name not in names():
        raise unknown("suite", name, names())
    return parse_suite((files(__name__) / f"{name}.yaml").read_text(encoding="utf-8"), f"{name}.yaml")


def parse_suite(text: str, where: str) -> Suite:
    """Reads a suite from YAML; `where` is how an error names the file.
    Raises UserError: broken YAML; an unknown, missing or invalid field."""
    return checked(Suite, read_mapping(text, where), where)
