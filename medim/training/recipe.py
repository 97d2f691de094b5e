"""Recipes: YAML files that hold everything a training depends on, with `extends: NAME` and `key=value` overrides."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from transformers import SchedulerType

from medim.backbones.adaln import Gating
from medim.backbones.backbone import Attention, Timestep
from medim.canvas import Order
from medim.common.declared import checked, read_mapping, read_yaml
from medim.common.errors import UserError, unknown
from medim.denoiser import CHOICES, Alignment, Objective, Positions
from medim.diffusion.transition import Process
from medim.training.corruption import JOINT, TIMES

RECIPES = Path(__file__).parent / "recipes"
Recipe = TypeVar("Recipe", bound=BaseModel)

Count = Annotated[int, Field(ge=1, le=10**9)]
Steps = Annotated[int, Field(ge=0, le=10**9)]
Size = Annotated[int, Field(ge=1, le=1 << 16)]
Rate = Annotated[float, Field(ge=1e-12, le=1)]
Weight = Annotated[float, Field(ge=0, le=1e6)]
Share = Annotated[float, Field(ge=0, lt=1)]
Seed = Annotated[int, Field(ge=0, lt=1 << 32)]
TRAINING_ARGUMENTS = (
    *("learning_rate", "lr_scheduler_type", "warmup_steps", "weight_decay", "adam_beta1", "adam_beta2", "max_grad_norm"),
    *("max_steps", "per_device_train_batch_size", "gradient_accumulation_steps", "bf16", "seed"),
    *("logging_steps", "eval_steps", "save_steps", "save_total_limit"),
)
"""Fields that go to transformers' TrainingArguments under the same name."""
NEED_MORE = {"cosine_with_min_lr", "cosine_warmup_with_min_lr", "warmup_stable_decay"}
SCHEDULERS = tuple(sorted({scheduler.value for scheduler in SchedulerType} - NEED_MORE))
"""Values of `lr_scheduler_type`: those of transformers that need no arguments beside a recipe's."""


