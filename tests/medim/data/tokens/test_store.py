"""Columns join their parts; files are views of what was written, and a damaged one is named."""

import json

import numpy as np
import pytest
import torch

from medim.common.errors import UserError
from medim.data.tokens.store import Column, TokenStore


def test_a_column_is_its_parts_in_a_row():
    whole = np.arange(44).reshape(11, 4)
    column = Column([whole[:4].astype(np.uint16), whole[4:8].astype(np.uint16), whole[8:].astype(np.uint16)])
    assert (len(column), column.shape) == (11, (11, 4))
    for start in range(12):
        for stop in range(start, 13):
            assert torch.equal(column[start:stop], torch.from_numpy(whole[start:stop]))
    assert column[:].dtype == torch.int64
    assert column[-1].tolist() == [40, 41, 42, 43]
    assert column[7].tolist() == [28, 29, 30, 31]
    assert int(Column([np.array([3, 5], np.uint8)])[1]) == 5
    with pytest.raises(IndexError):
        column[11]
    with pytest.raises(ValueError, match="steps of 1"):
        column[::2]


def test_a_column_may_have_its_rows_in_any_order():
    whole = np.arange(44).reshape(11, 4)
    rows = np.random.default_rng(0).permutation(11)
    column = Column([whole[rows[:3]], whole[rows[3:]]], [rows[:3], rows[3:]])
    for start, stop in ((0, 11), (2, 9), (5, 5)):
        assert torch.equal(column[start:stop], torch.from_numpy(whole[start:stop]))
    assert column[4].tolist() == whole[4].tolist()


def test_files_are_mapped_views(tmp_path):
    store = TokenStore(tmp_path / "t", {"data": "x", "terms": "CC0"})
    columns = {"image": np.arange(12, dtype=np.uint16).reshape(3, 4), "prompt": np.array([7, 8, 9], np.int32)}
    assert store.files() == []
    store.write(range(10, 13), columns)
    store.write(np.array([2, 5, 7]), columns)
    assert store.path(range(10, 13)).name == "000000010-000000013.arrow"
    read = store.files()
    assert [rows.tolist() for rows, _ in read] == [[10, 11, 12], [2, 5, 7]]
    for _, found in read:
        for name, values in columns.items():
            np.testing.assert_array_equal(found[name], values)
            assert found[name].dtype == values.dtype
            assert not found[name].flags.owndata
            assert not found[name].flags.writeable
    assert json.loads((tmp_path / "t" / "tokens.json").read_text()) == {"data": "x", "terms": "CC0"}
    assert len(list((tmp_path / "t").iterdir())) == 3
    store.write(np.array([3]), {name: values[:1] for name, values in columns.items()})
    assert store.files()[:2] == read[:2]  # what was known keeps its number
    assert len(store.files()) == 3


def test_a_damaged_file_is_named(tmp_path):
    store = TokenStore(tmp_path, {})
    store.write(range(3), {"prompt": np.zeros(3, np.int32)})
    path = store.path(range(3))
    path.rename(store.path(range(4)))
    with pytest.raises(UserError, match="hold 3 rows, not 4"):
        store.files()
    store.path(range(4)).write_bytes(b"ARROW1")
    with pytest.raises(UserError, match=r"000000004\.arrow' are damaged: remove the file"):
        store.files()
