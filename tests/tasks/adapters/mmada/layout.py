"""A folder in the layout of Gen-Verse/MMaDA-8B-MixCoT, with showlab/magvitv2 inside: their ids and names, tiny widths."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
from torch import Tensor
from transformers import PreTrainedTokenizerFast

ROWS, WIDTH, INNER, LAYERS, BITS, SIDE = 134656, 32, 48, 2, 13, 8
WORDS = ["heart", "lung", "effusion", "no", "normal", "the", "is", "write", "report", "of", "this", "medical", "image", "user"]
SPECIAL = {
    "<|startoftext|>": 126080,
    "<|endoftext|>": 126081,
    "<|mdm_mask|>": 126336,
    "<|start_header_id|>": 126346,
    "<|end_header_id|>": 126347,
    "<|eot_id|>": 126348,
}
CONFIG = {
    "model_type": "mmada",
    "d_model": WIDTH,
    "n_heads": 2,
    "n_kv_heads": 2,
    "n_layers": LAYERS,
    "mlp_hidden_size": INNER,
    "rope_theta": 500000.0,
    "rms_norm_eps": 1e-5,
    "mask_token_id": 126336,
    "block_type": "llama",
    "activation_type": "silu",
    "layer_norm_type": "rms",
    "include_bias": False,
    "include_qkv_bias": False,
    "weight_tying": False,
    "vocab_size": 126464,
    "new_vocab_size": ROWS,
    "codebook_size": 2**BITS,
    "num_vq_tokens": SIDE * SIDE,
}
TEMPLATE = (
    "{% for m in messages %}<|startoftext|><|start_header_id|>{{ m['role'] }}<|end_header_id|> {{ m['content'] }}<|eot_id|>"
    "{% endfor %}<|start_header_id|>assistant<|end_header_id|> "
)


def llada_tensors() -> dict[str, Tensor]:
    """Random weights under LLaDA's names."""
    generator = torch.Generator().manual_seed(1)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator) * 0.3

    tensors = {f"model.transformer.{name}.weight": drawn(ROWS, WIDTH) for name in ("wte", "ff_out")}
    tensors["model.transformer.ln_f.weight"] = drawn(WIDTH)
    for layer in range(LAYERS):
        name = f"model.transformer.blocks.{layer}"
        tensors |= {f"{name}.{part}.weight": drawn(WIDTH, WIDTH) for part in ("q_proj", "k_proj", "v_proj", "attn_out")}
        tensors |= {f"{name}.{part}.weight": drawn(INNER, WIDTH) for part in ("ff_proj", "up_proj")}
        tensors |= {f"{name}.ff_out.weight": drawn(WIDTH, INNER)}
        tensors |= {f"{name}.{part}.weight": drawn(WIDTH) for part in ("attn_norm", "ff_norm")}
    return tensors


def magvit_tensors(
    encoder: tuple[int, ...] = (1, 1, 2), decoder: tuple[int, ...] = (1, 2, 2), ch: int = 32
) -> dict[str, Tensor]:
    """Random weights of MAGVIT-v2's names: multiples of `ch` by scale, as many blocks at scale i as 1 + i % 2."""
    generator = torch.Generator().manual_seed(2)
    tensors: dict[str, Tensor] = {}

    def convolution(name: str, inputs: int, outputs: int, kernel: int = 3) -> None:
        tensors[f"{name}.weight"] = torch.randn(outputs, inputs, kernel, kernel, generator=generator) * 0.1
        tensors[f"{name}.bias"] = torch.randn(outputs, generator=generator) * 0.1

    def norm(name: str, width: int) -> None:
        tensors[f"{name}.weight"] = 1 + torch.randn(width, generator=generator) * 0.1
        tensors[f"{name}.bias"] = torch.randn(width, generator=generator) * 0.1

    def resnet(name: str, inputs: int, outputs: int) -> None:
        norm(f"{name}.norm1", inputs)
        convolution(f"{name}.conv1", inputs, outputs)
        norm(f"{name}.norm2", outputs)
        convolution(f"{name}.conv2", outputs, outputs)
        if inputs != outputs:
            convolution(f"{name}.nin_shortcut", inputs, outputs, 1)

    def middle(name: str, width: int) -> None:
        resnet(f"{name}.mid.block_1", width, width)
        norm(f"{name}.mid.attn_1.norm", width)
        for part in ("q", "k", "v", "proj_out"):
            convolution(f"{name}.mid.attn_1.{part}", width, width, 1)
        resnet(f"{name}.mid.block_2", width, width)

    width = ch
    convolution("encoder.conv_in", 3, width)
    for scale, multiple in enumerate(encoder):
        for block in range(1 + scale % 2):
            resnet(f"encoder.down.{scale}.block.{block}", width, ch * multiple)
            width = ch * multiple
        if scale + 1 < len(encoder):
            convolution(f"encoder.down.{scale}.downsample.conv", width, width)
    middle("encoder", width)
    norm("encoder.norm_out", width)
    convolution("encoder.conv_out", width, BITS)
    convolution("encoder.quant_conv", BITS, BITS, 1)
    convolution("decoder.post_quant_conv", BITS, BITS, 1)
    width = ch * decoder[-1]
    convolution("decoder.conv_in", BITS, width)
    middle("decoder", width)
    for scale in reversed(range(len(decoder))):
        for block in range(1 + scale % 2):
            resnet(f"decoder.up.{scale}.block.{block}", width, ch * decoder[scale])
            width = ch * decoder[scale]
        if scale:
            convolution(f"decoder.up.{scale}.upsample.conv", width, width)
    norm("decoder.norm_out", width)
    convolution("decoder.conv_out", width, 3)
    places = torch.arange(BITS - 1, -1, -1)
    tensors["quantize.embedding"] = ((torch.arange(2**BITS)[:, None] >> places) & 1).float() * 2 - 1
    tensors["quantize.power_vals"] = 2**places
    return tensors


def write_tokenizer(folder: Path) -> None:
    """A vocabulary of LLaDA's size, with its special tokens at their ids."""
    ids = {number: word for word, number in SPECIAL.items()}
    names = [ids.get(number, WORDS[number - 1] if 0 < number <= len(WORDS) else f"<{number}>") for number in range(126349)]
    tokenizer = Tokenizer(models.WordLevel({name: number for number, name in enumerate(names)}, unk_token="<0>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens([AddedToken(name, special=True) for name in SPECIAL])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<|startoftext|>", eos_token="<|endoftext|>", unk_token="<0>"
    )
    fast.chat_template = TEMPLATE
    fast.save_pretrained(str(folder))


def write_mmada(folder: Path) -> Path:
    (folder / "magvitv2").mkdir(parents=True)
    write_tokenizer(folder)
    (folder / "config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    save_file(llada_tensors(), folder / "model.safetensors")
    save_file(magvit_tensors(), folder / "magvitv2" / "model.safetensors")
    return folder
