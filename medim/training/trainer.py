"""Training on the transformers Trainer: progress, the validation bound per modality, checkpoints, continuing after a kill."""

import json
import math
import signal
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset, SequentialSampler
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from medim.canvas import Layout
from medim.data.token_cache import TokenSplit
from medim.denoiser import MeDiMModel
from medim.diffusion.likelihood import likelihood
from medim.diffusion.schedule import schedule_named
from medim.streams import stream
from medim.tokenizers.report import ReportTokenizer
from medim.training.corruption import Mixture, corrupt, sample_at
from medim.training.mixture import WeightedRows
from medim.training.optimizer import MuonWithAdamW
from medim.training.recipe import TRAINING_ARGUMENTS, ModelRecipe


class Draws(Dataset):
    """Training draw k = 0, 1, 2, ... of the whole run: position in the data and noise follow from k alone.

    Args:
        draws: in the whole run.
        rows: which row draw k takes where data sets are mixed by weight; None goes through all rows, epoch by epoch.
    """

    def __init__(
        self, split: TokenSplit, layout: Layout, recipe: ModelRecipe, draws: int, rows: WeightedRows | None = None
    ) -> None:
        self.split, self.layout, self.draws, self.rows, self.seed = split, layout, draws, rows, recipe.seed
        self.mixture, self.schedule, self.process = Mixture(recipe.mixture), schedule_named(recipe.schedule), recipe.transition
        self.autoregressive = recipe.objective == "autoregressive"

    def __len__(self) -> int:
        return self.draws

    def __getitem__(self, k: int) -> dict[str, torch.Tensor]:
        row = sample_at(self.seed, k, len(self.split)) if self.rows is None else self.rows.row(k)
        tokens = self.layout.join(self.split.image[row : row + 1], self.split.report[row : row + 1])[0]
        if self.autoregressive:  # every token is told from those before it, one draw in two with the report first
            noised = torch.zeros(self.layout.length, dtype=torch.bool)
            noised[self.layout.image] = noised[self.layout.report] = True
            first = torch.tensor(bool(stream(self.seed, 4, k).integers(2)))
            return {"tokens": tokens, "noisy": tokens, "t": torch.zeros(2), "noised": noised, "report_first": first}
        drawn = corrupt(
            tokens, int(self.split.prompt[row]), self.layout, self.mixture, self.seed, k, self.schedule, self.process
        )
        return {"tokens": tokens, **vars(drawn)}


class DiffusionTrainer(Trainer):
    """The transformers Trainer with the diffusion loss and the validation bound."""

    def __init__(self, recipe: ModelRecipe, reports: ReportTokenizer, validation: TokenSplit, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.recipe, self.reports, self.validation = recipe, reports, validation
        self.model_accepts_loss_kwargs = False

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

    def compute_loss(self, model, inputs, return_outputs: bool = False, num_items_in_batch=None):
        """sum over modalities of weight * mean over the batch of (bound in nats / positions of the modality)."""
        layout, recipe = self.model.config.layout, self.recipe
        t, schedule = inputs["t"], schedule_named(recipe.schedule)
        divergence = model(
            tokens=inputs["noisy"],
            t=schedule.noise(t),
            select=inputs["noised"],
            clean=inputs["tokens"],
            alpha=schedule.alpha(t),
            future=min(1.0, self.state.global_step / recipe.mask_annealing) if recipe.mask_annealing else 1.0,
            report_first=inputs["report_first"] if recipe.objective == "autoregressive" else None,
        )  # (B, 2)
        weight = torch.ones_like(divergence)
        if recipe.objective == "diffusion":
            weight = schedule.weight(t) if recipe.min_snr is None else schedule.min_snr_weight(t, recipe.min_snr)
        if recipe.largest_weight is not None:
            weight = weight.clamp(max=recipe.largest_weight)
        share = torch.tensor(
            [recipe.image_weight / layout.image_length, recipe.report_weight / layout.report_length], device=t.device
        )
        loss = (weight * divergence * share).sum(1).mean()
        return (loss, {"divergence": divergence}) if return_outputs else loss

    def evaluate(self, eval_dataset=None, ignore_keys=None, metric_key_prefix: str = "eval") -> dict[str, float]:
        """The validation bound under fixed noise: image in bits per token, report in nats per real token + EOS."""
        count = min(len(self.validation), self.recipe.eval_pairs)
        real = float(self.reports.lengths(self.validation.report[:count]).float().mean())
        batch = min(count, self.recipe.per_device_train_batch_size)
        result = {}
        for condition in ("joint", "report|image", "image|report"):
            with self.compute_loss_context_manager():
                bound = likelihood(self.model, self.validation, condition, self.recipe.eval_draws, limit=count, batch=batch)
            label = condition.replace("|", "_given_")
            if condition != "report|image":
                bits = bound.mean("image") / math.log(2) / self.model.config.image_length
                result[f"{metric_key_prefix}_{label}_image_bits_per_token"] = bits
            if condition != "image|report":
                result[f"{metric_key_prefix}_{label}_report_nats_per_token"] = bound.mean("report") / real
            if condition == "joint":
                result[f"{metric_key_prefix}_loss"] = bound.mean("image") + bound.mean("report")
        self.log(result)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, result)
        return result


