"""The released network's tensors as a denoiser.

Its one table of rows holds text ids 0 .. text - 1 (the last three BOI, EOI and EOS), MASK, then the image codes; it is the
embedding, times sqrt(width), and the head. Here text ids stay in the backbone's embedding, and MASK, BOI, EOI and the codes are
the rows `added`, stored with that factor.
"""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import GemmaConfig

from medim.common.errors import UserError
from medim.denoiser import MeDiMConfig, MeDiMModel, embedding_scale
from medim.weights.loading import fill, refuse_incomplete, shapes_of

TABLE, HEAD = "model.embed_tokens.weight", "lm_head.weight"
SPECIAL = ("<boi>", "<eoi>", "<eos>")  # the last text ids, in this order
HEAD_DIM = 256  # of Gemma-7B; no shape of a tensor states it
CONVENTIONS: dict[str, Any] = {
    "attention": "bidirectional",
    "order": "image-report",
    "logit_alignment": "released",
    "gating": "released",
    "timestep": "adaln",
    "time_input": "sigma",
    "hidden_padding": 0,
}
"""Fields of `MeDiMConfig` that the released code differs in from the defaults, or depends on."""
_RENAMED = (
    (r"^backbone\.decoder\.(norm|layers)\.", r"model.\1."),
    (r"^backbone\.adaln\.(\d+)\.modulation\.", r"model.layers.\1.adaLN_modulation."),
    (r"^time\.input\.", "model.time_embedder.mlp.0."),
    (r"^time\.output\.", "model.time_embedder.mlp.2."),
)


def released_name(name: str) -> str:
    """What the released checkpoint calls a tensor of `MeDiMModel`.

    >>> released_name("backbone.adaln.3.modulation.bias")
    'model.layers.3.adaLN_modulation.bias'
    """
    for pattern, replacement in _RENAMED:
        name, found = re.subn(pattern, replacement, name)
        if found:
            return name
    return TABLE


def denoiser_of(
    tensors: Mapping[str, Tensor],
    what: str,
    *,
    codes: int,
    image_length: int,
    report_length: int,
    before_report: list[int],
    head_dim: int = HEAD_DIM,
) -> MeDiMModel:
    """The denoiser, to be saved: its tensors in the checkpoint's type, its buffers without storage.
    `tensors`: the released state dict; `lm_head.weight` may be there and then has to equal the embedding.
    `what`: names the checkpoint in errors.
    `codes`: size of the image tokenizer's codebook.
    `before_report`: ids that stand clean before the report.
    Raises UserError: a tensor is missing, has no place or another shape; the line names it."""
    tensors = dict(tensors)
    table = _matrix(tensors, TABLE, what)
    head = tensors.pop(HEAD, table)
    if not torch.equal(head, table):
        raise UserError(f"{what}: {HEAD} is not {TABLE}, to which the released model ties it")
    text, width = len(table) - codes - 1, table.shape[1]
    if text <= len(SPECIAL):
        raise UserError(f"{what}: {TABLE} has {len(table)} rows, too few for text, MASK and {codes} image codes")
    backbone = _backbone(tensors, what, text, width, head_dim)
    config = MeDiMConfig(
        backbone=backbone.to_dict(),
        text_vocabulary=text,
        image_codes=codes,
        image_length=image_length,
        report_length=report_length,
        before_report=before_report,
        after_report=[text - 1],
        **CONVENTIONS,
    )
    with torch.device("meta"):
        model = MeDiMModel(config)
    shapes = {released_name(name): tuple(value.shape) for name, value in model.state_dict().items()}
    refuse_incomplete(what, shapes | {TABLE: tuple(table.shape)}, shapes_of(tensors))
    begin, end = text - 3, text - 2
    rows = {
        "backbone.decoder.embed_tokens.weight": table[:text],
        "added.weight": torch.cat([table[[text, begin, end]], table[text + 1 :]]) * embedding_scale(backbone),
        "image_head.weight": table[text + 1 :],
    }
    here = {name: rows[name] if name in rows else tensors[released_name(name)] for name in model.state_dict()}
    fill(model, {name: value.contiguous() for name, value in here.items()}, what, assign=True)
    torch.nn.Module.to(model, table.dtype)
    return model


def _backbone(tensors: Mapping[str, Tensor], what: str, text: int, width: int, head_dim: int) -> GemmaConfig:
    """Gemma's configuration, from the shapes of the first block."""
    layers = {int(found[1]) for name in tensors if (found := re.match(r"model\.layers\.(\d+)\.", name))}
    heads = {}
    for part in ("q_proj", "k_proj"):
        name = f"model.layers.0.self_attn.{part}.weight"
        rows = len(_matrix(tensors, name, what))
        if rows % head_dim:
            raise UserError(f"{what}: {name} has {rows} rows, no multiple of {head_dim} dimensions a head: give --head-dim")
        heads[part] = rows // head_dim
    return GemmaConfig(
        vocab_size=text,
        hidden_size=width,
        intermediate_size=len(_matrix(tensors, "model.layers.0.mlp.gate_proj.weight", what)),
        num_hidden_layers=max(layers) + 1,
        num_attention_heads=heads["q_proj"],
        num_key_value_heads=heads["k_proj"],
        head_dim=head_dim,
        rms_norm_eps=1e-6,
        tie_word_embeddings=True,
    )


def _matrix(tensors: Mapping[str, Tensor], name: str, what: str) -> Tensor:
    if name not in tensors or tensors[name].ndim != 2:
        raise UserError(f"{what}: no matrix {name}: is it the checkpoint that the authors of MeDiM released?")
    return tensors[name]
