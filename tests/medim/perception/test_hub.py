"""Encoders of other packages: tiny models with random weights, saved as their own packages save them."""

import json
import sys
from types import SimpleNamespace

import pytest
import torch
import transformers
from torch import nn

from medim.common.errors import UserError
from medim.perception.preprocess import normalised, resized
from medim.perception.space import FeatureSpace, open_features

SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
IMAGES = torch.rand((3, 3, 20, 24), generator=torch.Generator().manual_seed(0)) * 2 - 1
MEAN, DEVIATION = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
PROCESSOR = {"image_mean": MEAN, "image_std": DEVIATION, "size": {"height": 32, "width": 32}, "do_normalize": True}


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def saved(model, folder, processor=PROCESSOR) -> str:
    model.save_pretrained(folder)
    if processor is not None:
        (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return f"transformers:{folder}"


def prepared() -> torch.Tensor:
    return normalised(resized(IMAGES, 32), MEAN, DEVIATION)


def test_a_vit_with_its_pooler(tmp_path):
    model = transformers.ViTModel(transformers.ViTConfig(**SMALL, image_size=32, patch_size=8)).eval()
    space = open_features(saved(model, tmp_path / "vit"))
    assert isinstance(space, FeatureSpace)
    assert (space.name, space.title, space.resize) == ("transformers:vit", "vit", "bicubic,antialias,float,32")
    with torch.no_grad():
        expected = model(prepared()).pooler_output
    assert torch.allclose(space.features(IMAGES), expected, atol=1e-6)


def test_without_a_trained_pooler_it_is_the_class_token(tmp_path):
    config = transformers.ViTConfig(**SMALL, image_size=32, patch_size=8)
    model = transformers.ViTModel(config, add_pooling_layer=False).eval()
    spec = saved(model, tmp_path / "vit")
    state = torch.random.get_rng_state()
    space, again = open_features(spec), open_features(spec)
    assert torch.equal(torch.random.get_rng_state(), state)  # though a pooler was drawn
    with torch.no_grad():
        expected = model(prepared()).last_hidden_state[:, 0]
    assert torch.allclose(space.features(IMAGES), expected, atol=1e-6)
    assert torch.equal(space.features(IMAGES), again.features(IMAGES))


def test_the_fingerprint_is_of_the_weights_that_count(tmp_path):
    """A pooler that is drawn at each opening must not make another space of the same weights."""
    config = transformers.ViTConfig(**SMALL, image_size=32, patch_size=8)
    spec = saved(transformers.ViTModel(config, add_pooling_layer=False), tmp_path / "vit")
    first = open_features(spec).fingerprint
    torch.manual_seed(1)
    assert open_features(spec).fingerprint == first
    (tmp_path / "vit" / "preprocessor_config.json").write_text(json.dumps(PROCESSOR | {"size": 48}))
    assert open_features(spec).fingerprint != first


def test_dinov2_as_rad_dino_is(tmp_path):
    config = transformers.Dinov2Config(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=28, patch_size=14)
    model = transformers.Dinov2Model(config).eval()
    crop = {"size": {"shortest_edge": 40}, "crop_size": {"height": 28, "width": 28}, "do_center_crop": True}
    space = open_features(saved(model, tmp_path / "dino", PROCESSOR | crop))
    assert space.resize == "bicubic,antialias,float,28"
    with torch.no_grad():
        expected = model(normalised(resized(IMAGES, 28), MEAN, DEVIATION)).pooler_output
    assert torch.allclose(space.features(IMAGES), expected, atol=1e-6)


def test_clip_gives_its_image_embedding(tmp_path):
    config = transformers.CLIPConfig(
        vision_config=SMALL | {"image_size": 32, "patch_size": 8},
        text_config=SMALL | {"vocab_size": 50, "eos_token_id": 1},
        projection_dim=12,
    )
    model = transformers.CLIPModel(config).eval()
    space = open_features(saved(model, tmp_path / "clip"))
    with torch.no_grad():
        expected = model.visual_projection(model.vision_model(prepared()).pooler_output)
    assert expected.shape == (3, 12)
    assert space.embeds
    assert torch.allclose(space.features(IMAGES), expected, atol=1e-6)


def test_a_convolutional_network_is_averaged_over_the_image(tmp_path):
    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")
    model = transformers.ResNetModel(config).eval()
    space = open_features(saved(model, tmp_path / "resnet"))
    with torch.no_grad():
        expected = model(prepared()).last_hidden_state.mean((2, 3))
    assert torch.allclose(space.features(IMAGES), expected, atol=1e-6)


def test_what_is_wrong_with_a_folder_is_said(tmp_path):
    model = transformers.ViTModel(transformers.ViTConfig(**SMALL, image_size=32, patch_size=8))
    with pytest.raises(UserError, match=r"no preprocessor_config\.json"):
        open_features(saved(model, tmp_path / "a", None))
    with pytest.raises(UserError, match="states no square size"):
        open_features(saved(model, tmp_path / "b", PROCESSOR | {"size": {"height": 32, "width": 40}}))
    with pytest.raises(UserError, match="states no image_mean"):
        open_features(saved(model, tmp_path / "c", {"size": 32}))
    spec = saved(model, tmp_path / "d")
    (tmp_path / "d" / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"cannot be loaded: .* holds no weights"):
        open_features(spec)


def test_weights_that_lack_a_layer_are_refused(tmp_path):
    model = transformers.ViTModel(transformers.ViTConfig(**SMALL, image_size=32, patch_size=8))
    spec = saved(model, tmp_path / "vit")
    config = tmp_path / "vit" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"num_hidden_layers": 3}))
    with pytest.raises(UserError, match=r"16 of 56 tensors are missing \(layers\.2\."):
        open_features(spec)