class MetricsFile(TrainerCallback):
    """Appends everything that is logged to `metrics.jsonl`; a continued run drops the lines it will write again."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if self.path.exists():
            lines = self.path.read_text(encoding="utf-8").splitlines()
            kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] <= state.global_step]
            self.path.write_text("".join(line + "\n" for line in kept), encoding="utf-8")

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs=None, **kwargs: Any) -> None:
        line = {"step": state.global_step, **{key: value for key, value in logs.items() if key != "epoch"}}
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")


class CtrlC(TrainerCallback):
    """Ctrl-C saves a checkpoint at the end of the step and stops; a second one stops at once."""

    def __init__(self) -> None:
        self.pressed = False

    def __enter__(self) -> "CtrlC":
        def handle(number: int, frame: Any) -> None:
            signal.signal(signal.SIGINT, self.previous)
            self.pressed = True

        self.previous = signal.getsignal(signal.SIGINT)
        signal.signal(signal.SIGINT, handle)
        return self

    def __exit__(self, *exception: Any) -> None:
        signal.signal(signal.SIGINT, self.previous)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if self.pressed:
            control.should_save = control.should_training_stop = True


def training_arguments(recipe: ModelRecipe, out: Path, device: str | None) -> TrainingArguments:
    """transformers' arguments for a recipe."""
    return TrainingArguments(
        output_dir=str(out),
        eval_strategy="steps",
        use_cpu=device == "cpu" or not torch.cuda.is_available(),
        optim="adamw_torch",
        remove_unused_columns=False,
        report_to=[],
        data_seed=recipe.seed,
        **{key: getattr(recipe, key) for key in TRAINING_ARGUMENTS},
    )


def last_checkpoint(out: Path) -> Path | None:
    """The newest whole checkpoint; `trainer_state.json` is the last file that the Trainer writes into one."""
    whole = [path for path in out.glob("checkpoint-*") if (path / "trainer_state.json").exists()]
    return max(whole, key=lambda path: int(path.name.split("-")[1]), default=None)


def fit(
    model: MeDiMModel,
    recipe: ModelRecipe,
    train: TokenSplit,
    validation: TokenSplit,
    reports: ReportTokenizer,
    out: Path,
    device: str | None = None,
    rows: WeightedRows | None = None,
) -> dict[str, float]:
    """Trains `model` in place from the newest checkpoint in `out`, or from the start; `rows` as of `Draws`.

    Returns:
        the final validation bound.

    Raises:
        KeyboardInterrupt: Ctrl-C; a checkpoint was saved, and the same call continues from it.
    """
    arguments = training_arguments(recipe, out, device)
    model.backbone.set_kernel(recipe.attn_implementation)
    if recipe.gradient_checkpointing:
        model.gradient_checkpointing_enable()
    if recipe.torch_compile:
        model.backbone.compile(dynamic=False)
    draws = recipe.max_steps * recipe.per_device_train_batch_size * recipe.gradient_accumulation_steps * arguments.world_size
    with CtrlC() as ctrl_c:
        trainer = DiffusionTrainer(
            recipe,
            reports,
            validation,
            model=model,
            args=arguments,
            train_dataset=Draws(train, model.config.layout, recipe, draws, rows),
            eval_dataset=validation,
            callbacks=[MetricsFile(out / "metrics.jsonl"), ctrl_c],
        )
        checkpoint = last_checkpoint(out)
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint is not None else None)
        if ctrl_c.pressed:
            raise KeyboardInterrupt
        return trainer.evaluate()
