import io

import numpy as np
import pytest
import torch
from PIL import Image

from medim.common.errors import UserError
from medim.perception.array import ArrayFeatures, image_key, write_features
from tasks.metrics.image import features as module
from tasks.metrics.image.features import FeatureBank
from tasks.metrics.image.frechet import Moments, frechet_distance


class Counting:
    """Mean grey and contrast of an image, and how many images were asked for."""

    name = "counting:a/b"
    title = "counting"
    fingerprint = "counting-1"
    resize = "none"
    trained_against = False

    def __init__(self) -> None:
        self.seen = 0

    def features(self, images: torch.Tensor) -> torch.Tensor:
        self.seen += len(images)
        flat = images.flatten(1)
        return torch.stack([flat.mean(1), flat.std(1)], dim=1)


class Classifier(Counting):
    classes = 3

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        return features @ torch.arange(6.0).reshape(2, 3)


def pictures(count: int, side: int = 16, seed: int = 0) -> list[Image.Image]:
    values = np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)
    return [Image.fromarray(value) for value in values]


def test_features_are_in_order_whatever_the_sizes(world):
    images = [world.draw(frozenset(), 10).resize((side, side)) for side in (16, 8, 16, 8, 16)]
    images += [world.draw(frozenset(["blue"]), 10)]
    features = FeatureBank(Counting()).features(images)
    assert features.shape == (6, 2)
    assert features.dtype == np.float64
    assert np.allclose(features[:5], [10 / 127.5 - 1, 0], atol=1e-6)
    assert not np.allclose(features[5], features[0])


def test_an_image_passes_the_network_once(monkeypatch):
    monkeypatch.setattr(module, "BATCH", 3)
    bank, images = FeatureBank(Counting()), pictures(8)
    first = bank.features(images + images[:2])
    again = bank.features([image.copy() for image in reversed(images)])
    assert bank.space.seen == 8
    assert np.array_equal(first[:8], again[::-1])
    assert np.array_equal(first[8:], first[:2])


def test_kept_features_outlive_the_run(tmp_path):
    images = pictures(5)
    first = FeatureBank(Counting(), folder=tmp_path)
    expected = first.features(images[:3], keep=True)
    first.features(images[3:])  # not kept
    second = FeatureBank(Counting(), folder=tmp_path)
    assert np.array_equal(second.features(images[:3], keep=True), expected)
    assert second.space.seen == 0
    second.features(images, keep=True)
    assert second.space.seen == 2
    third = FeatureBank(Counting(), folder=tmp_path)
    third.features(images)
    assert third.space.seen == 0
    assert [path.name for path in tmp_path.iterdir()] == ["counting-a-b-counting-1"]


def test_one_pixel_or_other_weights_find_nothing(tmp_path):
    images = pictures(3)
    FeatureBank(Counting(), folder=tmp_path).features(images, keep=True)
    images[1].putpixel((0, 0), (1, 2, 3))
    changed = FeatureBank(Counting(), folder=tmp_path)
    changed.features(images)
    assert changed.space.seen == 1
    other = Counting()
    other.fingerprint = "counting-2"
    FeatureBank(other, folder=tmp_path).features(images)
    assert other.seen == 3


def test_what_a_killed_run_was_writing_is_passed_over(tmp_path):
    first = FeatureBank(Counting(), folder=tmp_path).features(pictures(3), keep=True)
    [whole] = tmp_path.rglob("*.npz")
    whole.with_name(f".{whole.stem}.0123abcd.npz").write_bytes(whole.read_bytes()[:40])
    assert np.array_equal(FeatureBank(Counting(), folder=tmp_path).features(pictures(3), keep=True), first)


def test_a_damaged_file_is_named(tmp_path):
    FeatureBank(Counting(), folder=tmp_path).features(pictures(3), keep=True)
    (path,) = tmp_path.rglob("*.npz")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match=path.name):
        FeatureBank(Counting(), folder=tmp_path).features(pictures(3))


def test_logits_where_there_is_a_classifier():
    bank = FeatureBank(Classifier())
    features = bank.features(pictures(4))
    assert bank.classifies
    np.testing.assert_allclose(bank.logits(features), features @ np.arange(6.0).reshape(2, 3), rtol=1e-6)
    assert bank.space.seen == 4
    assert not FeatureBank(Counting()).classifies
    assert FeatureBank(Counting()).logits(features) is None


def test_a_feature_array_serves_the_images_that_it_has(tmp_path):
    images = pictures(3)
    write_features(tmp_path / "own.npz", [image_key(image) for image in images], np.arange(6.0).reshape(3, 2))
    bank = FeatureBank(ArrayFeatures(tmp_path / "own.npz"))
    assert np.array_equal(bank.features(images[::-1]), [[4.0, 5], [2, 3], [0, 1]])
    with pytest.raises(UserError, match="lacks 2 of 2 images"):
        bank.features(pictures(2, seed=1))


def test_what_a_run_keeps_is_such_an_array(tmp_path):
    images = pictures(3)
    expected = FeatureBank(Counting(), folder=tmp_path).features(images, keep=True)
    (path,) = tmp_path.rglob("*.npz")
    assert np.array_equal(FeatureBank(ArrayFeatures(path)).features(images), expected)


@pytest.fixture(scope="module")
def network():
    pytest.importorskip("efficientnet_lite_pytorch", reason="the extra 'scoring' is not installed")
    from medim.perception.efficientnet import EfficientNetLite0Features

    return EfficientNetLite0Features()


def waves(count: int, seed: int) -> list[Image.Image]:
    """Smooth pictures with an edge, 48 px."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[:48, :48]
    pictures = []
    for _ in range(count):
        a, b, c = generator.uniform(0.05, 0.4, 3)
        grey = 127 + 60 * np.sin(a * x + b * y) + 60 * (x > 24 + 15 * np.sin(c * y))
        pictures.append(Image.fromarray(np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, axis=2)))
    return pictures


def test_the_distance_does_not_depend_on_the_batch_size(network, monkeypatch):
    """Features in float32 differ by the batch in their last digits; the distance by less than a thousandth."""
    sides = waves(8, 0), waves(8, 1)
    distances = []
    for size in (1, 8):
        monkeypatch.setattr(module, "BATCH", size)
        bank = FeatureBank(network)
        distances.append(frechet_distance(*(Moments.of_features(bank.features(side)) for side in sides)))
    assert distances[0] == pytest.approx(distances[1], rel=1e-3)


def test_compression_alone_is_a_distance(network):
    """The same pictures as PNG and as JPEG of quality 90."""

    def jpeg(image: Image.Image) -> Image.Image:
        stream = io.BytesIO()
        image.save(stream, "JPEG", quality=90)
        return Image.open(io.BytesIO(stream.getvalue())).convert("RGB")

    bank, images = FeatureBank(network), waves(8, 0)
    plain, compressed = bank.features(images), bank.features([jpeg(image) for image in images])
    assert frechet_distance(Moments.of_features(plain), Moments.of_features(compressed)) > 0.1
    assert frechet_distance(Moments.of_features(plain), Moments.of_features(plain[::-1])) == pytest.approx(0, abs=1e-6)


def test_a_cpu_takes_few_images_at_once():
    sizes = []

    class Noting(Counting):
        def features(self, images: torch.Tensor) -> torch.Tensor:
            sizes.append(len(images))
            return super().features(images)

    FeatureBank(Noting()).features(pictures(10))
    assert sizes == [4, 4, 2]
