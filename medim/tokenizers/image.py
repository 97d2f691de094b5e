"""Images to discrete tokens and back: a VQGAN (Esser et al. 2021) on diffusers' `VQModel`."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self

import torch
from diffusers.models.autoencoders.vq_model import VQModel
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field
from safetensors.torch import save_file
from torch import LongTensor, Tensor

from medim.common.declared import checked
from medim.common.errors import UserError, foreign
from medim.common.files import atomic_path, hash_of, read_mapping, write_json
from medim.imaging.images import GEOMETRIES, OURS, Geometry, square, to_images, to_tensor
from medim.tokenizers import taming
from medim.weights.files import read_tensors
from medim.weights.loading import fill

DESCRIPTION = "image_tokenizer.json"
CONFIG = "config.json"
WEIGHTS = "diffusion_pytorch_model.safetensors"
FORMAT: Literal[1] = 1
BATCH_PIXELS = 2**20  # of a batch by default: 64 images of 128 pixels, 4 of 512
LARGEST_BATCH = 64
Count = Annotated[int, Field(gt=0, le=2**20)]
Few = Annotated[int, Field(gt=0, le=64)]


class _Description(BaseModel):
    """`image_tokenizer.json`."""

    model_config = ConfigDict(extra="ignore", strict=True)

    format: Literal[1] = FORMAT
    resolution: Annotated[int, Field(gt=0, le=2**15)]
    downsampling: Count
    codes: Count
    training: dict[str, Any]
    geometry: Literal[tuple(GEOMETRIES)] = OURS.name  # type: ignore[valid-type]


class _Architecture(BaseModel):
    """What shapes a `VQModel` in its config.json."""

    model_config = ConfigDict(extra="allow", strict=True)

    class_name: Literal["VQModel"] = Field(default="VQModel", alias="_class_name")
    diffusers_version: str = Field(default="", alias="_diffusers_version")
    name_or_path: str = Field(default="", alias="_name_or_path")
    in_channels: Literal[3] = 3
    out_channels: Literal[3] = 3
    down_block_types: Annotated[list[str], Field(min_length=1)]
    up_block_types: Annotated[list[str], Field(min_length=1)]
    block_out_channels: Annotated[list[Count], Field(min_length=1, max_length=12)]
    layers_per_block: Few
    act_fn: str = "silu"
    latent_channels: Count
    sample_size: Count = 32
    num_vq_embeddings: Count
    norm_num_groups: Count
    vq_embed_dim: Count | None = None
    scaling_factor: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    norm_type: Literal["group"] = "group"
    mid_block_add_attention: bool = True
    lookup_from_codebook: bool = False
    force_upcast: bool = False


class ImageTokenizer:
    """One image is `grid` x `grid` tokens in raster order; a token names one of `codes` codebook vectors.
    `model`: the autoencoder; `model.quantize.embedding.weight` is the codebook.
    `resolution`: side of the square images, in pixels.
    `downsampling`: side of the patch that one token stands for, in pixels.
    `codes`: size of the codebook; tokens are in [0, codes).
    `training`: where the weights come from (data set, recipe, figures); empty before training.
    `geometry`: how a picture of another shape becomes the square that is read."""

    def __init__(
        self, model: VQModel, resolution: int, training: Mapping[str, Any] = MappingProxyType({}), geometry: Geometry = OURS
    ) -> None:
        self.model = model.eval()
        self.resolution, self.geometry = resolution, geometry
        self.downsampling = 2 ** (len(model.config.block_out_channels) - 1)
        self.codes = model.config.num_vq_embeddings
        self.training: dict[str, Any] = dict(training)
        if resolution % self.downsampling:
            raise UserError(f"resolution {resolution} is not a multiple of the downsampling {self.downsampling}")

    @classmethod
    def build(
        cls,
        resolution: int,
        downsampling: int,
        codes: int,
        channels: Sequence[int] = (16, 32, 64, 128),
        latent_channels: int = 16,
        layers_per_block: int = 1,
        attention: bool = True,
        seed: int = 0,
    ) -> Self:
        """A tokenizer with random weights; the global generator is left as it was.
        `channels`: width at each scale, finest first: as many as `downsampling`, 2 ** (len(channels) - 1), needs.
        `latent_channels`: dimension of a codebook vector.
        `layers_per_block`: residual blocks per scale (the decoder has one more).
        `attention`: self-attention over the coarsest grid, in encoder and decoder.
        Raises UserError: `downsampling` and `channels` disagree, or the resolution is no multiple."""
        if downsampling != 2 ** (len(channels) - 1):
            raise UserError(
                f"downsampling {downsampling} needs {max(downsampling, 1).bit_length()} entries in channels"
                f" (it is 2 ** (entries - 1)); channels has {len(channels)}"
            )
        groups = next(g for g in (32, 16, 8, 4, 2, 1) if all(c % g == 0 and c // g >= 2 for c in channels) or g == 1)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = VQModel(
                down_block_types=("DownEncoderBlock2D",) * len(channels),
                up_block_types=("UpDecoderBlock2D",) * len(channels),
                block_out_channels=tuple(channels),
                layers_per_block=layers_per_block,
                latent_channels=latent_channels,
                vq_embed_dim=latent_channels,
                num_vq_embeddings=codes,
                norm_num_groups=groups,
                sample_size=resolution,
                mid_block_add_attention=attention,
                scaling_factor=1.0,
            )
        return cls(model, resolution)

    @property
    def grid(self) -> int:
        """Tokens along one side of an image."""
        return self.resolution // self.downsampling

    @property
    def length(self) -> int:
        """Tokens of one image."""
        return self.grid**2

    @property
    def batch_size(self) -> int:
        """Images that are encoded or decoded at once by default: few where they are large, as feature maps are larger."""
        return max(1, min(LARGEST_BATCH, BATCH_PIXELS // self.resolution**2))

    @property
    def codebook(self) -> Tensor:
        """(codes, latent_channels) float32, detached; used to initialise the denoiser's image embedding rows."""
        return self.model.quantize.embedding.weight.detach()

    @property
    def device(self) -> torch.device:
        return self.model.quantize.embedding.weight.device

    @property
    def fingerprint(self) -> str:
        """16 hex digits over geometry and weights: equal where the same image gives the same tokens."""
        digest = hashlib.sha256()
        config = {k: v for k, v in self.model.config.items() if not k.startswith("_")}
        digest.update(hash_of({"resolution": self.resolution, "config": config} | self._geometry()).encode())
        for name, value in sorted(self.model.state_dict().items()):
            digest.update(name.encode() + b"\0" + value.detach().float().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    def _geometry(self) -> dict[str, str]:
        """Its name, where it is not ours."""
        return {} if self.geometry == OURS else {"geometry": self.geometry.name}

    def square(self, image: Image.Image) -> Image.Image:
        """The image as the tokenizer reads it: RGB, `resolution` x `resolution` pixels."""
        return square(image, self.resolution, self.geometry)

    @property
    def vocabulary(self) -> str:
        """16 hex digits over the codebook, in half precision as the file may have it: what each code means to a model."""
        return hashlib.sha256(self.codebook.half().cpu().contiguous().numpy().tobytes()).hexdigest()[:16]

    def to(self, device: str | torch.device) -> Self:
        self.model.to(device)
        return self

    @torch.no_grad()
    def encode(self, images: Tensor) -> LongTensor:
        """Tokens (B, length), in raster order, of images (B, 3, resolution, resolution) in [-1, 1]: each latent's nearest code.
        Raises UserError: the images have another shape."""
        if images.ndim != 4 or tuple(images.shape[1:]) != (3, self.resolution, self.resolution):
            raise UserError(
                f"images of shape {tuple(images.shape)} do not fit a tokenizer for (B, 3, {self.resolution}, {self.resolution})"
            )
        latents = self.model.encode(images.to(self.device)).latents  # (B, d, grid, grid)
        return nearest(latents.permute(0, 2, 3, 1).flatten(0, 2), self.codebook).view(len(images), self.length)

    @torch.no_grad()
    def decode(self, tokens: Tensor) -> Tensor:
        """Images (B, 3, resolution, resolution), float32 in [-1, 1], of tokens (B, length), int64 in [0, codes).
        Raises ValueError: wrong shape, or a token that is no code (a mask left in, say)."""
        if tokens.ndim != 2 or tokens.shape[1] != self.length:
            raise ValueError(f"tokens of shape {tuple(tokens.shape)}; this tokenizer has {self.length} per image")
        if tokens.numel() and not (int(tokens.min()) >= 0 and int(tokens.max()) < self.codes):
            raise ValueError(f"tokens run from {int(tokens.min())} to {int(tokens.max())}; codes are 0 to {self.codes - 1}")
        latents = self.codebook[tokens.to(self.device)]  # (B, length, d)
        latents = latents.view(len(tokens), self.grid, self.grid, -1).permute(0, 3, 1, 2).contiguous()
        return self.model.decode(latents, force_not_quantize=True).sample.float().clamp(-1, 1)

    def encode_images(self, images: Sequence[Image.Image], batch_size: int | None = None) -> LongTensor:
        """Tokens (N, length), on the CPU, of images at the tokenizer's resolution (see `images.square`).
        Raises UserError: an image of another size."""
        side, batch_size = self.resolution, batch_size or self.batch_size
        for index, image in enumerate(images):
            if image.size != (side, side):
                raise UserError(f"image {index} is {image.width} x {image.height} pixels; this tokenizer reads {side} x {side}")
        chunks = [images[i : i + batch_size] for i in range(0, len(images), batch_size)]
        tokens = [self.encode(to_tensor([image.convert("RGB") for image in chunk])).cpu() for chunk in chunks]
        return torch.cat(tokens) if tokens else torch.empty(0, self.length, dtype=torch.long)

    def decode_images(self, tokens: Tensor, batch_size: int | None = None) -> list[Image.Image]:
        """RGB images of tokens (N, length), rounded half to even."""
        return [image for chunk in tokens.split(batch_size or self.batch_size) for image in to_images(self.decode(chunk).cpu())]

    def reconstruct(self, images: Sequence[Image.Image]) -> list[Image.Image]:
        """The round trip image -> tokens -> image: the ceiling of every model on these tokens."""
        return self.decode_images(self.encode_images(images)) if len(images) else []

    def save_pretrained(self, folder: str | Path, dtype: torch.dtype = torch.float32) -> None:
        """Writes `VQModel`'s two files and, last, `image_tokenizer.json`; `dtype` is that of the weights on disk."""
        folder = Path(folder)
        (folder / DESCRIPTION).unlink(missing_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        weights = {name: value.detach().to("cpu", dtype).contiguous() for name, value in self.model.state_dict().items()}
        with atomic_path(folder / WEIGHTS) as temporary:
            save_file(weights, temporary, metadata={"format": "pt"})
        self.model.save_config(folder)
        geometry = {"resolution": self.resolution, "downsampling": self.downsampling, "codes": self.codes}
        write_json(folder / DESCRIPTION, {"format": FORMAT, **geometry, "training": self.training, **self._geometry()})

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """Reads what `save_pretrained` wrote, or the `vqgan.yaml` and `vqgan.ckpt` of a VQGAN of taming-transformers
        (Chameleon's, say; see `medim.tokenizers.taming`), as float32 on the CPU.
        Raises UserError: a file is missing, unreadable, or the files disagree."""
        folder = Path(folder)
        if not (folder / DESCRIPTION).is_file() and (folder / taming.YAML).is_file():
            return cls(*taming.read_taming(folder))
        for name in (DESCRIPTION, CONFIG, WEIGHTS):
            if not (folder / name).is_file():
                raise UserError(f"no image tokenizer in '{folder}': {name} is missing (a VQGAN has {taming.YAML} in its place)")
        description = checked(_Description, read_mapping(folder / DESCRIPTION), f"'{folder / DESCRIPTION}'")
        fields = read_mapping(folder / CONFIG)
        checked(_Architecture, fields, f"'{folder / CONFIG}'")
        with foreign(f"'{folder / CONFIG}'"), torch.device("meta"):  # without random weights
            model = VQModel.from_config(fields)
        tensors = {name: tensor.float().contiguous() for name, tensor in read_tensors(folder / WEIGHTS).items()}
        fill(model, tensors, f"'{folder / WEIGHTS}'", assign=True)
        tokenizer = cls(model, description.resolution, description.training, GEOMETRIES[description.geometry])
        for name in ("downsampling", "codes"):
            said, is_ = getattr(description, name), getattr(tokenizer, name)
            if said != is_:
                raise UserError(f"'{folder / DESCRIPTION}': {name} is {said}, but {CONFIG} makes it {is_}")
        return tokenizer


def nearest(latents: Tensor, codebook: Tensor) -> LongTensor:
    """Index of the Euclidean-nearest codebook vector, in float32: latents (N, d), codebook (K, d) -> (N,) int64."""
    latents, codebook = latents.float(), codebook.float()
    # |z - e|^2 = |z|^2 - 2 z.e + |e|^2; the first term does not move the argmin
    return torch.addmm(codebook.square().sum(1), latents, codebook.T, alpha=-2).argmin(1)
