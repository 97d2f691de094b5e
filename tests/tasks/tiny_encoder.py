"""A tiny BERT of transformers' layout, with weights by formula: equal on every machine."""

import zlib

import numpy as np
import torch
from transformers import BertConfig, BertModel, BertTokenizerFast

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = [
    *SPECIAL,
    "no",
    "small",
    "left",
    "right",
    "pleural",
    "effusion",
    "heart",
    "is",
    "enlarged",
    ".",
    "lung",
    "##s",
    "clear",
]


def write_encoder(folder, layers=12):
    """Saves it, with its tokenizer, and returns it."""
    folder.mkdir(exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    BertTokenizerFast(str(folder / "vocab.txt"), model_max_length=24).save_pretrained(folder)
    sizes = {"hidden_size": 16, "num_hidden_layers": layers, "num_attention_heads": 2, "intermediate_size": 16}
    model = BertModel(BertConfig(vocab_size=len(WORDS), max_position_embeddings=24, **sizes))
    for name, value in model.state_dict().items():
        if value.ndim == 1:
            value.fill_(float(name.endswith("LayerNorm.weight")))
        else:
            drawn = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(tuple(value.shape))
            value.copy_(torch.from_numpy(drawn / 3))
    model.save_pretrained(folder)
    return model.eval()
