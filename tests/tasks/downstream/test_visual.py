import pytest
import torch

from medim.common.errors import UserError
from tasks.downstream.visual import Convolutions, EfficientNetPatches, ResNetPatches, open_visual


def test_convolutions_give_a_patch_for_every_eight_pixels():
    network = open_visual("convolutions", 8, None)
    assert isinstance(network, Convolutions)
    assert network(torch.rand(2, 3, 64, 64)).shape == (2, 64, network.features)


def test_efficientnet_gives_49_patches_and_is_trained_without_new_statistics():
    pytest.importorskip("efficientnet_lite_pytorch")
    network = open_visual("efficientnet-lite0", 0, None)
    assert isinstance(network, EfficientNetPatches)
    before = {key: value.clone() for key, value in network.named_buffers()}
    patches = network.train()(torch.rand(1, 3, 224, 224))
    assert patches.shape == (1, 49, 1280)
    patches.sum().backward()
    assert all(parameter.grad is not None for name, parameter in network.named_parameters() if "_fc" not in name)
    assert all(value.equal(before[key]) for key, value in network.named_buffers())


def test_a_resnet_in_a_folder(tmp_path):
    from transformers import ResNetConfig, ResNetModel

    config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 8, 8, 24], depths=[1, 1, 1, 1], layer_type="basic")
    saved = ResNetModel(config).eval()
    saved.save_pretrained(tmp_path)
    network = open_visual("efficientnet-lite0", 0, str(tmp_path)).eval()
    assert isinstance(network, ResNetPatches)
    assert network.features == 24
    images = torch.rand(2, 3, 64, 64) * 2 - 1
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.no_grad():
        expected = saved(((images + 1) / 2 - mean[:, None, None]) / deviation[:, None, None]).last_hidden_state
        assert torch.allclose(network(images), expected.flatten(2).transpose(1, 2), atol=1e-5)


def test_no_resnet_there(tmp_path):
    with pytest.raises(UserError, match="is no folder of a transformers ResNet"):
        open_visual("convolutions", 8, str(tmp_path / "none"))
    (tmp_path / "config.json").write_text('{"model_type": "resnet"}')
    with pytest.raises(UserError, match="cannot be loaded"):
        open_visual("convolutions", 8, str(tmp_path))
