"""Weights: what a damaged file is, and that no tensor stays as it was drawn."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoModel, LlamaConfig, LlamaForCausalLM

from medim.backbones.causal_lm import load_pretrained
from medim.common.errors import UserError
from medim.weights.files import read_state, read_tensors, refuse_damaged
from medim.weights.loading import fill, first_broken, load, refuse_broken

SHAPE = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "vocab_size": 40,
}
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 538090408\n"
HTML = b"\n<!DOCTYPE html>\n<html><head><title>Sign in</title></head></html>"


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A causal LM of 21 tensors, its head apart."""
    folder = tmp_path_factory.mktemp("lm")
    torch.manual_seed(0)
    LlamaForCausalLM(LlamaConfig(**SHAPE, tie_word_embeddings=False)).save_pretrained(folder)
    return folder


@pytest.fixture
def backbone(source, tmp_path):
    return shutil.copytree(source, tmp_path / "lm")


def rewrite(folder, change):
    path = folder / "model.safetensors"
    save_file(change(load_file(path)), path, metadata={"format": "pt"})


def without(part):
    return lambda tensors: {name: tensor for name, tensor in tensors.items() if part not in name}


def prefixed(prefix):
    return lambda tensors: {prefix + name: tensor for name, tensor in tensors.items()}


def refused(folder) -> str:
    with pytest.raises(UserError) as error:
        load_pretrained(str(folder))
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (without("layers.1."), r"9 of 21 tensors are missing (model.layers.1.input_layernorm.weight, "),
        (without("lm_head"), "1 of 21 tensors are missing (lm_head.weight)"),
        (lambda tensors: {**tensors, "model.layers.2.mlp.up_proj.weight": torch.ones(2)}, "1 have no place in the model"),
        (lambda tensors: {**tensors, "lm_head.weight": torch.ones(39, 16)}, "weight: (39, 16) in the file, (40, 16) by"),
        (prefixed("_orig_mod."), "21 of 21 tensors are missing"),
        (prefixed("_orig_mod."), "a compiled model's"),
        (prefixed("module."), "a distributed model's"),
        (prefixed("base_model.model."), "an adapter's (PEFT): merge it"),
        (lambda tensors: {**tensors, "model.layers.0.mlp.up_proj.lora_A.weight": torch.ones(2)}, "an adapter's (PEFT)"),
    ],
)
def test_no_tensor_of_a_backbone_stays_random(backbone, change, said):
    rewrite(backbone, change)
    assert said in refused(backbone)


def test_what_is_tied_is_told_with_its_count(tmp_path, capsys):
    LlamaForCausalLM(LlamaConfig(**SHAPE, tie_word_embeddings=True)).save_pretrained(tmp_path)
    load_pretrained(str(tmp_path))
    assert "1 of its tensors tied to another (lm_head.weight)" in capsys.readouterr().err


def test_what_a_class_declares_that_it_leaves_aside_is_told_with_its_count(backbone, capsys, monkeypatch):
    rewrite(backbone, lambda tensors: {**tensors, "vision.0.weight": torch.ones(2), "vision.1.weight": torch.ones(2)})
    monkeypatch.setattr(LlamaForCausalLM, "_keys_to_ignore_on_load_unexpected", [r"^vision\."])
    load_pretrained(str(backbone))
    assert "2 of its tensors left aside, as its class declares (vision.0.weight, vision.1.weight)" in capsys.readouterr().err


def test_a_head_is_left_aside_where_only_its_base_is_wanted(backbone, capsys):
    load(AutoModel, backbone, "encoder", without_heads=True)
    assert "encoder: 1 of its tensors of a head, which is not read (lm_head.weight)" in capsys.readouterr().err
    rewrite(backbone, lambda tensors: {**tensors, "model.layers.2.mlp.up_proj.weight": torch.ones(2)})
    with pytest.raises(UserError, match="1 have no place in the model"):  # a block is no head
        load(AutoModel, backbone, "encoder", without_heads=True)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (LFS, "is a git-LFS pointer, not the file itself: run `git lfs pull`"),
        (HTML, "is a web page"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "a server's message"),
        (b"\x00" * 200, "is no safetensors file"),
        (b"GGUF\x03\x00\x00\x00" + b"\x00" * 64, "is a GGUF file, not safetensors: its name has to end in .gguf"),
    ],
)
@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_backbones_file_that_is_none_is_called_by_what_it_is(backbone, name, content, said):
    (backbone / name).write_bytes(content)
    line = refused(backbone)
    assert name in line
    assert "unpickl" not in line
    if name == "model.safetensors" or content in (b"", LFS, HTML):
        assert said in line


