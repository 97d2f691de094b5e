from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from tasks.downstream import Example, pictures
from tasks.downstream.pictures import GAIN, SHIFT, Pictures, augmented


def test_files_and_images_alike_and_each_is_read_once(tmp_path, monkeypatch):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (8, 8, 3), np.uint8))
    image.save(tmp_path / "a.png")
    here = Example("a", "a", image, "text")
    read = []
    monkeypatch.setattr(Example, "picture", lambda self: read.append(self.id) or Image.open(tmp_path / "a.png"))
    rows = Pictures([here, replace(here, id="b", image=tmp_path / "a.png")], 8)
    shown = rows.rows([0, 1, 1, 0])
    assert read == ["a", "b"]
    assert shown[0].equal(shown[2])
    assert shown[0, :, 3, 5].numpy() == pytest.approx(np.array(image.getpixel((5, 3))) / 127.5 - 1, abs=1e-6)


def test_what_does_not_fit_is_read_again(monkeypatch):
    monkeypatch.setattr(pictures, "MEMORY", 0)
    read, picture = [], Image.new("RGB", (8, 8), (9, 9, 9))
    monkeypatch.setattr(Example, "picture", lambda self: read.append(1) or picture)
    rows = Pictures([Example("a", "a", picture, "text")], 8)
    assert rows.rows([0]).equal(rows.rows([0]))
    assert len(read) == 2


def test_augmentation_depends_on_the_place_alone():
    images = torch.rand(4, 3, 16, 16) * 2 - 1
    whole = augmented(images, 7, 20)
    assert torch.allclose(augmented(images[2:], 7, 22), whole[2:], atol=1e-6)
    assert not torch.allclose(augmented(images, 8, 20), whole, atol=1e-2)
    assert whole.abs().max() <= 1


def test_augmentation_moves_a_little_and_never_mirrors():
    """A bright spot in the upper left stays there, within the largest shift and turn; brightness within its gain."""
    images = torch.full((200, 3, 64, 64), -1.0)
    images[:, :, 14:18, 14:18] = 0.0
    moved = augmented(images, 0, 0)
    mass = (moved[:, 0] + 1).flatten(1)
    grid = torch.stack(torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")).flatten(1)
    centre = mass @ grid.T / mass.sum(1, keepdim=True)
    reach = SHIFT * 64 + np.deg2rad(5) * np.hypot(16, 16) + 1
    assert (centre - 15.5).abs().max() <= reach
    assert (centre - 15.5).abs().max() > SHIFT * 64 / 2
    assert ((mass.amax(1) - 1).abs() <= GAIN + 1e-4).all()
