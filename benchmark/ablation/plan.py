"""What an ablation consists of: a training for each arm and seed, what is measured of it, and where it is stored."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from benchmark.ablation.arms import Arm
from medim.common.files import hash_files, hash_of, write_json
from medim.training.folder import refuse_another, remove
from medim.training.recipe import ModelRecipe, load_recipe

TRAINING, EVALUATION, DONE = "training.json", "evaluation.json", "done.json"
BEGUN = "generation begun"
CACHE, RUN = "cache", "run"


@dataclass(frozen=True)
class Evaluation:
    """How the likelihood of every arm is measured: on the first `pairs` of a split, with `draws` of the noise for each."""

    pairs: int = 256
    draws: int = 8
    seed: int = 0
    split: str = "val"


@dataclass(frozen=True)
class Generation:
    """How every arm samples, and on what it is scored: the options of `medim-bench run`."""

    limit: int = 64
    split: str = "test"
    batch_size: int = 32
    sampling: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Job:
    """One arm with one seed. `settings` are `key=value` of the recipe, all of them."""

    arm: str
    seed: int
    preset: str
    data: str
    out: Path
    settings: tuple[str, ...]
    evaluation: Evaluation
    generation: Generation | None
    command: str = ""
    device: str | None = None

    @property
    def folder(self) -> Path:
        return self.out / self.arm / f"seed-{self.seed}"

    @property
    def name(self) -> str:
        return f"{self.arm} seed {self.seed}"

    def recipe(self) -> ModelRecipe:
        return load_recipe(ModelRecipe, self.preset, "", self.settings)

    def to_json(self) -> str:
        return TypeAdapter(Job).dump_json(self).decode()

    @classmethod
    def from_json(cls, text: str) -> "Job":
        return TypeAdapter(Job).validate_json(text)

    def trained(self, fingerprint: str) -> bool:
        """Whether the training of this recipe on this data has ended.
        Raises UserError: it is of another recipe or of other data."""
        refuse_another(self.folder, {"recipe": self.recipe().model_dump(), "data_fingerprint": fingerprint})
        return (self.folder / TRAINING).is_file() and any(self.folder.glob("*.safetensors"))

    def keys(self) -> dict[str, str]:
        """What follows the training, evaluation and generation: the hashes that `DONE` holds once they are there."""
        training = hash_files(self.folder / TRAINING)
        requested: dict[str, Any] = {"evaluation": asdict(self.evaluation)}
        if self.generation is not None:
            requested["generation"] = asdict(self.generation)
        return {name: hash_of([training, value]) for name, value in requested.items()}

    def missing(self, fingerprint: str) -> list[str]:
        """Which of training, evaluation and generation are still to be done."""
        if not self.trained(fingerprint):
            return ["training", "evaluation", *(["generation"] if self.generation is not None else [])]
        done = self.done()
        return [name for name, key in self.keys().items() if done.get(name) != key]

    def done(self) -> dict[str, str]:
        path = self.folder / DONE
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}

    def mark(self, name: str) -> None:
        """Notes that evaluation or generation is done."""
        write_json(self.folder / DONE, {**self.done(), name: self.keys()[name]})

    def begin_generation(self) -> None:
        """Removes the samples of another sampler, limit or training; those of an interrupted generation are continued."""
        done, key = self.done(), self.keys()["generation"]
        if done.get(BEGUN, done.get("generation", key)) != key:
            remove(self.folder, RUN)
        write_json(self.folder / DONE, {**done, BEGUN: key})


@dataclass(frozen=True)
class Plan:
    """All trainings of an ablation, in the order in which they are done: seed by seed, so that every arm has its first soon.
    `left_out`: arms that change nothing in this preset, with the reason."""

    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    jobs: tuple[Job, ...]
    left_out: Mapping[str, str]

    def jobs_of(self, arm: str) -> list[Job]:
        return [job for job in self.jobs if job.arm == arm]


def make_plan(
    arms: Sequence[Arm],
    seeds: Sequence[int],
    settings: Sequence[str],
    *,
    preset: str,
    tokenizer: str | None = None,
    steps: int | None = None,
    **shared: Any,
) -> Plan:
    """The trainings of arms and seeds: recipe = preset, then `settings`, then the arm's, then the seed. `settings`: `key=value`
    of the recipe, as are `tokenizer` and `steps`. `shared`: fields of `Job` that all trainings have alike. Raises UserError: a
    mistake in the preset or in an override; every arm changes nothing."""
    settings = [*settings, *([] if tokenizer is None else [f"image_tokenizer={tokenizer}"])]
    settings += [] if steps is None else [f"max_steps={steps}"]
    length = load_recipe(ModelRecipe, preset, "", settings).max_steps

    def job(arm: Arm, seed: int) -> Job:
        return Job(arm.name, seed, preset, settings=(*settings, *arm.settings(length), f"seed={seed}"), **shared)

    kept: dict[str, Arm] = {}
    left_out: dict[str, str] = {}
    for arm in arms:
        if arm.base is not None and arm.base in kept and _shape(job(arm, 0)) == _shape(job(kept[arm.base], 0)):
            left_out[arm.name] = f"in preset '{preset}' it is the same as '{arm.base}'"
        elif arm.base in left_out:
            left_out[arm.name] = f"its base '{arm.base}' is left out"
        else:
            kept[arm.name] = arm
    jobs = tuple(job(arm, seed) for seed in seeds for arm in kept.values())
    return Plan(tuple(kept.values()), tuple(seeds), jobs, left_out)


def _shape(job: Job) -> dict[str, Any]:
    """The recipe, but for what changes no result."""
    recipe = job.recipe().model_dump()
    if isinstance(recipe["backbone"], dict):  # a configuration has no weights to start from
        recipe["pretrained"] = False
    beside = ("torch_compile", "attn_implementation", "backbone_shape")
    return {key: value for key, value in recipe.items() if key not in beside}


def train_command(job: Job) -> list[str]:
    """The command that does this training by itself."""
    settings = [part for setting in job.settings for part in ("--set", setting)]
    return ["medim-bench", "train", "model", "--preset", job.preset, "--data", job.data, "--out", str(job.folder), *settings]
