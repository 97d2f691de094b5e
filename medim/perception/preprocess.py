"""From images in [-1, 1] to what a network expects: one resize, one normalisation, and the hash of the weights."""

import hashlib
from collections.abc import Collection, Sequence
from typing import Self

import torch
import torch.nn.functional as F
from torch import nn


class Frozen(nn.Module):
    """A network that always is in evaluation mode: a measure has no batch statistics and no dropped paths."""

    def train(self, mode: bool = True) -> Self:
        return super().train(False)


def resized(images: torch.Tensor, side: int) -> torch.Tensor:
    """Images (B, C, H, W) as (B, C, side, side): bicubic in float with the filter widened when shrinking (antialiased),
    not rounded to grey levels in between. This is what Pillow does to a float image (Parmar et al. 2022, clean-fid)."""
    if images.shape[-2:] == (side, side):
        return images
    return F.interpolate(images, size=(side, side), mode="bicubic", antialias=True, align_corners=False)


def resize_name(side: int) -> str:
    """What `resized` does, for signatures."""
    return f"bicubic,antialias,float,{side}"


def tf1_bilinear(images: torch.Tensor, side: int) -> torch.Tensor:
    """Images (B, C, H, W) as (B, C, side, side) by TensorFlow 1's bilinear resize: the pixel at i is read at i * in / out,
    between its two neighbours, without antialiasing. The original FID does this."""
    rows, below, down = _tf1_grid(images.shape[-2], side, images.device)
    columns, right, across = _tf1_grid(images.shape[-1], side, images.device)
    upper, lower = images[..., rows, :], images[..., below, :]
    across = across.to(images.dtype)
    upper = upper[..., columns] + (upper[..., right] - upper[..., columns]) * across
    lower = lower[..., columns] + (lower[..., right] - lower[..., columns]) * across
    return upper + (lower - upper) * down.to(images.dtype)[:, None]


def _tf1_grid(given: int, wanted: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """For each output pixel the input pixel before it, the one after it, and how far it lies between them; in float32,
    as TensorFlow counts."""
    position = torch.arange(wanted, dtype=torch.float32, device=device) * torch.tensor(given / wanted, dtype=torch.float32)
    before = position.long()
    return before, (before + 1).clamp_max(given - 1), position - before


def normalised(images: torch.Tensor, mean: Sequence[float], deviation: Sequence[float]) -> torch.Tensor:
    """Images (B, 3, H, W) in [-1, 1] as (x - mean) / deviation with x in [0, 1], by channel."""
    shift = torch.tensor(mean, dtype=images.dtype, device=images.device)[:, None, None]
    scale = torch.tensor(deviation, dtype=images.dtype, device=images.device)[:, None, None]
    return (images.add(1).div(2) - shift) / scale


def weights_hash(module: nn.Module, without: Collection[str] = ()) -> str:
    """SHA-256 (first 16 hex digits) over names, types, shapes and values of all parameters and buffers but those named."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        if name in without:
            continue
        values = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {values.dtype} {tuple(values.shape)} ".encode())
        digest.update(values.reshape(-1).view(torch.uint8).numpy().tobytes() if values.numel() else b"")
    return digest.hexdigest()[:16]
