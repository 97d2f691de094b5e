"""Everything that a model's training depends on, in one flat file with no unknown keys."""

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from transformers import SchedulerType

from medim.denoiser import CHOICES
from medim.errors import unknown
from medim.training.corruption import Mixture

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


class ModelRecipe(BaseModel):
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

    model_config = ConfigDict(extra="forbid", frozen=True)

    backbone: str | dict[str, Any]
    backbone_shape: dict[str, Any] | None = None
    replaced_by: Literal["dit", "unidisc"] | None = None
    pretrained: bool = True
    layers: int | None = Field(default=None, gt=0)
    image_tokenizer: str | None = None
    report_vocabulary: int | None = Field(default=None, ge=300)
    report_length: int = Field(gt=1)
    attention: Literal["bidirectional", "causal"] = "bidirectional"
    order: Literal["image-report", "report-image"] = "image-report"
    logit_alignment: Literal["own", "shift"] = "own"
    timestep: Literal["adaln", "additive", "none"] = "adaln"
    objective: Literal["diffusion", "autoregressive"] = "diffusion"
    gating: Literal["identity", "zero", "released"] = "identity"
    transition: Literal["absorbing", "uniform", "hybrid"] = "absorbing"
    positions: Literal["rotary", "learned"] = "rotary"
    backbone_image_offset: int | None = Field(default=None, gt=0)
    schedule: Literal["log-linear", "cosine", "polynomial"] = "log-linear"
    mask_annealing: int = Field(default=0, ge=0)
    min_snr: float | None = Field(default=None, gt=0)
    graft_codebook: bool = True
    mixture: dict[str, float] = {"joint": 1.0}
    image_weight: float = Field(default=1.0, ge=0)
    report_weight: float = Field(default=1.0, ge=0)
    largest_weight: float | None = Field(default=None, gt=1)
    optimizer: Literal["adamw", "muon"] = "adamw"
    muon_learning_rate: float = Field(default=1e-2, gt=0)
    attn_implementation: str = "sdpa"
    torch_compile: bool = False
    ema_decay: float | None = Field(default=None, gt=0, lt=1)
    lora_rank: int | None = Field(default=None, gt=0)
    lora_alpha: float = Field(default=16.0, gt=0)
    restart_steps: int | None = Field(default=None, gt=0)
    tensorboard: bool = False
    train_limit: int | None = Field(default=None, gt=0)
    eval_pairs: int = Field(default=256, gt=0)
    eval_draws: int = Field(default=4, gt=0)

    learning_rate: float = Field(default=1e-4, gt=0)
    lr_scheduler_type: str = "cosine"
    warmup_steps: int = Field(default=100, ge=0)
    weight_decay: float = Field(default=0.0, ge=0)
    adam_beta1: float = 0.9
    adam_beta2: float = 0.999
    max_grad_norm: float = 1.0
    max_steps: int = Field(gt=0)
    per_device_train_batch_size: int = Field(default=8, gt=0)
    gradient_accumulation_steps: int = Field(default=1, gt=0)
    gradient_checkpointing: bool = False
    bf16: bool = False
    logging_steps: int = Field(default=20, gt=0)
    eval_steps: int = Field(default=500, gt=0)
    save_steps: int = Field(default=500, gt=0)
    save_total_limit: int = Field(default=2, gt=0)
    seed: int = Field(default=0, ge=0)

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
        return self

    def draws(self, processes: int) -> int:
        """Training draws of the whole run in so many processes."""
        return self.max_steps * self.per_device_train_batch_size * self.gradient_accumulation_steps * processes

    def model_fields_of_config(self) -> dict[str, Any]:
        """The fields that `MeDiMConfig` shares with the recipe."""
        return {key: getattr(self, key) for key in (*CHOICES, "report_length")}
