"""Weights and images by formula, the same on every machine."""

import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from medim.perception.densenet import DenseNet121
from medim.perception.inception import InceptionV3


def formula_weights(key: str, shape: tuple[int, ...]) -> np.ndarray:
    """Weights of one tensor, seeded by its name: small enough and large enough that all layers stay alive."""
    generator = np.random.default_rng(zlib.crc32(key.encode()))
    if key.endswith("num_batches_tracked"):
        return np.array(0, dtype=np.int64)
    if key.endswith("running_var"):
        values = generator.uniform(0.5, 1.5, shape)
    elif len(shape) == 1:
        values = generator.uniform(0.9, 1.1, shape) if key.endswith("weight") else generator.uniform(-0.1, 0.1, shape)
    else:
        values = generator.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))
    return values.astype(np.float32)


@pytest.fixture(scope="session")
def inception_state() -> dict[str, torch.Tensor]:
    """A state of the Inception network with weights by formula."""
    return _state(InceptionV3)


@pytest.fixture(scope="session")
def densenet_state() -> dict[str, torch.Tensor]:
    """A state of the DenseNet with weights by formula."""
    return _state(DenseNet121)


def _state(network: type[torch.nn.Module]) -> dict[str, torch.Tensor]:
    with torch.device("meta"):
        layout = {key: tuple(value.shape) for key, value in network().state_dict().items()}
    return {key: torch.from_numpy(formula_weights(key, shape)) for key, shape in layout.items()}


@pytest.fixture(scope="session")
def inception_file(inception_state, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "random.pth"
    torch.save(inception_state, path)
    return path
