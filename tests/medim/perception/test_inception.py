"""The network gives what torch-fidelity's own gives on the same weights; a file is found, checked, and FID only if released."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from medim.common.errors import UserError
from medim.perception import inception
from medim.perception.inception import WEIGHTS_FILES, InceptionFeatures, InceptionV3, find_weights

FIXTURE = json.loads((Path(__file__).parent / "inception_fixture.json").read_text())
"""From torch-fidelity 0.4.0 (FeatureExtractorInceptionV3, outputs `2048` and `logits_unbiased`, float32, one thread) with
the weights of `conftest.formula_weights` and the images of `formula_images`: every 31st feature (some of each branch), the sum
of all features, and the first 16 class scores. `metrics` are what it measures of `formula_set(1)` against `formula_set(0)`."""


@pytest.fixture(scope="module")
def space(inception_file) -> InceptionFeatures:
    return InceptionFeatures(inception_file)


def formula_images(height: int, width: int) -> torch.Tensor:
    """Two images in [-1, 1] of whole grey levels."""
    b, c, y, x = np.meshgrid(range(2), range(3), range(height), range(width), indexing="ij")
    return torch.from_numpy((x * (3 + b) + y * (5 + 2 * c) + x * y // 7 + 31 * c + 57 * b) % 256).float() / 127.5 - 1


def test_its_file_has_the_released_layout(inception_state):
    layout = {key: list(value.shape) for key, value in inception_state.items()}
    assert len(layout) == FIXTURE["tensors"]["count"]
    digest = hashlib.sha256(json.dumps(layout, sort_keys=True).encode()).hexdigest()
    assert digest == FIXTURE["tensors"]["sha256_of_names_and_shapes"]


@pytest.mark.parametrize("case", FIXTURE["cases"], ids=lambda case: f"{case['height']}x{case['width']}")
def test_features_and_logits_are_torch_fidelitys(space, case):
    features = space.features(formula_images(case["height"], case["width"]))
    assert features.shape == (2, 2048)
    np.testing.assert_allclose(features[:, ::31], case["features"], atol=2e-5)
    np.testing.assert_allclose(features.double().sum(1), case["features_sum"], rtol=1e-6)
    np.testing.assert_allclose(space.logits(features)[:, :16], case["logits"], atol=3e-5)


def formula_set(which: int) -> torch.Tensor:
    """Twelve images of waves."""
    b, c, y, x = np.meshgrid(range(12), range(3), range(32), range(32), indexing="ij")
    wave = x * (1 + b % 5) * (3 + which) + y * (2 + b // 5) * (4 + c) + 40 * b + 90 * which
    return torch.from_numpy(wave % 256).float() / 127.5 - 1


def test_metrics_are_torch_fidelitys(space):
    """Its Fréchet distance goes through the root of a singular matrix, its kernel distance through float32."""
    pytest.importorskip("torchmetrics", reason="the extra 'scoring' is not installed")
    from tasks.metrics.image.frechet import Moments, frechet_distance
    from tasks.metrics.image.inception import inception_score
    from tasks.metrics.image.kernel import kernel_distance

    features = [space.features(formula_set(which)) for which in (0, 1)]
    reference, generated = (x.double().numpy() for x in features)
    known = FIXTURE["metrics"]
    assert frechet_distance(*map(Moments.of_features, (reference, generated))) == pytest.approx(known["fid"], rel=1e-5)
    assert kernel_distance(reference, generated) == pytest.approx(known["kid"], rel=3e-4)
    logits = space.logits(features[1]).double().numpy()
    assert inception_score(logits) == pytest.approx(known["inception_score"], rel=1e-7)


def test_the_last_block_pools_its_maximum(space, monkeypatch):
    """The comparison above would notice the ways in which other Inceptions differ."""
    images = formula_images(64, 64)
    expected = np.array(FIXTURE["cases"][0]["features"])
    last = space.network.Mixed_7c
    monkeypatch.setattr(last, "plan", replace(last.plan, pool="average"))
    assert np.abs(space.features(images)[:, ::31].numpy() - expected).max() > 1e-2


def test_the_clean_resize_is_another_measure(space, inception_file):
    clean = InceptionFeatures(inception_file, antialias=True)
    large = formula_images(350, 420)
    assert (clean.features(large) - space.features(large)).abs().max() > 0.05
    assert clean.fingerprint != space.fingerprint
    assert clean.resize == "bicubic,antialias,float,299"
    assert space.resize == "bilinear,tf1,no antialias,float,299"


def test_features_do_not_depend_on_the_batch(space):
    images = formula_images(64, 64)
    together = space.features(torch.cat([images, images.flip(-1)]))
    assert (space.features(images[1:]) - together[1]).abs().max() < 1e-4


def test_only_the_released_content_is_official(space, inception_file, monkeypatch):
    digest = hashlib.sha256(inception_file.read_bytes()).hexdigest()
    assert not space.official
    assert space.title == f"Inception-v3, weights {digest[:8]}"
    monkeypatch.setattr(inception, "WEIGHTS_SHA256", digest[:8])
    official = InceptionFeatures(inception_file)
    assert official.official
    assert official.title == "Inception-v3"


def test_the_file_is_looked_for_in_two_places(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.delenv("MEDIM_BENCH_WEIGHTS", raising=False)
    with pytest.raises(UserError, match=rf"put '{WEIGHTS_FILES[0]}' .*hub/checkpoints or .* or give inception:PATH"):
        find_weights()
    monkeypatch.setattr(Path, "home", lambda: tmp_path)  # the reason goes into records: it names no user
    with pytest.raises(UserError, match=r"into ~/hub/checkpoints or into"):
        find_weights()
    cached = tmp_path / "hub" / "checkpoints" / WEIGHTS_FILES[1]
    cached.parent.mkdir(parents=True)
    cached.touch()
    assert find_weights() == cached
    own = tmp_path / "own" / WEIGHTS_FILES[0]
    own.parent.mkdir()
    own.touch()
    assert find_weights(own.parent) == find_weights(own) == own
    monkeypatch.setenv("MEDIM_BENCH_WEIGHTS", str(own.parent))
    assert find_weights() == own
    with pytest.raises(UserError, match=r"no file '.*nothing\.pth'"):
        find_weights(tmp_path / "nothing.pth")
    with pytest.raises(UserError, match="holds no"):
        find_weights(tmp_path)


def test_other_weights_are_refused(tmp_path, inception_state):
    path = tmp_path / "other.pth"
    path.write_bytes(b"no archive")
    with pytest.raises(UserError, match=r"other\.pth' are not those of this network"):
        InceptionFeatures(path)
    torch.save({key: value for key, value in inception_state.items() if key != "fc.weight"}, path)
    with pytest.raises(UserError, match=r"1 of 566 tensors are missing \(fc\.weight\)"):
        InceptionFeatures(path)


def test_a_pickle_that_runs_code_is_refused(tmp_path):
    class Runs:
        def __reduce__(self):
            return print, ("run",)

    path = tmp_path / "runs.pth"
    torch.save({"fc.weight": Runs()}, path)
    with pytest.raises(UserError, match="not those of this network"):
        InceptionFeatures(path)


def test_the_global_generator_is_left_alone(inception_file):
    state = torch.random.get_rng_state()
    network = InceptionFeatures(inception_file).train()
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not any(module.training for module in network.modules())
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_size_of_the_network():
    with torch.device("meta"):
        assert sum(parameter.numel() for parameter in InceptionV3().parameters()) == 23_850_960
