"""Cosines of images and texts by models of both layouts."""

import json

import numpy as np
import pytest
import torch
import transformers
from PIL import Image

from medim.common.errors import UserError
from medim.imaging.images import to_images
from tasks.metrics.pair.alignment import Aligner
from tests.medim.perception.test_densenet import formula_image
from tests.medim.perception.tiny_biomedclip import write_biomedclip
from tests.tasks.tiny_encoder import WORDS

SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
TEXTS = ["no left effusion", "The  heart is enlarged . lungs clear " * 5]
COSINES = [-0.1038, -0.1889]
"""From open_clip 3.3.0, as in `test_openclip.py`."""


def write_clip(folder):
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    transformers.BertTokenizerFast(str(folder / "vocab.txt"), model_max_length=64).save_pretrained(folder)
    vision = SMALL | {"image_size": 32, "patch_size": 8}
    text = SMALL | {"vocab_size": len(WORDS), "eos_token_id": 3, "max_position_embeddings": 12}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = transformers.CLIPModel(
            transformers.CLIPConfig(vision_config=vision, text_config=text, projection_dim=12)
        ).eval()
    model.save_pretrained(folder)
    settings = {"image_mean": [0.5] * 3, "image_std": [0.2] * 3, "size": {"shortest_edge": 32}, "do_normalize": True}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    return model


def test_biomedclip_is_open_clips(tmp_path):
    write_biomedclip(tmp_path / "b")
    [image] = to_images(formula_image())
    assert Aligner(tmp_path / "b").cosines([image, image], TEXTS) == pytest.approx(COSINES, abs=1e-3)


def test_clip_is_that_of_transformers(tmp_path):
    model = write_clip(tmp_path / "plip")
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8))
    [cosine] = Aligner(tmp_path / "plip").cosines([image], ["no left effusion"])
    pixels = (torch.from_numpy(np.asarray(image) / 255).permute(2, 0, 1)[None].float() - 0.5) / 0.2
    ids = torch.tensor([[2, *(WORDS.index(word) for word in ("no", "left", "effusion")), 3]])
    with torch.no_grad():
        output = model(input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values=pixels)
    assert cosine == pytest.approx(float((output.image_embeds * output.text_embeds).sum()), abs=1e-5)


def test_no_text_of_a_batch_changes_another(tmp_path):
    write_clip(tmp_path / "plip")
    aligner = Aligner(tmp_path / "plip")
    image = Image.new("RGB", (32, 32), (200, 30, 90))
    together = aligner.cosines([image] * 2, TEXTS)
    assert together == pytest.approx([aligner.cosines([image], [text])[0] for text in TEXTS], abs=1e-5)
    assert aligner.details["tokens"] == 12


def test_a_model_without_texts_is_refused(tmp_path):
    model = transformers.ViTModel(transformers.ViTConfig(**SMALL, image_size=32, patch_size=8))
    model.save_pretrained(tmp_path)
    settings = {"image_mean": [0.5] * 3, "image_std": [0.2] * 3, "size": 32}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    with pytest.raises(UserError, match="has no embeddings of texts: a model such as CLIP is needed"):
        Aligner(tmp_path)