class RecipeFields(BaseModel):
    """No unknown key, no NaN and no infinity."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ModelRecipe(RecipeFields):
    """How a model is built and trained. Fields in `TRAINING_ARGUMENTS` mean what they mean in transformers."""

    # hub id, folder or GGUF file of a causal LM, or a configuration (a dictionary with `model_type`)
    backbone: str | dict[str, Any]
    # configuration of a backbone given by name, for planning where its files are not at hand
    backbone_shape: dict[str, Any] | None = None
    # `dit` or `unidisc`: a backbone of as many random weights in place of `backbone`, whose tokenizer stays
    replaced_by: Literal["dit", "unidisc"] | None = None
    pretrained: bool = True  # start from the backbone's weights; a configuration has none
    layers: int | None = Field(default=None, ge=1, le=4096)  # first so many blocks; all where empty
    image_tokenizer: str | None = None  # folder of a trained image tokenizer, or the name of a shipped one
    # train a BPE of this size on the training reports; the backbone's tokenizer where empty
    report_vocabulary: int | None = Field(default=None, ge=300, le=1 << 20)
    report_length: int = Field(ge=2, le=1 << 15)  # report tokens, EOS and padding included
    # attention, order, logit_alignment, timestep, objective, gating, transition, positions: see `medim.denoiser.MeDiMConfig`
    attention: Attention = "bidirectional"
    order: Order = "image-report"
    logit_alignment: Alignment = "own"
    timestep: Timestep = "adaln"
    objective: Objective = "diffusion"
    gating: Gating = "identity"
    transition: Process = "absorbing"
    positions: Positions = "rotary"
    # id of the first image code that the backbone knows (Liquid: 256000); none where empty
    backbone_image_offset: int | None = Field(default=None, ge=1, le=1 << 24)
    # of the noise in training; see `medim.diffusion.schedule`
    schedule: Literal["log-linear", "cosine", "polynomial"] = "log-linear"
    mask_annealing: Steps = 0  # steps over which the causal mask is annealed away; 0 removes it at once
    # gamma of the soft min-SNR weight in place of w(t); w(t) where empty
    min_snr: float | None = Field(default=None, ge=1e-6, le=1e6)
    graft_codebook: bool = True  # start image rows and head from the codebook instead of from noise
    mixture: dict[str, Weight] = Field(default=JOINT)  # how often each task of `medim.training.corruption.TIMES` occurs
    # image_weight, report_weight: of the two modalities in the loss, each per position of its modality
    image_weight: Weight = 1.0
    report_weight: Weight = 1.0
    # cap on w(t) in the loss (never in a reported bound); no cap where empty
    largest_weight: float | None = Field(default=None, gt=1, le=1e6)
    optimizer: Literal["adamw", "muon"] = "adamw"  # `adamw`, or `muon` for the blocks' matrices with AdamW for the rest
    muon_learning_rate: Rate = 1e-2  # peak rate of the Muon part
    # transformers' attention kernel while training
    attn_implementation: Literal["sdpa", "eager", "flash_attention_2", "flash_attention_3"] = "sdpa"
    torch_compile: bool = False  # compile the backbone, where a compiler is found
    # of the moving average of the weights that is validated and saved; none where empty
    ema_decay: float | None = Field(default=None, gt=0, lt=1)
    # lora_rank, lora_alpha: train low-rank updates of the backbone's matrices; see `medim.training.optimization`
    lora_rank: Size | None = None
    lora_alpha: float = Field(default=16.0, ge=1e-6, le=1e6)
    # length of the first of the cosine cycles that follow the warm-up, each twice as long as the one before (the paper);
    # `lr_scheduler_type` decides where empty
    restart_steps: Count | None = None
    tensorboard: bool = False  # write a TensorBoard log into `runs/` of the folder as well
    train_limit: Count | None = None  # first so many training pairs; all where empty
    # eval_pairs, eval_draws: validation pairs, and noise draws for each, of the validation bound
    eval_pairs: Count = 256
    eval_draws: Size = 4

    learning_rate: Rate = 1e-4
    lr_scheduler_type: str = "cosine"
    warmup_steps: Steps = 100
    weight_decay: float = Field(default=0.0, ge=0, le=100)
    adam_beta1: Share = 0.9
    adam_beta2: Share = 0.999
    max_grad_norm: Weight = 1.0
    max_steps: Count
    per_device_train_batch_size: Size = 8
    gradient_accumulation_steps: Size = 1
    gradient_checkpointing: bool = False
    bf16: bool = False
    logging_steps: Count = 20
    eval_steps: Count = 500
    save_steps: Count = 500
    save_total_limit: Count = 2
    seed: Seed = 0

    @field_validator("mixture")
    @classmethod
    def _tasks_exist(cls, mixture: dict[str, float]) -> dict[str, float]:
        for task in mixture:
            if task not in TIMES:
                raise unknown("training task in the mixture", task, TIMES)
        if not any(mixture.values()):
            raise ValueError("no task has a positive weight")
        return mixture

    @field_validator("lr_scheduler_type")
    @classmethod
    def _scheduler_exists(cls, name: str) -> str:
        if name not in SCHEDULERS:
            raise unknown("lr_scheduler_type", name, SCHEDULERS)
        return name

    @model_validator(mode="after")
    def _fields_agree(self) -> Self:
        if self.mask_annealing and self.torch_compile:
            raise ValueError("mask_annealing changes the mask at every step: it needs torch_compile=false")
        if self.mask_annealing and self.attention == "causal":
            raise ValueError("mask_annealing removes the causal mask, which attention=causal keeps")
        noised = {name for name, weight in self.mixture.items() if weight} if self.objective == "diffusion" else set()
        image, report = self.image_weight, self.report_weight
        if not image + report or (not image and noised == {"report-given"}) or (not report and noised == {"image-given"}):
            raise ValueError("image_weight and report_weight leave nothing to learn of what the mixture noises: raise one")
        if self.draws(1) > 10**15:
            raise ValueError("max_steps * per_device_train_batch_size * gradient_accumulation_steps is above 10^15 draws")
        return self

    def draws(self, processes: int) -> int:
        """Training draws of the whole run."""
        return self.max_steps * self.per_device_train_batch_size * self.gradient_accumulation_steps * processes

    @property
    def starts_pretrained(self) -> bool:
        """Whether the backbone has weights and the model starts from them."""
        return self.pretrained and isinstance(self.backbone, str) and self.replaced_by is None

    def model_fields_of_config(self) -> dict[str, Any]:
        """The fields that `MeDiMConfig` shares with the recipe."""
        return {key: getattr(self, key) for key in (*CHOICES, "report_length")}


def presets(suffix: str) -> dict[str, Path]:
    """Shipped recipes by name: `NAME{suffix}.yaml`; model recipes have no suffix, tokenizer recipes `-tokenizer`."""
    files = {path.stem: path for path in RECIPES.glob("*.yaml")}
    if suffix:
        return {stem.removesuffix(suffix): path for stem, path in files.items() if stem.endswith(suffix)}
    return {stem: path for stem, path in files.items() if not stem.endswith("-tokenizer")}


def load_recipe(kind: type[Recipe], name_or_path: str | Path, suffix: str, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe of a preset (see `presets`) or a YAML file, with overrides `key=value` or `key.inner=value` in YAML.
    Raises UserError: unknown name, key or value; broken YAML."""
    name, known = str(name_or_path), presets(suffix)
    if name in known:
        path = known[name]
    elif Path(name).is_file():
        path = Path(name)
    elif name.endswith((".yaml", ".yml")) or "/" in name:
        raise UserError(f"recipe '{name}' does not exist")
    else:
        raise unknown("preset", name, known)
    values = _read(path, suffix)
    for override in overrides:
        apply(values, override, kind)
    return check(kind, values, path.name)


