"""Training on the transformers Trainer: the diffusion loss, the validation bound, checkpoints, continuing after a kill."""

import json
import math
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from torch.utils.data import Dataset, SequentialSampler
from transformers import Trainer, TrainingArguments
from transformers.training_args import ParallelMode

from medim.common.errors import UserError
from medim.data.tokens.ahead import TokensAhead
from medim.data.tokens.cache import TokenSplit
from medim.denoiser import MeDiMModel
from medim.devices import can_compile, chosen_device
from medim.diffusion.schedule import schedule_named
from medim.likelihood.bound import CONDITIONS, likelihood
from medim.tokenizers.report import ReportTokenizer
from medim.training.callbacks import EMA, CtrlC, MetricsFile, MovingAverage
from medim.training.draws import Draws, WeightedRows
from medim.training.optimization import MuonWithAdamW, add_lora, cosine_with_doubling_restarts
from medim.training.recipe import TRAINING_ARGUMENTS, ModelRecipe
from medim.weights.files import KINDS, refuse_damaged
from medim.weights.loading import first_broken, refuse_incomplete, shapes_in, shapes_of


class DiffusionTrainer(Trainer):
    """The transformers Trainer with the diffusion loss and the validation bound."""

    def __init__(
        self,
        recipe: ModelRecipe,
        reports: ReportTokenizer,
        validation: TokenSplit,
        average: MovingAverage | None = None,
        **arguments: Any,
    ) -> None:
        super().__init__(**arguments)
        self.recipe, self.reports, self.validation, self.average = recipe, reports, validation, average
        self.model_accepts_loss_kwargs = False
        if average is not None:
            self.add_callback(average)

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> SequentialSampler:
        return SequentialSampler(train_dataset if train_dataset is not None else self.train_dataset)

    def create_optimizer(self, model: torch.nn.Module | None = None) -> torch.optim.Optimizer:
        if self.recipe.optimizer == "adamw":
            return super().create_optimizer()
        if self.optimizer is None:
            self.optimizer = MuonWithAdamW(
                self.model,
                self.recipe.learning_rate,
                self.recipe.muon_learning_rate,
                weight_decay=self.recipe.weight_decay,
                betas=(self.recipe.adam_beta1, self.recipe.adam_beta2),
            )
        return self.optimizer

    def create_scheduler(self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None):
        if self.recipe.restart_steps is None:
            return super().create_scheduler(num_training_steps, optimizer)
        if self.lr_scheduler is None:
            factor = partial(cosine_with_doubling_restarts, warmup=self.recipe.warmup_steps, first=self.recipe.restart_steps)
            self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer or self.optimizer, factor)
            self._created_lr_scheduler = True
        return self.lr_scheduler

    def compute_loss(self, model, inputs, return_outputs: bool = False, num_items_in_batch=None):
        """Sum over modalities of weight * mean over the batch of (`nelbo` in nats / positions of the modality)."""
        layout, recipe = self.model.config.layout, self.recipe
        t, schedule = inputs["t"], schedule_named(recipe.schedule)
        weight = torch.ones_like(t)
        if recipe.objective == "diffusion":
            weight = schedule.weight(t) if recipe.min_snr is None else schedule.min_snr_weight(t, recipe.min_snr)
        if recipe.largest_weight is not None:
            weight = weight.clamp(max=recipe.largest_weight)
        nats = model(
            tokens=inputs["noisy"],
            t=schedule.noise(t),
            noised=inputs["noised"],
            clean=inputs["tokens"],
            alpha=schedule.alpha(t),
            weight=weight,
            future=min(1.0, self.state.global_step / recipe.mask_annealing) if recipe.mask_annealing else 1.0,
            report_first=inputs["report_first"] if recipe.objective == "autoregressive" else None,
        )  # (B, 2)
        share = torch.tensor(
            [recipe.image_weight / layout.image_length, recipe.report_weight / layout.report_length], device=t.device
        )
        loss = (nats * share).sum(1).mean()
        return (loss, {"nats": nats}) if return_outputs else loss

    def training_step(self, model, inputs, num_items_in_batch=None) -> torch.Tensor:
        loss = super().training_step(model, inputs, num_items_in_batch)
        if not bool(loss.isfinite()):
            raise self.stopped(f"the loss is {loss.item()}", self.state.global_step + 1)
        return loss

    def _save_checkpoint(self, model, trial) -> None:
        self.refuse_broken_weights()
        super()._save_checkpoint(model, trial)

    def refuse_broken_weights(self) -> None:
        """Raises UserError where a weight or its moving average is not finite, before it is saved."""
        averaged = {} if self.average is None else self.average.average
        name = first_broken([*self.model.named_parameters(), *averaged.items()])
        if name is not None:
            raise self.stopped(f"weight {name} is NaN or infinite", self.state.global_step)

    def stopped(self, what: str, step: int) -> UserError:
        """The error that ends a training whose numbers are not finite."""
        checkpoint = last_checkpoint(Path(self.args.output_dir), self.average is not None)
        remains = "no checkpoint was saved before" if checkpoint is None else f"the last finite checkpoint is '{checkpoint}'"
        return UserError(
            f"the training broke down: {what} at step {step}; {remains}; a lower learning_rate or max_grad_norm may help, in "
            "another --out"
        )

    def evaluate(self, eval_dataset=None, ignore_keys=None, metric_key_prefix: str = "eval") -> dict[str, float]:
        """The validation bound under fixed noise: image in bits per token, report in nats per real token + EOS."""
        self.refuse_broken_weights()
        count = min(len(self.validation), self.recipe.eval_pairs)
        real = float(self.reports.lengths(self.validation.report[:count]).float().mean())
        batch = min(count, self.recipe.per_device_train_batch_size)
        result = {}
        averaged = self.average.in_place(self.model) if self.average is not None else nullcontext()
        with averaged, self.compute_loss_context_manager():
            for condition in CONDITIONS:
                bound = likelihood(self.model, self.validation, condition, self.recipe.eval_draws, limit=count, batch=batch)
                image, report = float(bound[:, 0].mean()), float(bound[:, 1].mean())
                label = f"{metric_key_prefix}_{condition.replace('|', '_given_')}"
                if condition != "report|image":
                    result[f"{label}_image_bits_per_token"] = image / math.log(2) / self.model.config.image_length
                if condition != "image|report":
                    result[f"{label}_report_nats_per_token"] = report / real
                if condition == "joint":
                    result[f"{metric_key_prefix}_loss"] = image + report
        for name, value in result.items():
            if not math.isfinite(value):
                raise self.stopped(f"{name} is {value}", self.state.global_step)
        self.log(result)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, result)
        return result


