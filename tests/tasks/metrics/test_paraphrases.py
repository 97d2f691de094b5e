import gzip
from pathlib import Path

import numpy as np
import pytest

from tasks.metrics import paraphrases
from tasks.metrics.paraphrases import table, vocabulary

LINES = "0.5\nlarge\nbig\n0.25\nvery large\nhuge one\n1e-05\nno sign of\nwithout\n0.125\ncôté\nside\n"


@pytest.fixture
def source(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("MEDIM_BENCH_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "paraphrase.gz"
    path.write_bytes(gzip.compress(LINES.encode()))
    table.cache_clear()
    yield path
    table.cache_clear()


def test_a_pair_is_kept_where_all_its_words_occur(source, tmp_path):
    found = table(source)
    assert found.select({"large", "big", "very", "huge"}).tolist() == [0]
    assert found.select({"large", "very", "huge", "one"}).tolist() == [1]
    assert found.select({"no", "sign", "of", "without", "côté", "side"}).tolist() == [2, 3]
    found.write(tmp_path / "out.gz", np.arange(4))
    assert gzip.decompress((tmp_path / "out.gz").read_bytes()).decode() == LINES


def test_the_index_is_made_once_per_content(source, monkeypatch):
    table(source)
    table.cache_clear()
    monkeypatch.setattr(paraphrases, "_indexed", None)
    assert len(table(source).pairs) == 4
    table.cache_clear()
    source.write_bytes(gzip.compress(LINES.replace("big", "tall").encode()))
    with pytest.raises(TypeError):
        table(source)


def test_words_as_any_normaliser_may_split_them():
    assert {"c7", "t1", "c7t1", "c7-t1"} <= vocabulary(["C7-T1"])
    assert {"u", "s", "us"} <= vocabulary(["u.s."])
    assert "" not in vocabulary(["- --"])
