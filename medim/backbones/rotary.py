"""Rotary positions (Su et al. 2021, arXiv 2104.09864), along the sequence or over the rows and columns of an image."""

import torch

BASE = 10_000.0


def angles(positions: torch.Tensor, dimensions: int) -> torch.Tensor:
    """positions (L,) -> angles (L, dimensions / 2), from one radian a position down to 1 / BASE."""
    frequencies = BASE ** -(torch.arange(0, dimensions, 2, device=positions.device) / dimensions)
    return positions[:, None].float() * frequencies


def sequence_angles(length: int, head: int, device: torch.device | str = "cpu") -> torch.Tensor:
    """Angles (length, head / 2) of a plain sequence."""
    return angles(torch.arange(length, device=device), head)


def canvas_angles(length: int, image: slice, head: int, device: torch.device | str = "cpu") -> torch.Tensor:
    """Angles (length, head / 2): half of them turn with an image token's row, half with its column; others with their place.

    Args:
        length: of the canvas.
        image: where the image stands; a square grid in raster order.
        head: dimensions of an attention head, a multiple of 4.
    """
    count = image.stop - image.start
    side = round(count**0.5)
    rows, columns = torch.arange(length, device=device), torch.arange(length, device=device)
    if side * side == count:
        place = torch.arange(count, device=device)
        rows[image], columns[image] = image.start + place // side, image.start + place % side
    return torch.cat([angles(rows, head // 2), angles(columns, head // 2)], dim=-1)


def rotate(x: torch.Tensor, turn: torch.Tensor) -> torch.Tensor:
    """x (B, heads, L, head) turned by angles (L, head / 2)."""
    first, second = x.chunk(2, dim=-1)
    cos, sin = turn.cos().to(x.dtype), turn.sin().to(x.dtype)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)
