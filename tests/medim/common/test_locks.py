"""Locks of folders that are worked on."""

import errno

import pytest

from medim.common.errors import UserError
from medim.common.locks import held, locked


def test_a_folder_is_held_once_and_free_afterwards(tmp_path):
    with held(tmp_path / "new"):
        with pytest.raises(UserError, match="being worked on"), held(tmp_path / "new"):
            pass
        with locked(tmp_path / "new" / "another", wait=False) as mine:
            assert mine
    with held(tmp_path / "new"):
        pass


def test_a_file_system_without_locks_is_warned_of(tmp_path, monkeypatch):
    def flock(*_):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr("medim.common.locks.fcntl.flock", flock)
    with pytest.warns(UserWarning, match="no file locks here"), held(tmp_path):
        pass


def test_other_errors_are_not_taken_for_that(tmp_path, monkeypatch):
    def flock(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("medim.common.locks.fcntl.flock", flock)
    with pytest.raises(OSError, match="Input/output"), held(tmp_path):
        pass


def test_what_killed_writers_left_in_a_folder_is_swept_by_whoever_holds_it_next(tmp_path):
    own = [tmp_path / ".manifest.0a1b2c3d.json", tmp_path / "images" / ".1.ffffffff.png", tmp_path / ".LICENSE.00000000"]
    kept = [
        tmp_path / ".hidden",
        tmp_path / "a.0a1b2c3d.json",
        tmp_path / "arm" / ".job.lock",
        tmp_path / "arm" / ".x.0a1b2c3d.y",
    ]
    for path in own + kept:
        path.parent.mkdir(exist_ok=True)
        path.touch()
    with held(tmp_path):
        assert not any(path.exists() for path in own)
        assert all(path.exists() for path in kept)  # a folder with a lock of its own is its holder's
    with held(tmp_path / "arm", ".job.lock"):
        assert not kept[-1].exists()
