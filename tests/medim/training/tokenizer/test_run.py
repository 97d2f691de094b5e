from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from medim.common.errors import UserError
from medim.training.tokenizer.run import Checkpoints, cached_images, refuse_other_config


class Greys:
    """Image i is grey i; odd ones are files."""

    name = "greys"

    def __init__(self, folder, count: int = 20) -> None:
        self.folder, self.count = folder, count

    def size(self, split: str) -> int:
        return self.count if split == "train" else 0

    def pair(self, split: str, index: int) -> SimpleNamespace:
        image = Image.new("L", (8, 8), index)
        if index % 2:
            path = self.folder / f"{index}.png"
            image.save(path)
            return SimpleNamespace(image=path)
        return SimpleNamespace(image=image)


def test_images_are_cached_square_and_in_order(tmp_path):
    cache = cached_images(Greys(tmp_path), "train", 4, 100, seed=0)
    assert cache.shape == (20, 4, 4, 3)
    assert cache.dtype == torch.uint8
    assert cache[:, 2, 2].max(1).values.tolist() == list(range(20))


def test_a_large_split_is_sampled_by_the_seed(tmp_path):
    greys = Greys(tmp_path)
    first, again, other = (cached_images(greys, "train", 4, 9, seed)[:, 2, 2, 0].tolist() for seed in (1, 1, 2))
    assert first == again != other
    assert len(set(first)) == 9
    assert first == sorted(first)


def test_an_empty_split_and_a_cut_file_are_named(tmp_path):
    with pytest.raises(UserError, match="data set 'greys' has no pairs in split 'val'"):
        cached_images(Greys(tmp_path), "val", 4, 9, seed=0)
    path = tmp_path / "cut.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:200])
    cut = SimpleNamespace(name="cut", size=lambda split: 1, pair=lambda split, index: SimpleNamespace(image=path))
    with pytest.raises(UserError, match=r"cut\.png"):
        cached_images(cut, "train", 4, 9, seed=0)


def test_checkpoints_keep_the_last_two_whole_ones(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.newest() is None
    for step in (5, 10, 100):
        checkpoints.save(step, {"step": step, "weights": torch.ones(2) * step})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint-10", "checkpoint-100"]
    (tmp_path / ".checkpoint-200.tmp").mkdir()
    (tmp_path / "checkpoint-notes").mkdir()
    assert checkpoints.newest()["weights"].tolist() == [100, 100]
    assert not (tmp_path / ".checkpoint-200.tmp").exists()
    checkpoints.save(100, {"step": 100, "weights": torch.zeros(2)})  # saving a step twice replaces it
    assert checkpoints.newest()["weights"].tolist() == [0, 0]


def test_a_cut_checkpoint_is_named(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(3, {"weights": torch.ones(1000)})
    path = tmp_path / "checkpoint-3" / Checkpoints.STATE
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(UserError, match=r"checkpoint-3.* cannot be read"):
        checkpoints.newest()


def test_the_first_differing_key_is_named(tmp_path):
    path = tmp_path / "config.yaml"
    config = {"data": {"name": "a"}, "recipe": {"steps": 3, "channels": [1, 2]}}
    refuse_other_config(path, config)
    path.write_text(yaml.safe_dump(config))
    refuse_other_config(path, config)
    with pytest.raises(UserError, match=r"holds a training with recipe.steps = 3, not 4"):
        refuse_other_config(path, config | {"recipe": {"steps": 4, "channels": [1, 2]}})
    with pytest.raises(UserError, match=r"data.name = a, not b"):
        refuse_other_config(path, config | {"data": {"name": "b"}})
