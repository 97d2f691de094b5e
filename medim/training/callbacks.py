"""Beside the steps of a training: the metrics file and its plot, Ctrl-C, the moving average of the weights."""

import json
import math
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import reduce
from safetensors.torch import save_file
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from medim.common.files import atomic_path, write_text
from medim.weights.files import read_tensors
from medim.weights.loading import refuse_incomplete, shapes_of

EMA = "ema.safetensors"
BOUND = "eval_loss"  # key of every line of a validation bound


class MetricsFile(TrainerCallback):
    """Appends what is logged to `metrics.jsonl`; a resumed run drops the lines that it will write again.
    Left out are transformers' summary at the end and a bound that the file has already for its step."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.bounds: set[int] = set()

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if state.is_world_process_zero and self.path.exists():
            lines = self.path.read_text(encoding="utf-8").splitlines()
            earlier = [line for line in lines if line.endswith("}") and json.loads(line)["step"] <= state.global_step]
            write_text(self.path, "".join(line + "\n" for line in earlier))
            self.bounds = {line["step"] for line in map(json.loads, earlier) if BOUND in line}

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs=None, **kwargs: Any) -> None:
        repeated = BOUND in logs and state.global_step in self.bounds
        if not state.is_world_process_zero or "train_runtime" in logs or repeated:
            return
        if BOUND in logs:
            self.bounds.add(state.global_step)
        line = {"step": state.global_step, **{key: value for key, value in logs.items() if key != "epoch"}}
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")


class CtrlC(TrainerCallback):
    """Ctrl-C saves a checkpoint at the end of the step and stops, all processes at one step; a second one stops at once."""

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

    def agreed(self) -> bool:
        """Whether it was pressed in any process; a collective call."""
        state = PartialState()
        if not state.use_distributed:
            return self.pressed
        return bool(reduce(torch.tensor(float(self.pressed), device=state.device), "sum"))

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if self.agreed():
            control.should_save = control.should_training_stop = True


class MovingAverage(TrainerCallback):
    """Exponential moving average of the trained weights, part of every checkpoint; validation and the saved model use it.
    After step n the average moves by 1 - min(decay, (1 + n) / (10 + n)) towards the weights."""

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.average: dict[str, torch.Tensor] = {}

    def start(self, model: nn.Module, checkpoint: Path | None) -> None:
        """From the current weights, or from a checkpoint."""
        stored = read_tensors(checkpoint / EMA) if checkpoint is not None else {}
        trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
        if checkpoint is not None:
            refuse_incomplete(f"average '{checkpoint / EMA}'", shapes_of(trained), shapes_of(stored))
        self.average = {name: (stored[name].to(p) if stored else p.detach().clone()) for name, p in trained.items()}

    @torch.no_grad()
    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        step, parameters = state.global_step, dict(kwargs["model"].named_parameters())
        share = 1 - min(self.decay, (1 + step) / (10 + step))
        names = list(self.average)
        torch._foreach_lerp_([self.average[n] for n in names], [parameters[n].detach() for n in names], share)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            with atomic_path(folder / EMA) as temporary:
                save_file({name: tensor.contiguous() for name, tensor in self.average.items()}, temporary)

    @contextmanager
    def in_place(self, model: nn.Module) -> Iterator[None]:
        """The average in place of the weights, which come back afterwards."""
        self.swap(model)
        try:
            yield
        finally:
            self.swap(model)

    @torch.no_grad()
    def swap(self, model: nn.Module) -> None:
        """Exchanges the average and the weights."""
        for name, parameter in model.named_parameters():
            if name in self.average:
                weights = parameter.detach().clone()
                parameter.copy_(self.average[name])
                self.average[name].copy_(weights)


def plot_curve(metrics: Path, unigram: float, out: Path) -> None:
    """Plots validation bounds against steps into a PNG, where matplotlib is installed. `metrics`: `metrics.jsonl` of a
    training. `unigram`: report nats per real token + EOS of the per-position unigram code, drawn as a line."""
    if find_spec("matplotlib") is None:
        print("no curve.png: matplotlib is not installed (pip install 'medim-bench[scoring]')")
        return
    from matplotlib.figure import Figure

    lines = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for axis, unit, wanted in (
        (left, "report: nats per token", "report_nats_per_token"),
        (right, "image: bits per token", "image_bits_per_token"),
    ):
        keys = sorted({key for line in lines for key in line if key.endswith(wanted)})
        for key in keys:
            points = sorted({line["step"]: line[key] for line in lines if key in line}.items())
            name = key.removeprefix("eval_").removesuffix(f"_{wanted}").replace("_given_", " | ")
            axis.plot(*zip(*points, strict=True), marker="o", markersize=3, label=name)
        axis.set(xlabel="training steps", ylabel=unit)
        axis.spines[["top", "right"]].set_visible(False)
    if math.isfinite(unigram):
        left.axhline(unigram, color="grey", linestyle="--", label="unigram code of the training reports")
        left.axhline(0.9 * unigram, color="grey", linestyle=":", label="10 % below it")
    left.legend(frameon=False, fontsize="small")
    right.legend(frameon=False, fontsize="small")
    figure.suptitle("Validation bound (NELBO)")
    with atomic_path(out) as temporary:
        figure.savefig(temporary, dpi=130)
