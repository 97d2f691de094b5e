"""Folders of trainings: starting anew removes what a training wrote, and nothing else."""

import shutil

import pytest

from medim.common.errors import UserError
from medim.common.locks import LOCK, held
from medim.training.folder import claim, clear_training, configuration_in, remove

MODEL = {"recipe": {"backbone": "smollm2"}, "data": "squares", "data_fingerprint": "1"}


def test_what_a_training_wrote_is_removed_and_all_else_stays(tmp_path):
    (tmp_path / "tokens").mkdir()
    (tmp_path / "notes.txt").touch()
    (tmp_path / "package.json").touch()
    with held(tmp_path):
        claim(tmp_path, MODEL, overwrite=False)
        for name in ("checkpoint-8", "image_tokenizer", "causal_lm"):
            (tmp_path / name).mkdir()
        for name in ("model.safetensors", "training.json", "metrics.jsonl", "curve.png"):
            (tmp_path / name).touch()
        (tmp_path / "cache").symlink_to(tmp_path / "tokens")
        clear_training(tmp_path, "backbone")
    assert {path.name for path in tmp_path.iterdir()} == {LOCK, "notes.txt", "package.json", "tokens"}


def test_a_removal_that_was_killed_is_done_by_the_next(tmp_path, monkeypatch):
    claim(tmp_path, MODEL, overwrite=False)
    (tmp_path / "model.safetensors").touch()
    (tmp_path / "checkpoint-8").mkdir()

    def killed(path) -> None:
        raise SystemExit

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", killed)
        with pytest.raises(SystemExit):
            clear_training(tmp_path, "backbone")
    clear_training(tmp_path, "backbone")
    assert not list(tmp_path.iterdir())


def test_a_training_that_starts_anew_is_held_all_the_while(tmp_path):
    with held(tmp_path):
        claim(tmp_path, MODEL, overwrite=False)
        claim(tmp_path, MODEL, overwrite=True)
        with pytest.raises(UserError, match="being worked on by another process"), held(tmp_path):
            pass


@pytest.mark.parametrize("text", ["", "- 1", "recipe: [", "recipe: {codes: 4}", "recipe: smollm2", "database: {host: here}"])
def test_a_folder_with_a_config_of_something_else_is_refused_and_left_as_it_is(tmp_path, text):
    (tmp_path / "config.yaml").write_text(text)
    (tmp_path / "main.py").touch()
    for overwrite in (False, True):
        with pytest.raises(UserError, match="is not of a training of this kind; choose another --out"):
            claim(tmp_path, MODEL, overwrite)
    assert {path.name for path in tmp_path.iterdir()} == {"config.yaml", "main.py"}


def test_weights_that_no_training_wrote_are_refused(tmp_path):
    clear_training(tmp_path / "absent", "backbone")
    assert configuration_in(tmp_path, "backbone") is None
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(UserError, match="no training wrote"):
        clear_training(tmp_path, "backbone")
    assert (tmp_path / "model.safetensors").exists()


def test_a_link_is_removed_and_not_what_it_points_to(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "kept").touch()
    (tmp_path / "run").symlink_to(tmp_path / "there")
    remove(tmp_path, "run")
    assert (tmp_path / "there" / "kept").exists()
    assert not (tmp_path / "run").exists()
