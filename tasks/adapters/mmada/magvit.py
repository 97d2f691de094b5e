"""MAGVIT-v2's image tokenizer (arXiv 2310.05737) in the layout of `showlab/magvitv2`, which MMaDA reads and writes.
A convolutional encoder and decoder as in VQGAN; the signs of a latent's d dimensions are the bits of its code, the first the
highest. How wide and deep it is follows from the shapes of its tensors."""

import re
from collections.abc import Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medim.common.errors import UserError
from medim.weights.loading import fill

GROUPS = 32  # of every GroupNorm


class Resnet(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = _norm(inputs), nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm2, self.conv2 = _norm(outputs), nn.Conv2d(outputs, outputs, 3, padding=1)
        self.nin_shortcut: nn.Module = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(F.silu(self.norm1(x)))
        y = self.conv2(F.silu(self.norm2(y)))
        return y + self.nin_shortcut(x)


class Attention(nn.Module):
    """All pixels of the coarsest scale see each other, with one head."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = _norm(width)
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(width, width, 1) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        q, k, v = (part(y).flatten(2).transpose(1, 2) for part in (self.q, self.k, self.v))  # (B, H W, width)
        return x + self.proj_out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(x.shape))


class Middle(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.block_1, self.attn_1, self.block_2 = Resnet(width, width), Attention(width), Resnet(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.block_2(self.attn_1(self.block_1(x)))


class Scale(nn.Module):
    """The blocks of one scale, and the convolution behind them that halves the sides or doubles them, where there is one."""

    def __init__(self, sizes: "Sizes") -> None:
        super().__init__()
        self.block = nn.ModuleList(Resnet(inputs, outputs) for inputs, outputs in sizes.blocks)
        width, step = sizes.outputs, sizes.resampled
        half, double = nn.Conv2d(width, width, 3, 2), nn.Conv2d(width, width, 3, padding=1)
        self.downsample = nn.ModuleDict({"conv": half} if step == "downsample" else {})
        self.upsample = nn.ModuleDict({"conv": double} if step == "upsample" else {})

    def forward(self, x: Tensor) -> Tensor:
        for block in self.block:
            x = block(x)
        for step in self.downsample.values():
            x = step(F.pad(x, (0, 1, 0, 1)))
        for step in self.upsample.values():
            x = step(F.interpolate(x, scale_factor=2.0))
        return x


class Encoder(nn.Module):
    def __init__(self, down: "list[Sizes]", bits: int) -> None:
        super().__init__()
        width = down[-1].outputs
        self.conv_in, self.down = nn.Conv2d(3, down[0].inputs, 3, padding=1), nn.ModuleList(map(Scale, down))
        self.mid, self.norm_out, self.conv_out = Middle(width), _norm(width), nn.Conv2d(width, bits, 3, padding=1)
        self.quant_conv = nn.Conv2d(bits, bits, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_in(x)
        for scale in self.down:
            x = scale(x)
        return self.quant_conv(self.conv_out(F.silu(self.norm_out(self.mid(x)))))


class Decoder(nn.Module):
    def __init__(self, up: "list[Sizes]", bits: int) -> None:
        super().__init__()
        width = up[-1].inputs
        self.post_quant_conv, self.conv_in = nn.Conv2d(bits, bits, 1), nn.Conv2d(bits, width, 3, padding=1)
        self.mid, self.up = Middle(width), nn.ModuleList(map(Scale, up))
        self.norm_out, self.conv_out = _norm(up[0].outputs), nn.Conv2d(up[0].outputs, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.mid(self.conv_in(self.post_quant_conv(x)))
        for scale in reversed(self.up):
            x = scale(x)
        return self.conv_out(F.silu(self.norm_out(x)))


class Codebook(nn.Module):
    """The signs of each code (codes, d), and what each bit is worth (d,)."""

    embedding: Tensor
    power_vals: Tensor

    def __init__(self, codes: int, bits: int) -> None:
        super().__init__()
        self.register_buffer("embedding", torch.zeros(codes, bits))
        self.register_buffer("power_vals", 2 ** torch.arange(bits - 1, -1, -1))


class Magvit(nn.Module):
    """Images (B, 3, H, W) in [-1, 1] to codes (B, N) in raster order and back; N = H W / `downsampling`^2."""

    def __init__(self, tensors: Mapping[str, Tensor], what: str) -> None:
        """Raises UserError: tensors of another layout, or that do not fit each other."""
        super().__init__()
        down, up = _scales(tensors, "encoder.down", "downsample"), _scales(tensors, "decoder.up", "upsample")
        codebook = tensors.get("quantize.embedding")
        if not down or not up or codebook is None or codebook.ndim != 2:
            raise UserError(f"{what}: no encoder.down, decoder.up and quantize.embedding: is it showlab/magvitv2?")
        halved, doubled = (sum(scale.resampled is not None for scale in part) for part in (down, up))
        if halved != doubled:
            raise UserError(f"{what}: its encoder halves the sides {halved} times, its decoder doubles them {doubled} times")
        self.codes, bits = codebook.shape
        self.downsampling = 2**halved
        self.encoder, self.decoder, self.quantize = Encoder(down, bits), Decoder(up, bits), Codebook(self.codes, bits)
        fill(self, tensors, what)
        numbers = ((self.quantize.embedding > 0) * self.quantize.power_vals).sum(1)
        if self.codes != 2**bits or not torch.equal(numbers, torch.arange(self.codes)):
            raise UserError(f"{what}: quantize.embedding is not all signs of {bits} bits in order, but {self.codes} codes")

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        signs = self.encoder(images) > 0  # (B, d, h, w)
        return (signs * self.quantize.power_vals[:, None, None]).sum(1).flatten(1)

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        """Of a square number of codes an image."""
        side = round(codes.shape[1] ** 0.5)
        return self.decoder(self.quantize.embedding[codes].transpose(1, 2).unflatten(2, (side, side)))


class Sizes(NamedTuple):
    """Channels (inputs, outputs) of each block of a scale, and the name of what follows them."""

    blocks: list[tuple[int, int]]
    resampled: str | None

    @property
    def inputs(self) -> int:
        return self.blocks[0][0]

    @property
    def outputs(self) -> int:
        return self.blocks[-1][1]


def _norm(width: int) -> nn.GroupNorm:
    return nn.GroupNorm(GROUPS, width, eps=1e-6)


def _scales(tensors: Mapping[str, Tensor], name: str, resampled: str) -> list[Sizes]:
    """Of an encoder's or a decoder's scales, by its tensors' names and shapes."""
    pattern = re.compile(rf"{re.escape(name)}\.(\d+)\.block\.(\d+)\.conv1\.weight")
    blocks: dict[int, dict[int, tuple[int, int]]] = {}
    for key, value in tensors.items():
        if match := pattern.fullmatch(key):
            blocks.setdefault(int(match[1]), {})[int(match[2])] = value.shape[1], value.shape[0]
    followed = {scale for scale in blocks if f"{name}.{scale}.{resampled}.conv.weight" in tensors}
    return [
        Sizes([channels for _, channels in sorted(of_scale.items())], resampled if scale in followed else None)
        for scale, of_scale in sorted(blocks.items())
    ]
