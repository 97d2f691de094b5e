"""A folder of BiomedCLIP's layout: a vision transformer of 12 narrow layers and a tiny BERT, with weights by formula."""

import json
import zlib
from pathlib import Path

import numpy as np
import torch
from transformers import BertConfig, BertModel, BertTokenizerFast

from medim.perception.openclip import TextTower, VisionTower
from tests.tasks.tiny_encoder import WORDS


def write_biomedclip(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    BertTokenizerFast(str(folder / "vocab.txt"), model_max_length=64).save_pretrained(folder)
    sizes = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 32}
    with torch.device("meta"):
        bert = BertModel(BertConfig(vocab_size=len(WORDS), max_position_embeddings=64, **sizes), add_pooling_layer=False)
        parts = {"visual": VisionTower(224, 16, 192, 768, 12, 32), "text": TextTower(bert, 64, 48, 32)}
    shapes = {f"{part}.{name}": value.shape for part, module in parts.items() for name, value in module.state_dict().items()}
    state = {name: weights(name, tuple(shape)) for name, shape in shapes.items()} | {"logit_scale": torch.tensor(4.0)}
    torch.save(state, folder / "open_clip_pytorch_model.bin")
    config = {"vision_cfg": {"image_size": 224, "timm_model_name": "vit_tiny_patch16_224"}, "text_cfg": {"context_length": 16}}
    prepared = {"mean": [0.48, 0.46, 0.41], "std": [0.27, 0.26, 0.28]}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": prepared}))


def weights(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    drawn = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape) * 0.15
    return torch.from_numpy(drawn + ("norm" in name.lower() and name.endswith("weight"))).float()
