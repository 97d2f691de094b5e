"""Everything that a model's training depends on, in one flat file with no unknown keys."""

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator
from transformers import SchedulerType

from medim.common.errors import unknown
from medim.denoiser import CHOICES
from medim.training.corruption import Mixture
from medim.training.recipe_file import Count, Rate, RecipeFields, Seed, Share, Size, Steps, Weight

TRAINING_ARGUMENTS = (
    "learning_rate",
    "lr_scheduler_type",
    "warmup_steps",
    "weight_decay",
    "adam_beta1",
    "adam_beta2",
    "max_grad_norm",
    "max_steps",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "bf16",
    "logging_steps",
    "eval_steps",
    "save_steps",
    "save_total_limit",
    "seed",
)
"""Fields that go to transformers' TrainingArguments under the same name."""
NEED_MORE = {"cosine_with_min_lr", "cosine_warmup_with_min_lr", "warmup_stable_decay"}
SCHEDULERS = tuple(sorted({scheduler.value for scheduler in SchedulerType} - NEED_MORE))
"""Values of `lr_scheduler_type`: transformers' own, but for those that need arguments which a recipe does not have."""


class ModelRecipe(RecipeFields):
    """How a model is built and trained. Fields in `TRAINING_ARGUMENTS` mean what they mean in transformers.

    Attributes:
        backbone: hub id, folder or GGUF file of a causal LM, or a configuration (a dictionary with `model_type`).
        backbone_shape: configuration of a backbone given by name, for planning where its files are not at hand.
        replaced_by: `dit` or `unidisc`: a backbone from random weights with as many parameters stands in for `backbone`, whose
            tokenizer stays.
        pretrained: start from the backbone's weights; a configuration has none.
        layers: keep the first so many blocks; all where empty.
        image_tokenizer: folder of a trained image tokenizer, or the name of a shipped one; where empty it must be given.
        report_vocabulary: train a BPE of this size on the training reports; the backbone's own tokenizer where empty.
        report_length: report tokens, EOS and padding included.
        attention, order, logit_alignment, timestep, objective, gating, transition, positions: see
            `medim.denoiser.MeDiMConfig`.
        backbone_image_offset: id of the first image code that the backbone itself knows (Liquid: 256000); none where empty.
        schedule: of the noise in training, `log-linear`, `cosine` or `polynomial`; see `medim.diffusion.schedule`.
        mask_annealing: steps over which the causal mask is opened bit by bit; 0 removes it at once.
        min_snr: gamma of the soft min-SNR weight in place of w(t); w(t) where empty.
        graft_codebook: start image rows and head from the codebook instead of from noise.
        mixture: how often each task of `medim.training.corruption.MODES` occurs.
        image_weight, report_weight: of the two modalities in the loss, each per position of its modality.
        largest_weight: cap on w(t) in the loss (never in a reported bound); no cap where empty.
        optimizer: `adamw`, or `muon` for the blocks' matrices with AdamW for the rest.
        muon_learning_rate: peak rate of the Muon part.
        attn_implementation: transformers' attention kernel while training (`sdpa`, `eager`, `flash_attention_2`, ...).
        torch_compile: compile the backbone (needs a C++ compiler, or Triton and a C compiler on a GPU; passed over without).
        ema_decay: of the moving average of the weights that is validated and saved; none where empty.
        lora_rank, lora_alpha: train low-rank updates of the backbone's matrices in place of the matrices; see
            `medim.training.lora`.
        restart_steps: length of the first of the cosine cycles that follow the warm-up, each twice as long as the one before
            (the paper); `lr_scheduler_type` decides where empty.
        tensorboard: write a TensorBoard log into `runs/` of the folder as well.
        gradient_checkpointing: recompute activations in the backward pass.
        train_limit: first so many training pairs; all where empty.
        eval_pairs, eval_draws: validation pairs and noise draws for each in the validation bound.
    """

    backbone: str | dict[str, Any]
    backbone_shape: dict[str, Any] | None = None
    replaced_by: Literal["dit", "unidisc"] | None = None
    pretrained: bool = True
    layers: int | None = Field(default=None, ge=1, le=4096)
    image_tokenizer: str | None = None
    report_vocabulary: int | None = Field(default=None, ge=300, le=1 << 20)
    report_length: int = Field(ge=2, le=1 << 15)
    attention: Literal["bidirectional", "causal"] = "bidirectional"
    order: Literal["image-report", "report-image"] = "image-report"
    logit_alignment: Literal["own", "shift"] = "own"
    timestep: Literal["adaln", "additive", "none"] = "adaln"
    objective: Literal["diffusion", "autoregressive"] = "diffusion"
    gating: Literal["identity", "zero", "released"] = "identity"
    transition: Literal["absorbing", "uniform", "hybrid"] = "absorbing"
    positions: Literal["rotary", "learned"] = "rotary"
    backbone_image_offset: int | None = Field(default=None, ge=1, le=1 << 24)
    schedule: Literal["log-linear", "cosine", "polynomial"] = "log-linear"
    mask_annealing: Steps = 0
    min_snr: float | None = Field(default=None, ge=1e-6, le=1e6)
    graft_codebook: bool = True
    mixture: dict[str, Weight] = Field(default={"joint": 1.0})
    image_weight: Weight = 1.0
    report_weight: Weight = 1.0
    largest_weight: float | None = Field(default=None, gt=1, le=1e6)
    optimizer: Literal["adamw", "muon"] = "adamw"
    muon_learning_rate: Rate = 1e-2
    attn_implementation: Literal["sdpa", "eager", "flash_attention_2", "flash_attention_3"] = "sdpa"
    torch_compile: bool = False
    ema_decay: float | None = Field(default=None, gt=0, lt=1)
    lora_rank: Size | None = None
    lora_alpha: float = Field(default=16.0, ge=1e-6, le=1e6)
    restart_steps: Count | None = None
    tensorboard: bool = False
    train_limit: Count | None = None
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
        Mixture(mixture)
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
        told = {name for name, weight in self.mixture.items() if weight} if self.objective == "diffusion" else set()
        image, report = self.image_weight, self.report_weight
        if not image + report or (not image and told == {"report-given"}) or (not report and told == {"image-given"}):
            raise ValueError("image_weight and report_weight leave nothing to learn of what the mixture noises: raise one")
        if self.draws(1) > 10**15:
            raise ValueError("max_steps * per_device_train_batch_size * gradient_accumulation_steps is above 10^15 draws")
        return self

    def draws(self, processes: int) -> int:
        """Training draws of the whole run in so many processes."""
        return self.max_steps * self.per_device_train_batch_size * self.gradient_accumulation_steps * processes

    @property
    def starts_pretrained(self) -> bool:
        """Whether the backbone has weights and the model starts from them; a configuration, or what stands in, has none."""
        return self.pretrained and isinstance(self.backbone, str) and self.replaced_by is None

    def model_fields_of_config(self) -> dict[str, Any]:
        """The fields that `MeDiMConfig` shares with the recipe."""
        return {key: getattr(self, key) for key in (*CHOICES, "report_length")}
