"""Numbers that are none: NaN and infinite values in what was trained or loaded."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from medim.common.errors import UserError


def first_broken(tensors: Mapping[str, Tensor] | Iterable[tuple[str, Tensor]]) -> str | None:
    """Name of the first tensor that holds a NaN or an infinite number; None where there is none. Waits for the device once."""
    pairs = tensors.items() if isinstance(tensors, Mapping) else tensors
    names, largest = [], []
    for name, tensor in pairs:
        own = (tensor.to_local() if isinstance(tensor, DTensor) else tensor).detach()
        if own.is_floating_point() and own.numel() and own.device.type != "meta":
            low, high = own.aminmax()
            names.append(name)
            largest.append(torch.maximum(-low, high).float())
    if not names:
        return None
    found = torch.stack([value.to(largest[0].device) for value in largest]).isfinite().tolist()
    return next((name for name, fine in zip(names, found, strict=True) if not fine), None)


def refuse_broken(tensors: Mapping[str, Tensor] | Iterable[tuple[str, Tensor]], what: str) -> None:
    """Raises a UserError that names `what` and the first of its tensors that holds a NaN or an infinite number."""
    name = first_broken(tensors)
    if name is not None:
        raise UserError(
            f"{what}: tensor {name} holds NaN or infinite numbers: take an earlier checkpoint, or get the file again"
        )
