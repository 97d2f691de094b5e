"""MAGVIT-v2's image tokenizer (arXiv 2310.05737) in the layout of `showlab/magvitv2`, which MMaDA reads and writes.

A convolutional encoder and decoder as in VQGAN; the signs of a latent's d dimensions are the bits of its code, the first the
highest. How wide and deep it is follows from the shapes of its tensors.
"""

import re
from collections.abc import Mapping

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
        if inputs != outputs:
            self.nin_shortcut = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(F.silu(self.norm1(x)))
        y = self.conv2(F.silu(self.norm2(y)))
        return y + (self.nin_shortcut(x) if hasattr(self, "nin_shortcut") else x)


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
    """The blocks of one scale, and the convolution that halves the sides behind them, or doubles them."""

    def __init__(self, blocks: list[tuple[int, int]], resampled: str | None) -> None:
        super().__init__()
        self.block = nn.ModuleList(Resnet(*sizes) for sizes in blocks)
        if resampled is not None:
            width, step = blocks[-1][1], nn.Module()
            step.conv = nn.Conv2d(width, width, 3, 2) if resampled == "downsample" else nn.Conv2d(width, width, 3, padding=1)
            self.add_module(resampled, step)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.block:
            x = block(x)
        if hasattr(self, "downsample"):
            return self.downsample.conv(F.pad(x, (0, 1, 0, 1)))
        return self.upsample.conv(F.interpolate(x, scale_factor=2.0)) if hasattr(self, "upsample") else x


class Magvit(nn.Module):
    """Images (B, 3, H, W) in [-1, 1] to codes (B, N) in raster order and back; N = H W / `downsampling`^2."""

    def __init__(self, tensors: Mapping[str, Tensor], what: str) -> None:
        """Raises UserError: tensors of another layout, or that do not fit each other."""
        super().__init__()
        down, up = _scales(tensors, "encoder.down", "downsample"), _scales(tensors, "decoder.up", "upsample")
        codebook = tensors.get("quantize.embedding")
        if not down or not up or codebook is None or codebook.ndim != 2:
            raise UserError(f"{what}: no encoder.down, decoder.up and quantize.embedding: is it showlab/magvitv2?")
        codes, bits = codebook.shape
        first, last, inner = down[0][0][0][0], down[-1][0][-1][1], up[-1][0][0][0]
        self.encoder, self.decoder, self.quantize = nn.Module(), nn.Module(), nn.Module()
        self.encoder.conv_in, self.encoder.mid = nn.Conv2d(3, first, 3, padding=1), Middle(last)
        self.encoder.down = nn.ModuleList(Scale(*scale) for scale in down)
        self.encoder.norm_out, self.encoder.conv_out = _norm(last), nn.Conv2d(last, bits, 3, padding=1)
        self.encoder.quant_conv, self.decoder.post_quant_conv = nn.Conv2d(bits, bits, 1), nn.Conv2d(bits, bits, 1)
        self.decoder.conv_in, self.decoder.mid = nn.Conv2d(bits, inner, 3, padding=1), Middle(inner)
        self.decoder.up = nn.ModuleList(Scale(*scale) for scale in up)
        width = up[0][0][-1][1]
        self.decoder.norm_out, self.decoder.conv_out = _norm(width), nn.Conv2d(width, 3, 3, padding=1)
        self.quantize.register_buffer("embedding", torch.zeros(codes, bits))
        self.quantize.register_buffer("power_vals", 2 ** torch.arange(bits - 1, -1, -1))
        fill(self, tensors, what)
        self.codes, self.downsampling = codes, 2 ** (len(down) - 1)

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        x = self.encoder.conv_in(images)
        for scale in self.encoder.down:
            x = scale(x)
        x = self.encoder.conv_out(F.silu(self.encoder.norm_out(self.encoder.mid(x))))
        signs = self.encoder.quant_conv(x) > 0  # (B, d, h, w)
        return (signs * self.quantize.power_vals[:, None, None]).sum(1).flatten(1)

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        """Of a square number of codes an image."""
        side = round(codes.shape[1] ** 0.5)
        x = self.quantize.embedding[codes].transpose(1, 2).unflatten(2, (side, side))
        x = self.decoder.mid(self.decoder.conv_in(self.decoder.post_quant_conv(x)))
        for scale in reversed(self.decoder.up):
            x = scale(x)
        return self.decoder.conv_out(F.silu(self.decoder.norm_out(x)))


def _norm(width: int) -> nn.GroupNorm:
    return nn.GroupNorm(GROUPS, width, eps=1e-6)


def _scales(tensors: Mapping[str, Tensor], name: str, resampled: str) -> list[tuple[list[tuple[int, int]], str | None]]:
    """Inputs and outputs of each block of each scale, and what follows them, by the tensors' names and shapes."""
    pattern = re.compile(rf"{re.escape(name)}\.(\d+)\.block\.(\d+)\.conv1\.weight")
    blocks: dict[int, dict[int, tuple[int, int]]] = {}
    for key, value in tensors.items():
        if match := pattern.fullmatch(key):
            blocks.setdefault(int(match[1]), {})[int(match[2])] = value.shape[1], value.shape[0]
    return [
        (
            [sizes for _, sizes in sorted(of_scale.items())],
            resampled if f"{name}.{scale}.{resampled}.conv.weight" in tensors else None,
        )
        for scale, of_scale in sorted(blocks.items())
    ]
