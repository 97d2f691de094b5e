"""Checkpoints hold numpy's numbers beside the tensors; nothing else is read."""

import os
import pickle
import zipfile

import numpy as np
import pytest
import torch

from medim.common.errors import UserError
from medim.weights.files import read_state

BESIDE = {
    "epoch": np.int64(3),
    "loss": np.float64(0.5),
    "half": np.float16(1),
    "done": np.bool_(True),
    "name": np.str_("x"),
    "curve": np.arange(3.0),
    "names": np.array(["a", "b"]),
    "when": np.datetime64("2026-01-01"),
    "nested": [{"f1": np.float32(1)}],
}


def test_numpy_beside_the_tensors_is_read(tmp_path):
    torch.save({"model_state_dict": {"w": torch.ones(2)}, **BESIDE}, tmp_path / "x.pth")
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / "x.pth", weights_only=True)
    found = read_state(tmp_path / "x.pth")
    assert torch.equal(found["model_state_dict"]["w"], torch.ones(2))
    assert [found[key] for key in ("epoch", "loss", "done", "name")] == [3, 0.5, True, "x"]
    assert np.array_equal(found["curve"], [0, 1, 2])


def test_names_of_numpy_1_are_known(tmp_path):
    torch.save({"loss": np.float64(0.5), "curve": np.arange(3.0)}, tmp_path / "new.pth")
    with zipfile.ZipFile(tmp_path / "new.pth") as new, zipfile.ZipFile(tmp_path / "old.pth", "w") as old:
        for name in new.namelist():
            old.writestr(name, new.read(name).replace(b"numpy._core", b"numpy.core"))
    assert b"numpy.core.multiarray" in (tmp_path / "old.pth").read_bytes()
    assert read_state(tmp_path / "old.pth")["loss"] == 0.5


class Runs:
    def __reduce__(self):
        return os.system, ("true",)


@pytest.mark.parametrize("value", [Runs(), np.array([Runs()], dtype=object), print])
def test_what_can_run_is_not_read(tmp_path, value):
    torch.save({"x": value}, tmp_path / "x.pth")
    with pytest.raises(UserError, match="more than tensors"):
        read_state(tmp_path / "x.pth")
