import gzip
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tasks.metrics.text import paraphrases
from tasks.metrics.text.paraphrases import table, vocabulary

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


def test_what_a_killed_build_left_is_removed_at_the_next_start(source, tmp_path):
    """Of any build: earlier releases gave drawn names. An index that is there already is no reason to leave it."""
    for name in (".meteor-paraphrases-v1-0123.ab12cd34", f".{paraphrases.NAME}-v1-0123.making"):
        (tmp_path / "cache" / name).mkdir(parents=True)
        (tmp_path / "cache" / name / "words.npy").write_bytes(b"half")
        table.cache_clear()
        table(source)
        left = [path.name for path in (tmp_path / "cache").iterdir() if path.is_dir()]
        assert len(left) == 1
        assert left[0].startswith("meteor-paraphrases-v1-")


KILLED = """
import os, signal, sys
from pathlib import Path
from tasks.metrics.text import paraphrases
save = paraphrases.np.save
def stop(*given):
    save(*given)
    os.kill(os.getpid(), signal.SIGKILL)
paraphrases.np.save = stop
paraphrases.table(Path(sys.argv[1]))
"""


def test_a_build_that_is_killed_holds_up_nobody(source, tmp_path):
    done = subprocess.run([sys.executable, "-c", KILLED, str(source)], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert [path.name for path in (tmp_path / "cache").glob(".*/")]
    assert len(table(source).pairs) == 4
    assert not list((tmp_path / "cache").glob(".*/"))


def test_words_as_any_normaliser_may_split_them():
    assert {"c7", "t1", "c7t1", "c7-t1"} <= vocabulary(["C7-T1"])
    assert {"u", "s", "us"} <= vocabulary(["u.s."])
    assert "" not in vocabulary(["- --"])
