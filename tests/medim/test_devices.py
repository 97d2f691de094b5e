"""Devices: what a name means, and which are refused."""

import pytest
import torch

from medim.common.errors import UserError
from medim.devices import can_compile, chosen_device


def gpus(monkeypatch, count: int) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


def test_the_first_gpu_is_the_default_where_there_is_one(monkeypatch):
    gpus(monkeypatch, 0)
    assert chosen_device(None) == torch.device("cpu")
    gpus(monkeypatch, 2)
    assert chosen_device(None) == chosen_device("cuda") == torch.device("cuda", 0)
    assert chosen_device("cuda:1") == torch.device("cuda", 1)
    assert chosen_device("cpu") == torch.device("cpu")


def test_a_device_that_is_not_there_is_refused(monkeypatch):
    gpus(monkeypatch, 0)
    with pytest.raises(UserError, match="device cuda: PyTorch finds 0 CUDA GPUs here"):
        chosen_device("cuda")
    gpus(monkeypatch, 2)
    with pytest.raises(UserError, match="device cuda:2: PyTorch finds 2 CUDA GPUs here"):
        chosen_device("cuda:2")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(UserError, match="device mps: PyTorch finds no Apple GPU"):
        chosen_device("mps")


def test_compiling_needs_a_compiler(monkeypatch, tmp_path):
    for name in ("CC", "CXX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not can_compile(torch.device("cpu"))
    assert not can_compile(torch.device("cuda"))
    compiler = tmp_path / "c++-of-mine"
    compiler.write_text("#!/bin/sh\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    assert can_compile(torch.device("cpu"))
