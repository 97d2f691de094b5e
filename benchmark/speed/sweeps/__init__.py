"""Sweeps: samplers as data. Each YAML file beside this one is a sweep of that name."""

from importlib.resources import files
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from medim.common.declared import checked, read_mapping
from medim.common.errors import UserError, unknown
from medim.sampling.settings import SamplerSettings

TASKS = ("joint-generation", "image-generation", "report-generation")


class Sweep(BaseModel):
    """What `medim-bench speed sample` compares.

    Attributes:
        title: one line, for people.
        tasks: what is generated: pairs, images of reports, reports of images.
        samplers: by name, what differs from the model's own sampler, such as `{"image.steps": 8}`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    tasks: tuple[str, ...] = Field(default=TASKS[:1], min_length=1)
    samplers: dict[str, dict[str, str | int | float]] = Field(min_length=1)

    def settings(self, own: SamplerSettings) -> dict[str, SamplerSettings]:
        """The samplers by name, `own` changed as each says.

        Raises:
            UserError: an unknown setting or a value out of range; the line names the sampler.
        """
        result = {}
        for name, changes in self.samplers.items():
            try:
                result[name] = own.with_overrides(dict(changes))
            except UserError as error:
                raise UserError(f"sampler '{name}' of the sweep: {error}") from error
        return result


def names() -> list[str]:
    """The sweeps there are."""
    return sorted(Path(item.name).stem for item in files(__name__).iterdir() if item.name.endswith(".yaml"))


def load_sweep(name: str) -> Sweep:
    """The sweep of this name, or in this YAML file.

    Raises:
        UserError: neither, or a file that is no sweep; the line names file and field.
    """
    path = Path(name)
    if name in names():
        text = files(__name__).joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    elif path.is_file():
        text = path.read_text(encoding="utf-8")
    elif path.suffix in (".yaml", ".yml"):
        raise UserError(f"--sweep {name}: no such file")
    else:
        raise unknown("sweep", name, names())
    sweep = checked(Sweep, read_mapping(text, f"sweep {name}"), f"sweep {name}")
    for task in sweep.tasks:
        if task not in TASKS:
            raise UserError(f"sweep {name}: {unknown('task', task, TASKS)}")
    return sweep
