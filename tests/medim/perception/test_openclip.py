"""The towers give what open_clip's give on the same weights, and a folder is taken whole or not at all."""

import json

import numpy as np
import pytest
import torch

from medim.common.errors import UserError
from medim.perception.openclip import OpenClipFolder
from medim.perception.space import FeatureSpace, open_features
from tests.medim.perception.test_densenet import formula_image
from tests.medim.perception.tiny_biomedclip import write_biomedclip

IMAGE = [-2.06353, -0.51789, 0.22642, 0.63483]
"""From open_clip 3.3.0 (`CustomTextCLIP`, vit_tiny_patch16_224 and a BERT with two projections); every 8th."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip") / "biomedclip"
    write_biomedclip(folder)
    return folder


def test_the_image_embedding_is_open_clips(folder):
    space = open_features(f"open-clip:{folder}")
    assert isinstance(space, OpenClipFolder)
    assert isinstance(space, FeatureSpace)
    assert (space.name, space.title, space.side, space.length, space.embeds) == (
        "open-clip:biomedclip",
        "biomedclip",
        224,
        16,
        True,
    )
    np.testing.assert_allclose(space.features(formula_image())[0, ::8], IMAGE, atol=1e-4)


def test_weights_of_another_layout_are_refused(folder, tmp_path):
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    path = tmp_path / "open_clip_pytorch_model.bin"
    state = torch.load(path, weights_only=True)
    for name, message in (
        ("visual.trunk.norm.bias", r"1 of \d+ tensors are missing \(trunk\.norm\.bias\)"),
        ("text.proj.2.weight", r"'proj\.2\.weight' is missing"),
        ("text.transformer.embeddings.word_embeddings.weight", "embeddings.word_embeddings.weight"),
    ):
        torch.save({key: value for key, value in state.items() if key != name}, path)
        with pytest.raises(UserError, match=message):
            OpenClipFolder(tmp_path)
    torch.save(state, path)
    config = json.loads((tmp_path / "open_clip_config.json").read_text())
    del config["model_cfg"]["text_cfg"]["context_length"]
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="'context_length' is missing"):
        OpenClipFolder(tmp_path)