def training_arguments(recipe: ModelRecipe, out: Path, device: str | None) -> TrainingArguments:
    """transformers' arguments for a recipe, on the chosen device or the one that a launcher gives each process.
    Raises UserError: there is no such device."""
    place = chosen_device(device)
    on_cpu = place.type == "cpu"
    arguments = TrainingArguments(
        output_dir=str(out),
        eval_strategy="steps",
        use_cpu=on_cpu,
        ddp_backend="gloo" if on_cpu and PartialState(cpu=True).use_distributed else None,
        optim="adamw_torch",
        remove_unused_columns=False,
        report_to=["tensorboard"] if recipe.tensorboard else [],
        data_seed=recipe.seed,
        logging_nan_inf_filter=False,  # `training_step` stops instead
        **{key: getattr(recipe, key) for key in TRAINING_ARGUMENTS},
    )
    if place.type == "cuda" and arguments.parallel_mode != ParallelMode.DISTRIBUTED:
        # Otherwise transformers takes every visible GPU by nn.DataParallel.
        torch.cuda.set_device(place)
        arguments._setup_devices, arguments._n_gpu = place, 1
    return arguments


def last_checkpoint(out: Path, averaged: bool = False) -> Path | None:
    """The newest complete checkpoint: its last file is the average, or else `trainer_state.json`, which a kill may cut off."""
    paths = sorted(out.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]), reverse=True)
    whole = ((path / EMA).exists() if averaged else _is_json(path / "trainer_state.json") for path in paths)
    return next((path for path, is_whole in zip(paths, whole, strict=False) if is_whole), None)


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return False
    return True


def check_checkpoint(checkpoint: Path, model: MeDiMModel) -> None:
    """Raises UserError where a file is damaged or a tensor is missing or of another model: the Trainer would pass over it."""
    try:
        for path in sorted(checkpoint.iterdir()):
            if path.suffix in KINDS:
                refuse_damaged(path)
        if stored := shapes_in(checkpoint):  # FSDP has its own format, and checks it
            refuse_incomplete(f"checkpoint '{checkpoint}'", shapes_of(model.state_dict()), stored)
    except UserError as error:
        raise UserError(f"{error}; remove that folder to continue from the checkpoint before it") from error


def fit(
    model: MeDiMModel,
    recipe: ModelRecipe,
    train: TokenSplit | TokensAhead,
    validation: TokenSplit,
    reports: ReportTokenizer,
    out: Path,
    device: str | None = None,
    rows: WeightedRows | None = None,
) -> tuple[dict[str, float], dict[str, torch.Tensor] | None]:
    """Trains `model` in place from the newest checkpoint in `out`, or from the start; `rows` as of `Draws`.
    Of several processes (`torchrun`, `accelerate launch`) each takes its share of every batch.
    Returns the final validation bound, and the whole trained weights where the model is sharded over processes (FSDP).
    Raises UserError: the loss or a weight is not finite; names the step and the last finite checkpoint.
    Raises KeyboardInterrupt: Ctrl-C, after a checkpoint was saved."""
    arguments = training_arguments(recipe, out, device)
    model.backbone.set_kernel(recipe.attn_implementation)
    lora = add_lora(model, recipe.lora_rank, recipe.lora_alpha) if recipe.lora_rank is not None else None
    if recipe.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    if recipe.torch_compile and can_compile(arguments.device):
        model.backbone.compile(dynamic=False)
    average = MovingAverage(recipe.ema_decay) if recipe.ema_decay is not None else None
    with CtrlC() as ctrl_c:
        trainer = DiffusionTrainer(
            recipe,
            reports,
            validation,
            average,
            model=model,
            args=arguments,
            train_dataset=Draws(train, model.config.layout, recipe, recipe.draws(arguments.world_size), rows),
            eval_dataset=validation,
            callbacks=[MetricsFile(out / "metrics.jsonl"), ctrl_c],
        )
        if average is not None and trainer.is_fsdp_enabled:
            raise UserError("ema_decay keeps a whole copy of the weights, which FSDP spreads: leave it empty with FSDP")
        checkpoint = last_checkpoint(out, average is not None)
        if checkpoint is not None:
            check_checkpoint(checkpoint, model)
        if average is not None:
            average.start(model, checkpoint)
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint is not None else None)
        if ctrl_c.agreed():
            raise KeyboardInterrupt
        result = trainer.evaluate()
        if ctrl_c.pressed:
            raise KeyboardInterrupt
    if average is not None:
        average.swap(model)
    if lora is not None:
        lora.merge_and_unload()
    return result, trainer.accelerator.get_state_dict(trainer.model_wrapped) if trainer.is_fsdp_enabled else None
