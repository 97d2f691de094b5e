"""Files in the layout of what a holder of the released checkpoint has, tiny: weights, a LLaMA tokenizer, a VQGAN."""

import json
from pathlib import Path

import torch
import yaml
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, normalizers, processors, trainers
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from medim.released import SIZE
from tests.medim.tokenizers.test_taming import SMALL, configuration, random_weights

CODES, WIDTH, INNER, HEAD_DIM, LAYERS = 40, 32, 48, 16, 2
WORDS = 340
"""Ids of the tokenizer; LLaMA-2 has 32,000."""
ROWS = WORDS + 3 + 1 + CODES
TEXTS = (SIZE, "The heart is enlarged. No effusion.", "Normal chest radiograph, showing the thoracic cavity structures.")
SPACE = "\u2581"


def write_tokenizer(folder: Path) -> Path:
    """LLaMA's form: <unk>, <s>, </s>, the bytes, then merges; BOS is prepended, there is no padding."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(SPACE), normalizers.Replace(" ", SPACE)])
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    tokenizer.train_from_iterator(TEXTS * 4, trainers.BpeTrainer(vocab_size=WORDS, special_tokens=special, show_progress=False))
    steps = [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    tokenizer.decoder = decoders.Sequence(steps)
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 1)])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>")
    fast.save_pretrained(str(folder))
    file = folder / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"tokenizer_class": "LlamaTokenizer", "add_bos_token": True}))
    return folder


def write_vqgan(folder: Path) -> Path:
    """32 x 32 pixels, 8 x 8 tokens."""
    folder.mkdir(parents=True)
    (folder / "vqgan.yaml").write_text(yaml.safe_dump(configuration(SMALL, codes=CODES)))
    torch.save({"state_dict": random_weights(SMALL)}, folder / "vqgan.ckpt")
    return folder


def released_tensors(rows: int = ROWS, layers: int = LAYERS) -> dict[str, Tensor]:
    """Random weights under the released checkpoint's names."""
    generator = torch.Generator().manual_seed(3)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator) * 0.15

    tensors = {"model.embed_tokens.weight": drawn(rows, WIDTH), "model.norm.weight": drawn(WIDTH)}
    for place, inputs in (("0", 256), ("2", WIDTH)):
        tensors[f"model.time_embedder.mlp.{place}.weight"] = drawn(WIDTH, inputs)
        tensors[f"model.time_embedder.mlp.{place}.bias"] = drawn(WIDTH)
    for layer in range(layers):
        name = f"model.layers.{layer}"
        tensors |= {f"{name}.self_attn.{part}_proj.weight": drawn(WIDTH, WIDTH) for part in "qkvo"}
        tensors |= {f"{name}.mlp.{part}_proj.weight": drawn(INNER, WIDTH) for part in ("gate", "up")}
        tensors |= {f"{name}.mlp.down_proj.weight": drawn(WIDTH, INNER)}
        tensors |= {f"{name}.{part}_layernorm.weight": drawn(WIDTH) for part in ("input", "post_attention")}
        tensors |= {
            f"{name}.adaLN_modulation.weight": drawn(6 * WIDTH, WIDTH),
            f"{name}.adaLN_modulation.bias": drawn(6 * WIDTH),
        }
    return tensors


def write_checkpoint(folder: Path, tensors: dict[str, Tensor] | None = None, kind: str = "safetensors") -> Path:
    """One file of safetensors, `sharded` ones with their index, or `bin`."""
    tensors = released_tensors() if tensors is None else tensors
    folder.mkdir(parents=True)
    if kind == "bin":
        torch.save(tensors, folder / "pytorch_model.bin")
    elif kind == "safetensors":
        save_file(tensors, folder / "model.safetensors")
    else:
        names = sorted(tensors)
        parts = {f"model-0000{n + 1}-of-00002.safetensors": names[n::2] for n in range(2)}
        for file, inside in parts.items():
            save_file({name: tensors[name] for name in inside}, folder / file)
        places = {name: file for file, inside in parts.items() for name in inside}
        (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return folder


def write_all(folder: Path, kind: str = "safetensors") -> tuple[Path, Path, Path]:
    """The folders of the checkpoint, the tokenizer and the VQGAN."""
    checkpoint = write_checkpoint(folder / "medim_ckpts", kind=kind)
    return checkpoint, write_tokenizer(folder / "llama-2"), write_vqgan(folder / "chameleon")
