import json

import pytest

from medim.common.claims import claim, flatten, refuse_another, refuse_foreign
from medim.common.errors import UserError


def test_flatten():
    assert flatten({"a": {"b": {"c": 1}, "d": {}}, "e": [2]}) == {"a.b.c": 1, "a.d": {}, "e": [2]}


def test_a_key_that_one_side_lacks_is_null_only_where_that_is_said(tmp_path):
    refuse_another(tmp_path, "a run", {"a": (1,)}, {"a": [1], "new": None}, unset_is_null=True)
    with pytest.raises(UserError, match=r"holds a run with new = unset, and now new = null: choose another folder, or --over"):
        refuse_another(tmp_path, "a run", {"a": [1]}, {"a": [1], "new": None})
    with pytest.raises(UserError, match=r"old = 2, and now old = unset: choose another folder, or remove it"):
        refuse_another(tmp_path, "a run", {"old": 2}, {}, remedy="remove it", unset_is_null=True)


def test_a_folder_is_claimed_once_and_cleared_only_where_it_is_claimed(tmp_path):
    path, cleared = tmp_path / "inside" / "configuration.json", []

    def clear() -> None:
        cleared.append(path.exists())
        path.unlink()

    refuse_foreign(tmp_path, path, "run")
    claim(tmp_path, path, {"a": 1}, "a run", clear)
    assert cleared == []
    with pytest.raises(UserError, match="a = 1, and now a = 2"):
        claim(tmp_path, path, {"a": 2}, "a run", None)
    claim(tmp_path, path, {"a": 2}, "a run", clear)
    assert (cleared, json.loads(path.read_text())) == ([True], {"a": 2})
    (tmp_path / "notes").write_text("mine")
    refuse_foreign(tmp_path, path, "run")
    path.unlink()
    with pytest.raises(UserError, match="holds files that no run of medim-bench wrote"):
        refuse_foreign(tmp_path, path, "run")
    with pytest.raises(UserError, match="is a file; give a folder"):
        refuse_foreign(tmp_path / "notes", tmp_path / "notes" / "x", "run")
