"""The language model gives the published code's logits on the same random weights, with and without padding."""

import json
import shutil

import pytest
import torch
from safetensors.torch import save_file

from medim.common.errors import UserError
from tasks.adapters.mmada.network import read_network
from tests.tasks.adapters.mmada.layout import ROWS, llada_tensors

PLACES = [0, 5, 126336, 126349, 134655]
"""Of the vocabulary, whose logits are stored."""
PLAIN = [-0.2084, 0.5861, -0.4312, 0.0348, -0.6286]
PADDED = [0.0156, 0.0096, -0.2203, 0.1746, -0.6874]


def test_logits_are_theirs(mmada_folder):
    network, shape = read_network(mmada_folder, torch.float32)
    ids = torch.randint(0, ROWS, (2, 20), generator=torch.Generator().manual_seed(3))
    unseen = torch.zeros(2, 20, dtype=torch.bool)
    unseen[1, :5] = True
    with torch.no_grad():
        plain, padded = network.head(network.hidden(ids)), network.head(network.hidden(ids, unseen))
    assert plain[1, 7, PLACES].tolist() == pytest.approx(PLAIN, abs=2e-4)
    assert padded[1, 7, PLACES].tolist() == pytest.approx(PADDED, abs=2e-4)
    assert shape.num_vq_tokens == 64


def test_what_does_not_fit_is_named(mmada_folder, tmp_path):
    config = json.loads((mmada_folder / "config.json").read_text())
    tensors = llada_tensors()
    del tensors["model.transformer.blocks.1.up_proj.weight"]
    save_file(tensors, tmp_path / "model.safetensors")
    shutil.copy(mmada_folder / "config.json", tmp_path)
    with pytest.raises(UserError, match=r"1 of \d+ tensors are missing \(model\.transformer\.blocks\.1\.up_proj\.weight\)"):
        read_network(tmp_path, torch.float32)
    name = "model.transformer.blocks.1.up_proj.weight"
    save_file(llada_tensors() | {name: llada_tensors()[name].mul(100).to(torch.int8)}, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match="1 of 21 tensors are integers or of 8 bits"):
        read_network(tmp_path, torch.float32)
    (tmp_path / "config.json").write_text(json.dumps(config | {"num_vq_tokens": 60}))
    with pytest.raises(UserError, match=r"config\.json': field 'num_vq_tokens': a square number is needed"):
        read_network(tmp_path, torch.float32)
    (tmp_path / "config.json").write_text(json.dumps(config | {"block_type": "sequential"}))
    with pytest.raises(UserError, match=r"config\.json'.*block_type"):
        read_network(tmp_path, torch.float32)
