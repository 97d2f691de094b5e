"""Low-rank adapters for large backbones (Hu et al. 2021, arXiv 2106.09685), on peft."""

from typing import TYPE_CHECKING

from torch import nn

from medim.common.errors import UserError
from medim.denoiser import MeDiMModel

if TYPE_CHECKING:
    from peft import LoraModel


def add_lora(model: MeDiMModel, rank: int, alpha: float) -> "LoraModel":
    """Freezes the blocks and the backbone's embedding, and puts a trainable low-rank update beside every matrix of the blocks.

    Modulation, time, image rows and heads stay trainable: the pretrained model knows nothing of them.

    Args:
        rank: of each update.
        alpha: the update is scaled by alpha / rank.

    Returns:
        The handle whose `merge_and_unload()` makes plain matrices of them again.

    Raises:
        UserError: peft is not installed.
    """
    try:
        from peft import LoraConfig, LoraModel
    except ImportError as error:
        raise UserError("lora_rank needs the package peft: pip install 'medim-bench[lora]'") from error
    trainable = {name for name, p in model.named_parameters() if p.requires_grad}
    matrices = [name for name, module in model.backbone.blocks.named_modules() if isinstance(module, nn.Linear)]
    prefix = next(name for name, module in model.named_modules() if module is model.backbone.blocks)
    lora = LoraModel(
        model, LoraConfig(r=rank, lora_alpha=alpha, target_modules=[f"{prefix}.{name}" for name in matrices]), "default"
    )
    frozen = {f"{prefix}.{name}" for name, _ in model.backbone.blocks.named_parameters() if "lora_" not in name}
    embedding = next(name for name, p in model.named_parameters() if p is model.backbone.embedding.weight)
    for name, parameter in model.named_parameters():
        plain = name.replace(".base_layer", "")
        parameter.requires_grad_("lora_" in name or (plain in trainable and name not in frozen and name != embedding))
    return lora
