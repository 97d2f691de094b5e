"""BERT from tensors alone: its sizes are theirs."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from medim.common.errors import UserError, one_line
from medim.weights.loading import fill

if TYPE_CHECKING:
    from transformers import BertModel


def bert_of(tensors: Mapping[str, Tensor], what: str) -> "BertModel":
    """The encoder of tensors under BERT's names, frozen, in float32; attention heads have 64 channels, as released ones have.
    Raises UserError that begins with `what`: they are not BERT's."""
    from transformers import BertConfig, BertModel

    tensors = {name: value for name, value in tensors.items() if name != "embeddings.position_ids"}  # of older versions
    try:
        vocabulary, hidden = tensors["embeddings.word_embeddings.weight"].shape
        config = BertConfig(
            vocab_size=vocabulary,
            hidden_size=hidden,
            num_hidden_layers=1
            + max(int(match[1]) for name in tensors if (match := re.match(r"encoder\.layer\.(\d+)\.", name))),
            num_attention_heads=max(1, hidden // 64),
            intermediate_size=tensors["encoder.layer.0.intermediate.dense.weight"].shape[0],
            max_position_embeddings=tensors["embeddings.position_embeddings.weight"].shape[0],
        )
        with torch.device("meta"):  # no initialisation: it would draw from the global generator
            network = BertModel(config, add_pooling_layer="pooler.dense.weight" in tensors)
    except (KeyError, ValueError, RuntimeError) as error:
        raise UserError(f"{what}: {one_line(error)}") from error
    fill(network, tensors, what, assign=True)
    for name, value in network.named_buffers():
        if value.is_meta:  # positions and token types: constants
            owner, _, leaf = name.rpartition(".")
            fresh = torch.arange(config.max_position_embeddings).expand(1, -1) if leaf == "position_ids" else None
            fresh = torch.zeros(1, config.max_position_embeddings, dtype=torch.long) if fresh is None else fresh
            network.get_submodule(owner).register_buffer(leaf, fresh, persistent=False)
    return network.float().requires_grad_(False).eval()
