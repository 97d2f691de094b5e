"""What a training would need: parameters, memory and time, counted on the meta device, without weights or data."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import yaml
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from medim.checkpoints import resolve
from medim.common.errors import UserError
from medim.denoiser import MeDiMModel
from medim.diffusion.objective import LOGITS_AT_ONCE
from medim.tokenizers.image import ImageTokenizer
from medim.training.recipe import ModelRecipe, presets
from medim.training.tokenizer.recipe import load_tokenizer_recipe
from medim.training.train import random_config

Sharding = Literal["ddp", "fsdp"]
GPUS = {  # dense bf16 TFLOP/s and GB of memory, by the data sheets
    "a100": (312, 80),
    "h100": (989, 80),
    "h200": (989, 141),
    "b200": (2250, 192),
    "l40s": (362, 48),
    "rtx4090": (165, 24),
}
UTILISATION = 0.4  # share of the peak that the duration assumes; `medim-bench speed train` measures it


@dataclass(frozen=True)
class Plan:
    """What a training would need."""

    parameters: dict[str, int]  # of each part
    trained: int  # parameters that an optimiser step changes
    tokens_per_step: int  # canvas positions of all GPUs
    flops_per_step: float  # of all GPUs, forward and backward (and the forward again where blocks are recomputed)
    state_bytes: float  # weights, gradients and optimiser state on one GPU
    activation_bytes: float  # on one GPU, the peak
    steps: int
    remedies: tuple[tuple[str, ...], tuple[str, ...]]  # changes of the recipe that save memory of activations, and of weights

    def days(self, peak: float, gpus: int) -> float:
        """Duration at `UTILISATION` of `peak` FLOP/s on each GPU."""
        return self.steps * self.flops_per_step / (UTILISATION * peak * gpus) / 86_400


def plan(recipe: ModelRecipe, preset: str, gpus: int, sharding: Sharding) -> Plan:
    """Plans a training.
    `preset`: name or file of the recipe; where it names no image tokenizer, the preset's tokenizer recipe has the geometry.
    `gpus`: processes that share each batch.
    `sharding`: `ddp` keeps a whole copy on each GPU, `fsdp` a share of weights, gradients and optimiser state.
    Raises UserError: the geometry of the images, or the shape of the backbone, is not known."""
    codes, length = _geometry(recipe.image_tokenizer, preset)
    fields = {**recipe.model_fields_of_config(), "image_codes": codes, "image_length": length}
    vocabulary = recipe.report_vocabulary or 0
    config = random_config(recipe, vocabulary, fields, recipe.backbone_shape)
    with torch.device("meta"):
        model = MeDiMModel(config)
    model.backbone.set_kernel("sdpa")
    total = sum(p.numel() for p in model.parameters())
    trained = total if recipe.lora_rank is None else _trained_by_lora(model, recipe.lora_rank)
    batch = recipe.per_device_train_batch_size
    flops, saved = _one_pass(model, batch)
    width, blocks = config.backbone["hidden_size"], len(model.backbone.blocks)
    if recipe.gradient_checkpointing:  # each block keeps its input; one at a time is whole
        saved = saved / blocks + blocks * batch * config.layout.length * width * 2
    logits = 3 * 4 * min(LOGITS_AT_ONCE, batch * config.layout.length * max(config.image_codes, config.text_vocabulary))
    share = gpus if sharding == "fsdp" else 1
    optimiser = 8 if recipe.optimizer == "adamw" else 6  # two moments; Muon keeps one for the blocks' matrices
    state = (4 * total + (4 + optimiser) * trained) / share
    if recipe.ema_decay is not None:
        state += 4 * trained
    return Plan(
        parameters=_parts(model),
        trained=trained,
        tokens_per_step=batch * gpus * recipe.gradient_accumulation_steps * config.layout.length,
        flops_per_step=flops * (4 if recipe.gradient_checkpointing else 3) * gpus * recipe.gradient_accumulation_steps,
        state_bytes=state,
        activation_bytes=saved * (1 if recipe.bf16 else 2) + logits,
        steps=recipe.max_steps,
        remedies=_remedies(recipe),
    )


def _remedies(recipe: ModelRecipe) -> tuple[tuple[str, ...], tuple[str, ...]]:
    activations = {
        "a smaller per_device_train_batch_size": recipe.per_device_train_batch_size > 1,
        "gradient_checkpointing=true": not recipe.gradient_checkpointing,
        "bf16=true": not recipe.bf16,
    }
    weights = {"lora_rank": recipe.lora_rank is None, "no ema_decay": recipe.ema_decay is not None, "fewer layers": True}
    return tuple(name for name, open_ in activations.items() if open_), tuple(name for name, open_ in weights.items() if open_)


def describe_plan(plan: Plan, gpus: int, gpu: str, sharding: Sharding) -> Iterator[str]:
    """The plan in lines."""
    peak, memory = GPUS[gpu]
    for part, count in plan.parameters.items():
        yield f"{part:<34}{count:>16,}"
    total = sum(plan.parameters.values())
    yield f"{'all parameters':<34}{total:>16,}  ({plan.trained:,} trained)"
    yield f"tokens a step{plan.tokens_per_step:>37,}  ({gpus} GPUs)"
    need = plan.state_bytes + plan.activation_bytes
    yield (
        f"memory a GPU ({sharding}): {need / 1e9:.1f} GB = {plan.state_bytes / 1e9:.1f} weights, gradients, optimiser "
        f"+ {plan.activation_bytes / 1e9:.1f} activations; {gpu} has {memory} GB"
    )
    if need > 0.92 * memory * 1e9:
        shared = ("--sharding fsdp", "more GPUs") if gpus > 1 else ("more GPUs with --sharding fsdp",)
        shared = shared if sharding == "ddp" else ("more GPUs",)
        activations = plan.remedies[0] if plan.state_bytes <= 0.92 * memory * 1e9 else ()  # else they alone do not help
        yield f"  does not fit: try {', '.join((*shared, *activations, *plan.remedies[1]))}"
    yield f"compute a step: {plan.flops_per_step / 1e15:.3g} PFLOP"
    yield (
        f"duration of {plan.steps:,} steps: {plan.days(peak * 1e12, gpus):.3g} days on {gpus} {gpu} "
        f"(at {UTILISATION:.0%} of {peak} TFLOP/s each; an estimate)"
    )


def _geometry(tokenizer: str | None, preset: str) -> tuple[int, int]:
    """Codes, and tokens of an image, of an image tokenizer (folder, hub id or recipe), or of the preset's."""
    recipes = presets("-tokenizer")
    name = tokenizer or next((name for name in _ancestry(preset) if name in recipes), None)
    if name is None:
        raise UserError(f"preset '{preset}': no tokenizer recipe has the images' geometry; train one and give --tokenizer")
    if name not in recipes:
        images = ImageTokenizer.from_pretrained(resolve(name, "image_tokenizer"))
        return images.codes, images.length
    planned = load_tokenizer_recipe(name)
    return planned.codes, (planned.resolution // planned.downsampling) ** 2


def _ancestry(preset: str) -> Iterator[str]:
    """The preset, then what it extends: `dit-smollm2` extends `smollm2`, `liquid-10l` extends `liquid-7b`."""
    yield preset
    base = yaml.safe_load(presets("").get(preset, Path(preset)).read_text(encoding="utf-8")).get("extends")
    if base is not None:
        yield from _ancestry(base)


def _parts(model: MeDiMModel) -> dict[str, int]:

    def count(*modules: nn.Module | None) -> int:
        return sum(p.numel() for module in modules if module is not None for p in module.parameters())

    backbone = model.backbone
    blocks, embedding = count(backbone.blocks), count(backbone.embedding)
    modulation = count(*(m for name, m in backbone.named_children() if name in ("adaln", "final", "add")))
    return {
        "blocks": blocks,
        "text embedding": embedding,
        "modulation (AdaLN)": modulation,
        "norms and other backbone parts": count(backbone) - blocks - embedding - modulation,
        "mask, structure and image rows": count(model.added),
        "image head": count(model.image_head),
        "report head": count(model.report_head),
        "time embedding": count(model.time),
        "positions": count(model.place),
    }


def _trained_by_lora(model: MeDiMModel, rank: int) -> int:
    parts = _parts(model)
    low = sum(rank * (m.in_features + m.out_features) for m in model.backbone.blocks.modules() if isinstance(m, nn.Linear))
    return sum(parts.values()) - parts["blocks"] - parts["text embedding"] + low


def _one_pass(model: MeDiMModel, batch: int) -> tuple[float, float]:
    """FLOPs of a forward pass with half of every modality masked, and bytes (at 2 each) that its backward pass would keep.
    A kernel that never writes out the L x L attention (flash, sdpa) is assumed."""
    layout = model.config.layout
    tokens = torch.zeros(batch, layout.length, dtype=torch.long, device="meta")
    t = torch.zeros(batch, 2, device="meta")
    weights = {p.shape for p in model.parameters()} | {p.t().shape for p in model.parameters() if p.ndim == 2}
    stored: dict[int, torch.Tensor] = {}  # by storage: one tensor may be saved for several uses

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        square = tensor.ndim >= 2 and tensor.shape[-1] == tensor.shape[-2] == layout.length
        if tensor.is_floating_point() and not square and tensor.shape not in weights:
            stored[tensor.untyped_storage()._cdata] = tensor
        return tensor

    with FlopCounterMode(display=False) as flops, saved_tensors_hooks(keep, lambda tensor: tensor):
        x = model.hidden(tokens, t)
        half = batch * layout.image_length // 2, batch * layout.report_length // 2
        model.logits(x.reshape(-1, x.shape[-1])[: half[0]], "image")
        model.logits(x.reshape(-1, x.shape[-1])[: half[1]], "report")
    return float(flops.get_total_flops()), 2.0 * sum(tensor.numel() for tensor in stored.values())
