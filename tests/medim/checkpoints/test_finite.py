"""A NaN or an infinite number in any tensor is found, and named."""

import pytest
import torch

from medim.checkpoints.finite import first_broken, refuse_broken
from medim.common.errors import UserError


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_the_first_broken_tensor_is_named(dtype, value):
    tensors = {
        "a": torch.ones(3, dtype=dtype),
        "b": torch.zeros(2, 2, dtype=dtype),
        "ids": torch.arange(3),
        "no": torch.ones(0),
    }
    assert first_broken(tensors) is None
    tensors["b"][1, 0] = value
    assert first_broken(tensors) == "b"
    with pytest.raises(UserError, match="model 'x': tensor b holds NaN or infinite numbers"):
        refuse_broken(tensors, "model 'x'")


def test_nothing_is_broken_in_nothing():
    assert first_broken({}) is None
