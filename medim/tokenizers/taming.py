"""Import of VQGANs trained with taming-transformers (Esser et al. 2021), Chameleon's and so Liquid's among them.

Such a model is two files: `vqgan.yaml`, whose `model.params.ddconfig` tells the architecture, and `vqgan.ckpt`, a pickled state
of the training. The architecture is the one that diffusers' `VQModel` has, under other names; the decoder's scales are counted
from the other end, and the attention's 1x1 convolutions are linear layers.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from diffusers.models.autoencoders.vq_model import VQModel
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError
from torch import Tensor

from medim.common.declared import read_yaml
from medim.common.errors import UserError
from medim.common.files import hash_files
from medim.tokenizers.image import ImageTokenizer
from medim.weights.files import read_tensors

YAML, CHECKPOINT = "vqgan.yaml", "vqgan.ckpt"
GROUPS = 32  # of every GroupNorm of the architecture
_NOT_THE_MODEL = "loss."  # discriminator and LPIPS network of the training

_RESNET = r"(?P<part>norm[12]|conv[12]|nin_shortcut)"
_ATTENTION = {"norm": "group_norm", "q": "to_q", "k": "to_k", "v": "to_v", "proj_out": "to_out.0"}
_PLAIN = re.compile(r"(quantize\.embedding|quant_conv|post_quant_conv|(en|de)coder\.conv_(in|out))\.(weight|bias)")
_END = r"\.(?P<kind>weight|bias)"
_BLOCK = re.compile(rf"(?P<side>encoder|decoder)\.(down|up)\.(?P<scale>\d+)\.block\.(?P<n>\d+)\.{_RESNET}{_END}")
_SCALE_ATTENTION = re.compile(
    rf"(?P<side>encoder|decoder)\.(down|up)\.(?P<scale>\d+)\.attn\.(?P<n>\d+)\.(?P<part>{'|'.join(_ATTENTION)}){_END}"
)
_RESAMPLE = re.compile(rf"(?P<side>encoder|decoder)\.(down|up)\.(?P<scale>\d+)\.(down|up)sample\.conv{_END}")
_MIDDLE = re.compile(rf"(?P<side>encoder|decoder)\.mid\.block_(?P<n>[12])\.{_RESNET}{_END}")
_MIDDLE_ATTENTION = re.compile(rf"(?P<side>encoder|decoder)\.mid\.attn_1\.(?P<part>{'|'.join(_ATTENTION)}){_END}")
_NORM_OUT = re.compile(rf"(?P<side>encoder|decoder)\.norm_out{_END}")


class Architecture(BaseModel):
    """`ddconfig`: the encoder and decoder. Keys that change nothing here (dropout) are read over.

    Attributes:
        ch: width of the finest scale; scale i has ch * ch_mult[i] channels.
        resolution: side of the images in pixels; it places the attention.
        attn_resolutions: sides of the feature maps that have self-attention after each block, beside the coarsest.
        z_channels: channels between the encoder and the 1x1 convolution before the codebook.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    ch: PositiveInt = Field(multiple_of=GROUPS)
    ch_mult: tuple[PositiveInt, ...] = Field(min_length=1)
    num_res_blocks: PositiveInt
    attn_resolutions: tuple[PositiveInt, ...]
    z_channels: PositiveInt
    resolution: PositiveInt
    in_channels: Literal[3]
    out_ch: Literal[3]
    double_z: Literal[False] = False  # True belongs to a variational autoencoder
    resamp_with_conv: Literal[True] = True

    @property
    def scales(self) -> int:
        return len(self.ch_mult)

    @property
    def attended(self) -> tuple[bool, ...]:
        """By scale, finest first: whether its blocks are followed by self-attention."""
        return tuple(self.resolution // 2**scale in self.attn_resolutions for scale in range(self.scales))


class _Parameters(BaseModel):
    """`model.params` of the YAML file."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    embed_dim: PositiveInt
    n_embed: PositiveInt
    ddconfig: Architecture
    remap: None = None


def import_taming(config: str | Path, checkpoint: str | Path) -> ImageTokenizer:
    """Reads a VQGAN of taming-transformers as a tokenizer, in float32 on the CPU.

    Args:
        config: `vqgan.yaml`.
        checkpoint: `vqgan.ckpt`; only tensors and plain containers are unpickled.

    Raises:
        UserError: a file is missing or broken, the configuration describes another kind of model, or the checkpoint lacks a
            weight, has one more, or has one of another shape (the weight is named).
    """
    config, checkpoint = Path(config), Path(checkpoint)
    parameters = _read_config(config)
    weights = renamed(read_tensors(checkpoint, "state_dict"), parameters.ddconfig.scales, checkpoint)
    with torch.device("meta"):  # no initialisation: it would draw from the global generator
        model = _build(parameters)
    expected = model.state_dict()
    for name, tensor in expected.items():
        if name not in weights:
            raise UserError(f"'{checkpoint}': the weight {taming_name(name, parameters.ddconfig.scales)} is missing")
        original, weight = weights[name]
        if weight.ndim == tensor.ndim + 2 and weight.shape[2:] == (1, 1):  # a 1x1 convolution for a linear layer
            weights[name] = original, weight[:, :, 0, 0]
        if weights[name][1].shape != tensor.shape:
            raise UserError(
                f"'{checkpoint}': {original} has shape {tuple(weight.shape)}; '{config.name}' makes it {tuple(tensor.shape)}"
            )
    for name, (original, _) in weights.items():
        if name not in expected:
            raise UserError(f"'{checkpoint}' has the weight {original}, which '{config.name}' has no place for")
    model.load_state_dict({name: weight.float().contiguous() for name, (_, weight) in weights.items()}, assign=True)
    source = {"format": "taming", "files": [config.name, checkpoint.name], "sha256": hash_files(config, checkpoint)}
    return ImageTokenizer(model, parameters.ddconfig.resolution, {"imported": source})


def renamed(weights: Mapping[str, Tensor], scales: int, source: Path) -> dict[str, tuple[str, Tensor]]:
    """The weights under `VQModel`'s names, each with the name it had; those of the training's losses are left out.

    Raises:
        UserError: a name that the architecture does not have.
    """
    places: dict[str, tuple[str, Tensor]] = {}
    for name, weight in weights.items():
        if name.startswith(_NOT_THE_MODEL):
            continue
        place = diffusers_name(name, scales)
        if place is None:
            raise UserError(f"'{source}' has the weight {name}, which a VQGAN of taming-transformers does not have")
        places[place] = name, weight
    return places


def diffusers_name(name: str, scales: int) -> str | None:
    """What `VQModel` calls a weight of taming-transformers; None where it has no such weight.

    >>> diffusers_name("decoder.up.4.block.0.nin_shortcut.weight", scales=5)
    'decoder.up_blocks.0.resnets.0.conv_shortcut.weight'
    """
    if _PLAIN.fullmatch(name):
        return name
    if match := _BLOCK.fullmatch(name):
        return f"{_scale(match, scales)}.resnets.{match['n']}.{_resnet(match)}"
    if match := _SCALE_ATTENTION.fullmatch(name):
        return f"{_scale(match, scales)}.attentions.{match['n']}.{_ATTENTION[match['part']]}.{match['kind']}"
    if match := _RESAMPLE.fullmatch(name):
        sampler = "downsamplers" if match["side"] == "encoder" else "upsamplers"
        return f"{_scale(match, scales)}.{sampler}.0.conv.{match['kind']}"
    if match := _MIDDLE.fullmatch(name):
        return f"{match['side']}.mid_block.resnets.{int(match['n']) - 1}.{_resnet(match)}"
    if match := _MIDDLE_ATTENTION.fullmatch(name):
        return f"{match['side']}.mid_block.attentions.0.{_ATTENTION[match['part']]}.{match['kind']}"
    if match := _NORM_OUT.fullmatch(name):
        return f"{match['side']}.conv_norm_out.{match['kind']}"
    return None


def taming_name(name: str, scales: int) -> str:
    """The inverse of `diffusers_name`, for messages.

    >>> taming_name("encoder.mid_block.attentions.0.to_out.0.bias", scales=5)
    'encoder.mid.attn_1.proj_out.bias'
    """
    parts = {place: part for part, place in _ATTENTION.items()}
    if match := re.fullmatch(r"(\w+)\.(down|up)_blocks\.(\d+)\.(resnets|attentions|\w+samplers)\.(\d+)\.(.+)\.(\w+)", name):
        side, way, number, what, n, part, kind = match.groups()
        scale = int(number) if way == "down" else scales - 1 - int(number)
        if what.endswith("samplers"):
            return f"{side}.{way}.{scale}.{way}sample.conv.{kind}"
        if what == "attentions":
            return f"{side}.{way}.{scale}.attn.{n}.{parts[part]}.{kind}"
        return f"{side}.{way}.{scale}.block.{n}.{part.replace('conv_shortcut', 'nin_shortcut')}.{kind}"
    if match := re.fullmatch(r"(\w+)\.mid_block\.resnets\.(\d)\.(.+)", name):
        return f"{match[1]}.mid.block_{int(match[2]) + 1}.{match[3].replace('conv_shortcut', 'nin_shortcut')}"
    if match := re.fullmatch(r"(\w+)\.mid_block\.attentions\.0\.(.+)\.(\w+)", name):
        return f"{match[1]}.mid.attn_1.{parts[match[2]]}.{match[3]}"
    return name.replace("conv_norm_out", "norm_out")


def _scale(match: re.Match[str], scales: int) -> str:
    """`encoder.down.i` stays in order; `decoder.up.i` counts from the finest, its twin from the coarsest."""
    if match["side"] == "encoder":
        return f"encoder.down_blocks.{int(match['scale'])}"
    return f"decoder.up_blocks.{scales - 1 - int(match['scale'])}"


def _resnet(match: re.Match[str]) -> str:
    return f"{match['part'].replace('nin_shortcut', 'conv_shortcut')}.{match['kind']}"


def _build(parameters: _Parameters) -> VQModel:
    """The `VQModel` of the configuration."""
    shape = parameters.ddconfig
    return VQModel(
        down_block_types=tuple("AttnDownEncoderBlock2D" if a else "DownEncoderBlock2D" for a in shape.attended),
        up_block_types=tuple("AttnUpDecoderBlock2D" if a else "UpDecoderBlock2D" for a in reversed(shape.attended)),
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
    if not path.is_file():
        raise UserError(f"'{path}' does not exist")
    content = read_yaml(path.read_bytes(), f"'{path}'")
    model = content.get("model") if isinstance(content, dict) else None
    if not isinstance(model, dict) or not isinstance(model.get("params"), dict):
        raise UserError(f"'{path}' has no model.params: it is not the configuration of a VQGAN of taming-transformers")
    target = str(model.get("target", "VQModel")).rpartition(".")[2]
    if target != "VQModel":
        raise UserError(f"'{path}': model.target is {target}; only VQModel, whose tokens are nearest codes, can be imported")
    try:
        return _Parameters.model_validate(model["params"])
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(("model.params", *map(str, first["loc"])))
        raise UserError(f"'{path}': {place}: {first['msg']} (given: {first['input']!r})") from error