def _read(path: Path, suffix: str) -> dict[str, Any]:
    """The keys of a file, upon those of the preset that it `extends`."""
    values = read_mapping(path.read_bytes(), f"recipe '{path}'")
    base = values.pop("extends", None)
    if base is None:
        return values
    known = presets(suffix)
    if not isinstance(base, str) or base not in known or known[base] == path:
        raise unknown(f"preset that {path.name} extends", str(base), known)
    return {**_read(known[base], suffix), **values}


def apply(values: dict[str, Any], override: str, kind: type[BaseModel]) -> None:
    """Sets `key=value` or `key.inner=value` in `values`, in place."""
    key, equals, text = override.partition("=")
    if not equals:
        raise UserError(f"--set {override}: not of the form key=value")
    value = read_yaml(text, f"--set {key}")
    first, *inner = key.strip().split(".")
    if first not in kind.model_fields:
        raise unknown("recipe key", first, kind.model_fields)
    if not inner:
        values[first] = value
        if first == "backbone":
            values.pop("backbone_shape", None)  # of the one that it replaces
        return
    place = values.setdefault(first, {})
    if not isinstance(place, dict) or len(inner) != 1:
        raise UserError(f"--set {override}: '{first}' has no inner keys here")
    values[first] = {**place, inner[0]: value}


def check(kind: type[Recipe], values: dict[str, Any], source: str) -> Recipe:
    """The recipe of `values`; `source` is named in the errors.
    Raises UserError: a key that does not exist (with the nearest), or the first value that does not fit."""
    for key in values:
        outer, dot, inner = str(key).partition(".")
        if dot and outer in kind.model_fields:
            raise UserError(f"recipe {source}: key '{key}' is for --set; in a file write {outer}: {{{inner}: ...}}")
    return checked(kind, values, f"recipe {source}")
