"""A training step against the public practice, alternating in one run: logits and loss where and over what they are needed.

Ours: logits at the noised positions, over their own modality's ids, in pieces. The public practice: logits of every position
over the whole vocabulary, the wrong modality masked out, a log-softmax of all of it. Same model, same batch, same loss.
"""

import multiprocessing
import resource
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from medim.canvas import MODALITIES
from medim.common.errors import UserError
from medim.denoiser import MeDiMConfig, MeDiMModel
from medim.diffusion.schedule import LogLinear
from medim.training.corruption import JOINT, corrupt

ROOF_SIDE = 2048
Step = Callable[[], torch.Tensor]


@dataclass(frozen=True)
class Shape:
    """The model and the batch that are timed: by default the released sizes at a width that a laptop runs."""

    layers: int = 4
    width: int = 512
    image_codes: int = 8192
    text_vocabulary: int = 32_004
    image_length: int = 1024
    report_length: int = 256
    batch: int = 1

    @property
    def tokens(self) -> int:
        return self.batch * (self.image_length + self.report_length + 2)


@dataclass(frozen=True)
class TrainSpeed:
    """What `measure` found: medians over the rounds, seconds a step; memory in MB.

    Attributes:
        ours, full: a step of each.
        ratio: full / ours, the median over rounds of neighbouring steps.
        loss_difference: of the two losses on one batch: they are the same loss.
        head_ours, head_full: peak memory of a step above that of the trunk alone, each in a process of its own.
        flops: of our step, forward and backward.
        roof: FLOP/s of a large matrix product in the same type, measured in the same run.
        utilisation: share of the roof that our step reaches.
    """

    shape: Shape
    device: str
    dtype: str
    rounds: int
    ours: float
    full: float
    ratio: float
    loss_difference: float
    head_ours: float | None
    head_full: float | None
    flops: float
    roof: float
    utilisation: float

    def table(self) -> str:
        """The figures in lines."""
        ids = self.shape.image_codes + self.shape.text_vocabulary
        lines = [
            f"{self.shape.layers} layers, width {self.shape.width}, {self.shape.tokens} tokens, {ids} ids; {self.device}, "
            f"{self.dtype}, {self.rounds} rounds, alternating",
            f"step, ours            {self.ours:8.3f} s   {self.shape.tokens / self.ours:10.0f} tokens/s",
            f"step, full logits     {self.full:8.3f} s   {self.shape.tokens / self.full:10.0f} tokens/s",
            f"ratio                 {self.ratio:8.2f} x   (the losses differ by {self.loss_difference:.1e})",
        ]
        if self.head_ours is not None and self.head_full is not None:
            lines.append(
                f"memory above trunk    {self.head_ours:8.0f} MB against {self.head_full:.0f} MB: "
                f"{self.head_full / max(self.head_ours, 1e-9):.1f} x less"
            )
        lines.append(
            f"utilisation           {self.utilisation:8.1%}     of {self.roof / 1e9:.0f} GFLOP/s, this machine's matrix product"
        )
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def measure(shape: Shape, device: str, bf16: bool, rounds: int, memory: bool = True) -> TrainSpeed:
    """Times steps in turn, ours and full, and the machine's matrix product beside them."""
    steps = {name: _step(name, shape, device, bf16) for name in ("ours", "full")}
    losses = {name: float(step().detach()) for name, step in steps.items()}  # warm-up, and a check
    seconds: dict[str, list[float]] = {name: [] for name in (*steps, "roof")}
    for _ in tqdm(range(rounds), desc="rounds", unit="round"):
        for name, step in steps.items():
            seconds[name].append(_timed(step, device))
        seconds["roof"].append(matmul_seconds(device, bf16))
    median = {name: sorted(values)[len(values) // 2] for name, values in seconds.items()}
    ratios = sorted(full / ours for full, ours in zip(seconds["full"], seconds["ours"], strict=True))
    flops = _flops(shape)
    roof = 2 * ROOF_SIDE**3 / median["roof"]
    heads = {name: _memory(name, shape) for name in ("trunk", "ours", "full")} if memory and device == "cpu" else {}
    return TrainSpeed(
        shape=shape, device=device, dtype="bf16" if bf16 else "fp32", rounds=rounds, ours=median["ours"], full=median["full"],
        ratio=ratios[len(ratios) // 2], loss_difference=abs(losses["ours"] - losses["full"]),
        head_ours=heads["ours"] - heads["trunk"] if heads else None,
        head_full=heads["full"] - heads["trunk"] if heads else None,
        flops=flops, roof=roof, utilisation=flops / median["ours"] / roof,
    )  # fmt: skip


def _config(shape: Shape) -> MeDiMConfig:
    """The model that is timed."""
    backbone = {
        "model_type": "llama", "hidden_size": shape.width, "intermediate_size": 4 * shape.width,
        "num_hidden_layers": shape.layers, "num_attention_heads": max(1, shape.width // 64),
        "num_key_value_heads": max(1, shape.width // 64), "vocab_size": shape.text_vocabulary, "tie_word_embeddings": True,
    }  # fmt: skip
    return MeDiMConfig(
        backbone=backbone, text_vocabulary=shape.text_vocabulary, image_codes=shape.image_codes,
        image_length=shape.image_length, report_length=shape.report_length,
    )  # fmt: skip


def _batch(shape: Shape) -> tuple[torch.Tensor, ...]:
    """The batch that is timed: clean and noisy ids (B, L), t (B, 2), which positions are noised (B, L)."""
    layout, generator = _config(shape).layout, torch.Generator().manual_seed(0)
    codes = torch.randint(0, shape.image_codes, (shape.batch, shape.image_length), generator=generator)
    words = torch.randint(0, shape.text_vocabulary, (shape.batch, shape.report_length), generator=generator)
    clean = layout.join(codes, words)
    drawn = [corrupt(row, 0, layout, JOINT, 0, k) for k, row in enumerate(clean)]
    return clean, *(torch.stack([getattr(one, key) for one in drawn]) for key in ("noisy", "t", "noised"))


def _step(name: str, shape: Shape, device: str, bf16: bool) -> Step:
    """Forward and backward of one batch: `ours`, `full` logits, or the `trunk` without any head."""
    torch.manual_seed(0)
    model = MeDiMModel(_config(shape))
    model.to(torch.device(device)).train()  # type: ignore[arg-type]  # transformers types `to` as of a model
    clean, noisy, t, noised = (x.to(device) for x in _batch(shape))
    weight = LogLinear().weight(t)

    def step() -> torch.Tensor:
        model.zero_grad()
        with torch.autocast(device.split(":")[0], torch.bfloat16, enabled=bf16):
            if name == "trunk":
                loss = model.hidden(noisy, t).float().square().mean()
            elif name == "ours":
                loss = model(noisy, t, noised, clean=clean, alpha=1 - t, weight=weight).sum()
            else:
                loss = (_full(model, clean, noisy, t) * weight).sum()
        loss.backward()
        return loss

    return step


def _full(model: MeDiMModel, clean: torch.Tensor, noisy: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """Cross-entropy by the public practice: (B, L, V) logits in float32, ids of the other modality at -1e6; shape (B, 2)."""
    layout = model.config.layout
    vocabulary = layout.vocabulary
    rows = torch.cat([model.get_input_embeddings().weight, model.image_head.weight])  # (V, width)
    logits = (model.hidden(noisy, t) @ rows.T).float()  # (B, L, V)
    text = torch.arange(len(rows), device=rows.device) < vocabulary.text
    is_image = torch.zeros(layout.length, dtype=torch.bool, device=rows.device)
    is_image[layout.image] = True
    logits = logits.masked_fill(is_image[:, None] == text, -1e6)
    log_p = logits.log_softmax(-1)
    target = torch.where(is_image, clean - vocabulary.image_offset + vocabulary.text, clean).clamp(0, len(rows) - 1)
    cost = -log_p.gather(-1, target[..., None])[..., 0] * (noisy == vocabulary.mask)
    return torch.stack([cost[:, layout.of(m)].sum(1) for m in MODALITIES], dim=1)


def _timed(step: Step, device: str) -> float:
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    started = time.perf_counter()
    step()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter() - started


def matmul_seconds(device: str, bf16: bool) -> float:
    """Seconds of one product of two square matrices of side `ROOF_SIDE`."""
    a = torch.ones(ROOF_SIDE, ROOF_SIDE, device=device, dtype=torch.bfloat16 if bf16 else torch.float32)
    return min(_timed(lambda: a @ a, device) for _ in range(3))


def _flops(shape: Shape) -> float:
    """Multiplications and additions of our step: trunk, and heads at the noised positions; forward once, backward twice."""
    width, tokens = shape.width, shape.tokens
    length = tokens // shape.batch
    trunk = shape.layers * (2 * tokens * (4 * width**2 + 3 * width * 4 * width) + 4 * tokens * length * width)
    layout, (*_, noised) = _config(shape).layout, _batch(shape)
    heads = sum(2 * width * int(noised[:, layout.of(m)].sum()) * layout.size(m) for m in MODALITIES)
    return 3.0 * (trunk + heads)


def _memory(name: str, shape: Shape) -> float:
    """Peak resident memory of a process that does one step, in MB.

    Raises:
        UserError: it ended without an answer; where memory ran out, the system ends it.
    """
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe()
    process = context.Process(target=_peak, args=(theirs, name, shape))
    process.start()
    theirs.close()  # so that its end is noticed
    try:
        peak = mine.recv()
    except EOFError:
        process.join()
        raise UserError(f"the step that measures memory ended with status {process.exitcode}: is there too little?") from None
    process.join()
    return float(peak)


def _peak(pipe: Any, name: str, shape: Shape) -> None:
    _step(name, shape, "cpu", False)()
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would tell the peak of the parent, which exec hands down
        pipe.send(
            int(next(line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM"))) * 1024 / 1e6
        )
    else:
        pipe.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6)
    pipe.close()