class Tower(nn.Module):
    """As a timm model: a body, and a classifier that can be taken off."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.body, self.head = nn.Conv2d(3, 5, 4), nn.Linear(5, outputs)

    def reset_classifier(self, classes: int) -> None:
        assert classes == 0
        self.head = nn.Identity()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(images).mean((2, 3)))


def test_timm_by_name_and_by_folder(monkeypatch, tmp_path):
    """Against a stand-in with timm's three calls."""
    asked = []

    def create_model(name, pretrained):
        asked.append((name, pretrained))
        if name == "nothing":
            raise RuntimeError("Unknown model (nothing)")
        return Tower(10)

    config = {"input_size": (3, 32, 32), "mean": MEAN, "std": DEVIATION}
    timm = SimpleNamespace(create_model=create_model, data=SimpleNamespace(resolve_model_data_config=lambda model: config))
    monkeypatch.setitem(sys.modules, "timm", timm)
    space = open_features("timm:hf-hub:owner/tower")
    assert (space.name, space.features(IMAGES).shape) == ("timm:hf-hub:owner/tower", (3, 5))
    assert torch.allclose(space.features(IMAGES), space.network.body(prepared()).mean((2, 3)), atol=1e-6)
    assert open_features(f"timm:{tmp_path}").title == tmp_path.name
    assert asked == [("hf-hub:owner/tower", True), (f"local-dir:{tmp_path}", True)]
    with pytest.raises(UserError, match=r"'timm:nothing' cannot be opened: RuntimeError: Unknown model"):
        open_features("timm:nothing")


def test_open_clip_takes_the_image_tower(monkeypatch):
    def create_model(name, pretrained):
        assert (name, pretrained) in {("hf-hub:owner/clip", None), ("ViT-B-32", "laion")}
        visual = Tower(7)
        visual.preprocess_cfg = {"size": (32, 32), "mean": MEAN, "std": DEVIATION}
        return SimpleNamespace(visual=visual)

    monkeypatch.setitem(sys.modules, "open_clip", SimpleNamespace(create_model=create_model))
    assert open_features("open-clip:ViT-B-32/laion").name == "open-clip:ViT-B-32/laion"
    space = open_features("open-clip:hf-hub:owner/clip")
    assert torch.allclose(space.features(IMAGES), space.network(prepared()), atol=1e-6)
    with pytest.raises(UserError, match="would have random weights"):
        open_features("open-clip:ViT-B-32")


def test_torchxrayvision_sees_grey_from_minus_1024_to_1024(monkeypatch):
    class Net(nn.Module):
        def __init__(self, weights):
            super().__init__()
            self.seen = None

        def features(self, images):
            self.seen = images
            return torch.cat([images, -images], dim=1)

    monkeypatch.setitem(sys.modules, "torchxrayvision", SimpleNamespace(models=SimpleNamespace(DenseNet=Net)))
    space = open_features("torchxrayvision:densenet121-res224-all")
    white = torch.ones(1, 3, 224, 224)
    assert torch.equal(space.features(white), torch.tensor([[1024.0, 0.0]]))
    assert torch.equal(space.features(-white), torch.tensor([[0.0, 1024.0]]))
    assert space.network.seen.shape == (1, 1, 224, 224)


@pytest.mark.parametrize(
    ("spec", "module", "package"),
    [
        ("timm:x", "timm", "timm"),
        ("open-clip:a/b", "open_clip", "open_clip_torch"),
        ("torchxrayvision:x",) + ("torchxrayvision",) * 2,
    ],
)
def test_a_missing_package_is_named(monkeypatch, spec, module, package):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError, match=f"pip install {package}"):
        open_features(spec)
