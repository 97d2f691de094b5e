"""VQGANs trained with taming-transformers (Esser et al. 2021), Chameleon's and so Liquid's among them.

Such a model is two files: `vqgan.yaml`, whose `model.params.ddconfig` states the architecture, and `vqgan.ckpt`, a pickled
state of the training. The architecture is that of diffusers' `VQModel` under other names; the decoder's scales are counted
from the other end, and the attention's 1x1 convolutions are linear layers.
"""

import re
from pathlib import Path
from typing import Any, Literal

import torch
from diffusers.models.autoencoders.vq_model import VQModel
from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from medim.common.declared import checked, read_mapping
from medim.common.errors import UserError
from medim.common.files import hash_files
from medim.weights.files import read_tensors
from medim.weights.loading import fill

YAML, CHECKPOINT = "vqgan.yaml", "vqgan.ckpt"
GROUPS = 32  # of every GroupNorm of the architecture
_NOT_THE_MODEL = "loss."  # discriminator and LPIPS network of the training
_RENAMED = (
    (r"\.block\.(\d+)\.", r".resnets.\1."),
    (r"\.attn\.(\d+)\.", r".attentions.\1."),
    (r"\.(down|up)sample\.conv\.", r".\1samplers.0.conv."),
    (r"\.mid\.block_1\.", ".mid_block.resnets.0."),
    (r"\.mid\.block_2\.", ".mid_block.resnets.1."),
    (r"\.mid\.attn_1\.", ".mid_block.attentions.0."),
    (r"(attentions\.\d+)\.norm\.", r"\1.group_norm."),
    (r"(attentions\.\d+)\.([qkv])\.", r"\1.to_\2."),
    (r"(attentions\.\d+)\.proj_out\.", r"\1.to_out.0."),
    (r"\.nin_shortcut\.", ".conv_shortcut."),
    (r"\.norm_out\.", ".conv_norm_out."),
)


class _Architecture(BaseModel):
    """`ddconfig`: the encoder and decoder. Keys that change nothing here (dropout) are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    ch: PositiveInt = Field(multiple_of=GROUPS)  # width of the finest scale; scale i has ch * ch_mult[i] channels
    ch_mult: tuple[PositiveInt, ...] = Field(min_length=1)
    num_res_blocks: PositiveInt
    # sides of the feature maps that have self-attention after each block, beside the coarsest
    attn_resolutions: tuple[PositiveInt, ...]
    z_channels: PositiveInt  # channels between the encoder and the 1x1 convolution before the codebook
    resolution: PositiveInt  # side of the images in pixels; it places the attention
    in_channels: Literal[3]
    out_ch: Literal[3]
    double_z: Literal[False] = False  # True belongs to a variational autoencoder
    resamp_with_conv: Literal[True] = True


class _Parameters(BaseModel):
    """`model.params` of the YAML file."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    embed_dim: PositiveInt
    n_embed: PositiveInt
    ddconfig: _Architecture
    remap: None = None


def read_taming(folder: Path) -> tuple[VQModel, int, dict[str, Any]]:
    """The model, its resolution and where it comes from, of a folder with `vqgan.yaml` and `vqgan.ckpt`; float32, on the CPU.

    Only tensors and plain containers are unpickled.

    Raises UserError: a file is missing or broken, the configuration describes another kind of model, or the checkpoint lacks a
    weight, has one more, or has one of another shape (the weight is named as in `VQModel`).
    """
    config, checkpoint = folder / YAML, folder / CHECKPOINT
    parameters = _read_config(config)
    with torch.device("meta"):  # no initialisation: it would draw from the global generator
        model = build(parameters)
    shapes, tensors = model.state_dict(), {}
    for name, weight in read_tensors(checkpoint, "state_dict").items():
        if not name.startswith(_NOT_THE_MODEL):
            place = diffusers_name(name, scales=len(parameters.ddconfig.ch_mult))
            linear = place in shapes and weight.ndim == shapes[place].ndim + 2 and weight.shape[2:] == (1, 1)
            tensors[place] = (weight[:, :, 0, 0] if linear else weight).float().contiguous()
    fill(model, tensors, f"'{checkpoint}' (names as in VQModel)", assign=True)
    source = {"format": "taming", "files": [config.name, checkpoint.name], "sha256": hash_files(config, checkpoint)}
    return model, parameters.ddconfig.resolution, {"imported": source}


def diffusers_name(name: str, scales: int) -> str:
    """What `VQModel` calls a weight of taming-transformers.

    >>> diffusers_name("decoder.up.4.block.0.nin_shortcut.weight", scales=5)
    'decoder.up_blocks.0.resnets.0.conv_shortcut.weight'
    """
    name = re.sub(r"^encoder\.down\.(\d+)\.", r"encoder.down_blocks.\1.", name)
    name = re.sub(r"^decoder\.up\.(\d+)\.", lambda match: f"decoder.up_blocks.{scales - 1 - int(match[1])}.", name)
    for pattern, replacement in _RENAMED:
        name = re.sub(pattern, replacement, name)
    return name


def build(parameters: _Parameters) -> VQModel:
    shape = parameters.ddconfig
    attended = [shape.resolution // 2**scale in shape.attn_resolutions for scale in range(len(shape.ch_mult))]
    return VQModel(
        down_block_types=tuple("AttnDownEncoderBlock2D" if a else "DownEncoderBlock2D" for a in attended),
        up_block_types=tuple("AttnUpDecoderBlock2D" if a else "UpDecoderBlock2D" for a in reversed(attended)),
        block_out_channels=tuple(shape.ch * multiple for multiple in shape.ch_mult),
        layers_per_block=shape.num_res_blocks,
        latent_channels=shape.z_channels,
        vq_embed_dim=parameters.embed_dim,
        num_vq_embeddings=parameters.n_embed,
        norm_num_groups=GROUPS,
        sample_size=shape.resolution,
        mid_block_add_attention=True,
        scaling_factor=1.0,
    )


def _read_config(path: Path) -> _Parameters:
    """`model.params` of a `vqgan.yaml`."""
    model = read_mapping(path.read_bytes(), f"'{path}'").get("model")
    if not isinstance(model, dict) or not isinstance(model.get("params"), dict):
        raise UserError(f"'{path}' has no model.params: it is not the configuration of a VQGAN of taming-transformers")
    target = str(model.get("target", "VQModel")).rpartition(".")[2]
    if target != "VQModel":
        raise UserError(f"'{path}': model.target is {target}; only VQModel, whose tokens are nearest codes, can be imported")
    return checked(_Parameters, model["params"], f"'{path}': model.params")
