import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from medim.perception.preprocess import normalised, resized, tf1_bilinear, weights_hash


def noise(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("kind", "dtype", "bound"), [("smooth", "float32", 1.2e-4), ("noise", "float32", 4e-3), ("noise", "float64", 2e-5)]
)
def test_the_resize_is_pillows_of_a_float_image(kind, dtype, bound):
    """As clean-fid resizes, 512 to 299, in grey levels of 255. What float32 leaves is far below one level."""
    y, x = np.mgrid[:512, :512]
    smooth = 127 + 60 * np.sin(x / 23) + 60 * np.cos(y / 31)
    image = smooth if kind == "smooth" else np.random.default_rng(0).integers(0, 256, (512, 512))
    pillow = Image.fromarray(image.astype(np.float32)).resize((299, 299), Image.Resampling.BICUBIC)
    ours = resized(torch.from_numpy(image.astype(dtype))[None, None], 299)[0, 0].numpy()
    assert np.abs(ours - np.asarray(pillow)).max() < bound


def test_tf1_bilinear_by_hand():
    """From 2 to 4: positions 0, 0.5, 1, 1.5, the last beyond the edge."""
    image = torch.tensor([[0.0, 10.0], [20.0, 30.0]])[None, None]
    row = torch.tensor([0.0, 5, 10, 10])
    assert torch.equal(tf1_bilinear(image, 4)[0, 0], torch.stack([row, row + 10, row + 20, row + 20]))


def test_tf1_bilinear_takes_single_pixels_when_shrinking():
    image = noise(1, 1, 8, 12)
    assert torch.equal(tf1_bilinear(image, 4), image[..., ::2, ::3])


def test_a_fitting_image_is_left_as_it_is():
    image = noise(1, 3, 7, 7)
    assert torch.equal(tf1_bilinear(image, 7), image)
    assert resized(image, 7) is image


def test_normalised():
    images = torch.tensor([-1.0, 0.0, 1.0]).expand(1, 3, 1, 3)
    values = normalised(images, (0.5, 0.25, 0), (0.5, 0.25, 1))[0, :, 0]
    assert torch.allclose(values, torch.tensor([[-1, 0, 1], [-1, 1, 3], [0, 0.5, 1]]))


def test_the_hash_sees_names_shapes_types_and_values():
    layer = nn.Linear(4, 2)
    with torch.no_grad():
        layer.weight.copy_(noise(2, 4))
        layer.bias.zero_()
    first = weights_hash(layer)
    assert weights_hash(layer) == first
    assert weights_hash(nn.Sequential(layer)) != first
    assert weights_hash(layer.double()) != first
    with torch.no_grad():
        layer.float().weight[1, 3] += 1e-6
    assert weights_hash(layer) != first


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_the_hash_takes_any_type(dtype):
    assert len(weights_hash(nn.BatchNorm1d(3).to(dtype))) == 16
