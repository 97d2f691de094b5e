"""How long a training step takes here, and which share of the machine's matrix product it reaches."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import torch
from tqdm import tqdm

from medim.canvas import MODALITIES
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

    @property
    def config(self) -> MeDiMConfig:
        heads = max(1, self.width // 64)
        backbone = {
            "model_type": "llama",
            "hidden_size": self.width,
            "intermediate_size": 4 * self.width,
            "num_hidden_layers": self.layers,
            "num_attention_heads": heads,
            "num_key_value_heads": heads,
            "vocab_size": self.text_vocabulary,
            "tie_word_embeddings": True,
        }
        return MeDiMConfig(
            backbone=backbone,
            text_vocabulary=self.text_vocabulary,
            image_codes=self.image_codes,
            image_length=self.image_length,
            report_length=self.report_length,
        )


@dataclass(frozen=True)
class TrainSpeed:
    """What `measure` found."""

    shape: Shape
    device: str
    dtype: str
    rounds: int
    seconds: float  # of a step, forward and backward; the median over rounds
    flops: float  # of a step
    roof: float  # FLOP/s of a large matrix product in the same type, measured in the same rounds

    @property
    def utilisation(self) -> float:
        """Share of the roof that the step reaches."""
        return self.flops / self.seconds / self.roof

    def table(self) -> str:
        """The figures in lines."""
        shape = self.shape
        ids, rate = shape.image_codes + shape.text_vocabulary, shape.tokens / self.seconds
        return (
            f"{shape.layers} layers, width {shape.width}, {shape.tokens} tokens, {ids} ids; {self.device}, {self.dtype}\n"
            f"step         {self.seconds:8.3f} s   {rate:10.0f} tokens/s, median of {self.rounds} rounds\n"
            f"utilisation  {self.utilisation:8.1%}     of {self.roof / 1e9:.0f} GFLOP/s, this machine's matrix product"
        )

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "utilisation": self.utilisation}


def measure(shape: Shape, device: str, bf16: bool, rounds: int) -> TrainSpeed:
    """Times steps and the machine's matrix product in turn."""
    step = training_step(shape, device, bf16)
    step()  # what the first call costs is no part of the rate
    seconds: list[float] = []
    products: list[float] = []
    for _ in tqdm(range(rounds), desc="rounds", unit="round"):
        seconds.append(_timed(step, device))
        products.append(matmul_seconds(device, bf16))
    dtype = "bf16" if bf16 else "fp32"
    roof = 2 * ROOF_SIDE**3 / median(products)
    return TrainSpeed(shape, device, dtype, rounds, median(seconds), flops_of(shape), roof)


def batch_of(shape: Shape) -> tuple[torch.Tensor, ...]:
    """The batch that is timed: clean and noisy ids (B, L), t (B, 2), which positions are noised (B, L)."""
    layout, generator = shape.config.layout, torch.Generator().manual_seed(0)
    codes = torch.randint(0, shape.image_codes, (shape.batch, shape.image_length), generator=generator)
    words = torch.randint(0, shape.text_vocabulary, (shape.batch, shape.report_length), generator=generator)
    clean = layout.join(codes, words)
    drawn = [corrupt(row, 0, layout, JOINT, 0, k) for k, row in enumerate(clean)]
    return clean, *(torch.stack([getattr(one, key) for one in drawn]) for key in ("noisy", "t", "noised"))


def training_step(shape: Shape, device: str, bf16: bool) -> Step:
    """Forward and backward of the batch; a call returns the loss."""
    torch.manual_seed(0)
    model = MeDiMModel(shape.config)
    model.to(torch.device(device)).train()  # type: ignore[arg-type]  # transformers types `to` as of a model
    clean, noisy, t, noised = (x.to(device) for x in batch_of(shape))
    weight = LogLinear().weight(t)

    def step() -> torch.Tensor:
        model.zero_grad()
        with torch.autocast(device.split(":")[0], torch.bfloat16, enabled=bf16):
            loss = model(noisy, t, noised, clean=clean, alpha=1 - t, weight=weight).sum()
        loss.backward()
        return loss

    return step


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


def flops_of(shape: Shape) -> float:
    """Multiplications and additions of a step: trunk, and heads at the noised positions; forward once, backward twice."""
    width, tokens = shape.width, shape.tokens
    length = tokens // shape.batch
    trunk = shape.layers * (2 * tokens * (4 * width**2 + 3 * width * 4 * width) + 4 * tokens * length * width)
    layout, (*_, noised) = shape.config.layout, batch_of(shape)
    heads = sum(2 * width * int(noised[:, layout.of(m)].sum()) * layout.size(m) for m in MODALITIES)
    return 3.0 * (trunk + heads)
