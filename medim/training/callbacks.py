"""What happens beside the steps of a training: the file of figures, Ctrl-C, the moving average of the weights."""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
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
BOUND = "eval_loss"
"""What every line of a validation bound has."""


class MetricsFile(TrainerCallback):
    """Appends what is logged to `metrics.jsonl`; a continued run drops the lines it will write again.

    transformers' summary of a sitting is left out: its means are not of the training, and of no step where none was left. A
    bound that stands there already for its step, as of a finished training, is not written again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.bounds: set[int] = set()

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if state.is_world_process_zero and self.path.exists():
            lines = self.path.read_text(encoding="utf-8").splitlines()
            kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] <= state.global_step]
            write_text(self.path, "".join(line + "\n" for line in kept))
            self.bounds = {line["step"] for line in map(json.loads, kept) if BOUND in line}

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
    """Ctrl-C saves a checkpoint at the end of the step and stops; a second one stops at once.

    Of several processes all stop at one step, though the signal reaches each at a moment of its own.
    """

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
        """Whether it was pressed in any process; all of them ask together, and none goes on before the last has asked."""
        state = PartialState()
        if not state.use_distributed:
            return self.pressed
        return bool(reduce(torch.tensor(float(self.pressed), device=state.device), "sum"))

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if self.agreed():
            control.should_save = control.should_training_stop = True


class MovingAverage(TrainerCallback):
    """Exponential moving average of the trained weights; validation and the saved model use it.

    After step n the average moves by 1 - min(decay, (1 + n) / (10 + n)) towards the weights, so that the first steps are
    forgotten. It is part of every checkpoint.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.average: dict[str, torch.Tensor] = {}

    def start(self, model: nn.Module, checkpoint: Path | None) -> None:
        """From the weights as they are, or from a checkpoint."""
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
                kept = parameter.detach().clone()
                parameter.copy_(self.average[name])
                self.average[name].copy_(kept)
