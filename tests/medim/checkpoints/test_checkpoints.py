"""Models by name or folder: what is missing is named, and what is shipped is what its card says."""

import json
import shutil

import pytest

from medim import checkpoints
from medim.checkpoints import SHIPPED, resolve, shipped
from medim.common.errors import UserError
from medim.pipeline import MeDiMPipeline
from medim.training import ship
from medim.training.train import train_model


@pytest.fixture(scope="module")
def trained(squares, recipe_file, tmp_path_factory):
    return train_model(str(recipe_file), squares, tmp_path_factory.mktemp("trained") / "model", steps=2, device="cpu")


def test_unknown_names_and_folders_are_told(tmp_path):
    with pytest.raises(UserError, match="unknown model 'phantom-tinny'"):
        resolve("phantom-tinny")
    with pytest.raises(UserError, match="does not exist"):
        resolve(str(tmp_path / "nothing"))
    with pytest.raises(UserError, match=r"config\.json is missing"):
        resolve(str(tmp_path))
    with pytest.raises(UserError, match="folder 'runs/nothing' does not exist"):
        resolve("runs/nothing")


def test_a_hub_id_that_cannot_be_had_is_one_clear_line(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="'nobody/nothing' is no folder here, and as a hub id it cannot be had") as error:
        resolve("nobody/nothing")
    assert "\n" not in str(error.value)


def test_a_hub_id_is_taken_from_where_the_hub_puts_it(trained, monkeypatch):
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda name, **_: str(trained))
    assert resolve("somebody/model") == trained


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("model.safetensors", "holds no weights"),
        ("image_tokenizer", "the folder image_tokenizer/ is missing"),
        ("report_tokenizer", "the folder report_tokenizer/ is missing"),
        ("image_tokenizer/diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.safetensors is missing"),
    ],
)
def test_what_is_missing_is_named(trained, tmp_path, missing, message):
    folder = shutil.copytree(trained, tmp_path / "model")
    target = folder / missing
    shutil.rmtree(target) if target.is_dir() else target.unlink()
    with pytest.raises(UserError, match=message) as error:
        MeDiMPipeline.from_pretrained(folder, device="cpu")
    assert "\n" not in str(error.value)


def test_a_cut_weights_file_is_one_clear_line(trained, tmp_path):
    folder = shutil.copytree(trained, tmp_path / "model")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(UserError, match="cannot be loaded") as error:
        MeDiMPipeline.from_pretrained(folder, device="cpu")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("sampler.json", '{"image": {"steps": 3},}'),
        ("sampler.json", '{"image": 3}'),
        ("sampler.json", "[]"),
        ("sampler.json", '{"image": {"step": 3}}'),
        ("report_tokenizer/tokenizer.json", "{"),
        ("report_tokenizer/tokenizer.json", "{}"),
    ],
)
def test_a_damaged_file_of_json_is_one_clear_line(trained, tmp_path, file, content):
    folder = shutil.copytree(trained, tmp_path / "model")
    (folder / file).write_text(content)
    with pytest.raises(UserError, match="cannot be read: ") as error:
        MeDiMPipeline.from_pretrained(folder, device="cpu")
    assert str(folder / file).removesuffix("/tokenizer.json") in str(error.value)
    assert "\n" not in str(error.value)


def test_shipping_keeps_the_model_and_its_sampler(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(ship, "SHIPPED", tmp_path)
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "sampler.json").write_text(json.dumps({"image": {"steps": 3}}))
    folder = ship.ship(str(trained), "tiny")
    before, after = MeDiMPipeline.from_pretrained(trained, device="cpu"), MeDiMPipeline.from_pretrained(folder, device="cpu")
    assert after.sampler.image.steps == 3
    assert json.loads((folder / "card.json").read_text())["fingerprint"] == after.fingerprint != before.fingerprint
    for a, b in zip(before.model.parameters(), after.model.parameters(), strict=True):
        assert (a - b).abs().max() < 1e-3
    (folder / "training.json").unlink()
    with pytest.raises(UserError, match=r"training\.json is missing"):
        ship.ship(str(folder), "again")


@pytest.mark.parametrize("name", sorted(shipped()))
def test_what_is_shipped_is_what_its_card_says(name):
    folder = SHIPPED / name
    card = json.loads((folder / "card.json").read_text())
    assert MeDiMPipeline.from_pretrained(name, device="cpu").fingerprint == card["fingerprint"]
    training = json.loads((folder / "training.json").read_text())
    assert training["data_fingerprint"]
    assert training["recipe"]["seed"] is not None
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) <= ship.LARGEST_BYTES
    assert checkpoints.shipped()[name] == folder