@pytest.mark.parametrize("share", [0.0005, 0.3, 0.99])
def test_cut_weights(backbone, share):
    path = backbone / "model.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))] or data[:9])
    assert "model.safetensors' cannot be read: it is cut off or damaged" in refused(backbone)


def test_shards_that_are_missing_are_named(source, tmp_path):
    LlamaForCausalLM.from_pretrained(source).save_pretrained(tmp_path, max_shard_size="5KB")
    assert load_pretrained(str(tmp_path)).config.vocab_size == 40
    shards = sorted(tmp_path.glob("model-*.safetensors"))
    shards[1].write_bytes(LFS)
    assert f"{shards[1].name}' is a git-LFS pointer" in refused(tmp_path)
    shards[1].unlink()
    assert f"of which 1 is ({shards[1].name}) missing" in refused(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "../b.safetensors"}}))
    assert "of which 1 is (../b.safetensors) missing" in refused(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text('{"weight_map": ["a"]}')
    assert "field 'weight_map'" in refused(tmp_path)


@pytest.mark.parametrize("damage", ["cut", "lfs", "html", "empty", "objects", "safetensors"])
def test_torch_files(backbone, damage):
    path = backbone / "pytorch_model.bin"
    torch.save(load_file(backbone / "model.safetensors"), path)
    (backbone / "model.safetensors").rename(backbone / "kept.safetensors")
    assert load_pretrained(str(backbone)).config.vocab_size == 40
    if damage == "objects":
        torch.save({"weights": shutil.copytree}, path)
    elif damage == "safetensors":
        (backbone / "kept.safetensors").rename(path)
    else:
        path.write_bytes({"cut": path.read_bytes()[:-200], "lfs": LFS, "html": HTML, "empty": b""}[damage])
    line = refused(backbone)
    if damage != "objects":
        assert "pytorch_model.bin'" in line
    assert "weights_only" not in line


def test_weights_under_another_name_are_told(backbone):
    (backbone / "model.safetensors").rename(backbone / "weights.safetensors")
    assert "what it holds (weights.safetensors) is no name that is looked for" in refused(backbone)
    (backbone / "weights.safetensors").rename(backbone / "adapter_model.safetensors")
    assert "an adapter's (PEFT): merge it" in refused(backbone)
    assert "is a file: give its folder" in refused(backbone / "adapter_model.safetensors")


def test_a_pointer_beside_good_weights_is_not_looked_at(backbone):
    (backbone / "pytorch_model.bin").write_bytes(LFS)
    assert load_pretrained(str(backbone)).config.vocab_size == 40


def write_gguf(path, leave_out=()):
    gguf = pytest.importorskip("gguf")
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(2)
    writer.add_context_length(64)
    writer.add_embedding_length(16)
    writer.add_feed_forward_length(24)
    writer.add_head_count(2)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_vocab_size(40)
    writer.add_rope_dimension_count(8)
    draw = np.random.default_rng(0)
    shapes = {"token_embd": (40, 16), "output": (40, 16), "output_norm": (16,)}
    for block in range(2):
        parts = {"attn_q": (16, 16), "attn_k": (16, 16), "attn_v": (16, 16), "attn_output": (16, 16), "attn_norm": (16,)}
        parts |= {"ffn_gate": (24, 16), "ffn_up": (24, 16), "ffn_down": (16, 24), "ffn_norm": (16,)}
        shapes |= {f"blk.{block}.{name}": shape for name, shape in parts.items()}
    for name, shape in shapes.items():
        if name not in leave_out:
            writer.add_tensor(f"{name}.weight", draw.standard_normal(shape).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_a_gguf_file_gives_every_tensor_or_is_refused(tmp_path):
    path = write_gguf(tmp_path / "whole.gguf")
    assert load_pretrained(str(path)).config.num_hidden_layers == 2
    assert "1 of 21 tensors are missing (model.layers.1.mlp.up_proj.weight)" in refused(
        write_gguf(tmp_path / "lacks.gguf", ["blk.1.ffn_up"])
    )
    data = path.read_bytes()
    for share in (0.02, 0.3, 0.9):
        path.write_bytes(data[: int(share * len(data))])
        assert "whole.gguf' cannot be read: it is cut off or damaged" in refused(path)
    for content, said in ((b"", "is empty"), (LFS, "git lfs pull"), (HTML, "web page")):
        path.write_bytes(content)
        assert said in refused(path)


def test_a_network_is_filled_whole_or_not_at_all():
    network, tensors = nn.Linear(2, 3), nn.Linear(2, 3).state_dict()
    fill(network, tensors, "w")
    assert torch.equal(network.weight, tensors["weight"])
    with pytest.raises(UserError, match=r"w: 1 of 2 tensors are missing \(bias\) and 1 have no place in the model \(basis\)"):
        fill(network, {"weight": tensors["weight"], "basis": tensors["bias"]}, "w")
    with pytest.raises(UserError, match=r"bias: \(4,\) in the file, \(3,\) by the configuration"):
        fill(network, {**tensors, "bias": torch.ones(4)}, "w")


def test_a_file_that_could_run_code_is_not_opened(tmp_path):
    torch.save({"state_dict": {"w": torch.ones(2)}, "made": print}, tmp_path / "w.pth")
    with pytest.raises(UserError, match="holds more than tensors"):
        read_state(tmp_path / "w.pth")
    torch.save({"state_dict": {"w": torch.ones(2)}, "step": 3}, tmp_path / "w.pth")
    assert list(read_tensors(tmp_path / "w.pth", "state_dict")) == ["w"]
    with pytest.raises(UserError, match="holds no state_dict of tensors"):
        read_tensors(tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"w\.bin' does not exist"):
        refuse_damaged(tmp_path / "w.bin")


def test_an_adapter_in_place_of_a_backbone_is_told(tmp_path):
    (tmp_path / "adapter_config.json").write_text("{}")
    assert "an adapter's (PEFT): merge it" in refused(tmp_path)


def test_whole_numbers_in_place_of_weights_are_refused(backbone):
    rewrite(backbone, lambda tensors: {name: tensor.to(torch.int8) for name, tensor in tensors.items()})
    assert "21 of 21 tensors are integers or of 8 bits" in refused(backbone)
    network = nn.Linear(2, 2)
    with pytest.raises(
        UserError, match=r"2 of 2 tensors are integers or of 8 bits \(bias, weight\): they are a quantised model's"
    ):
        fill(network, {name: tensor.int() for name, tensor in network.state_dict().items()}, "f")
    with pytest.raises(UserError, match="integers or of 8 bits"):
        fill(network, {name: tensor.to(torch.float8_e4m3fn) for name, tensor in network.state_dict().items()}, "f")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"state_dict": {}}, "a training's state"),
        ({"state": {}, "param_groups": []}, "an optimizer's state"),
        (nn.Linear(2, 2), "holds more than tensors, which could run code"),
    ],
)
def test_a_torch_file_of_something_else_is_told_by_what_it_is(backbone, content, said):
    (backbone / "model.safetensors").unlink()
    torch.save(content, backbone / "pytorch_model.bin")
    line = refused(backbone)
    assert said in line
    assert "two options" not in line


def test_a_head_of_its_own_where_the_configuration_ties_it_is_not_dropped(backbone):
    path = backbone / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"tie_word_embeddings": True}))
    assert "set tie_word_embeddings to false" in refused(backbone)
    rewrite(backbone, lambda tensors: {**tensors, "lm_head.weight": tensors["model.embed_tokens.weight"].clone()})
    assert load_pretrained(str(backbone)).config.tie_word_embeddings


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_the_first_broken_tensor_is_named(dtype, value):
    tensors = {
        "a": torch.ones(3, dtype=dtype),
        "b": torch.zeros(2, 2, dtype=dtype),
        "ids": torch.arange(3),
        "no": torch.ones(0),
    }
    assert first_broken(tensors) is None
    tensors["b"][1, 0] = value
    assert first_broken(tensors) == "b"
    with pytest.raises(UserError, match="model 'x': tensor b holds NaN or infinite numbers"):
        refuse_broken(tensors, "model 'x'")


def test_nothing_is_broken_in_nothing():
    assert first_broken({}) is None
