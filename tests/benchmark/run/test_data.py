import pytest

from benchmark.run import data as run_data
from benchmark.run.data import report_files


@pytest.fixture(autouse=True)
def nothing_named(monkeypatch):
    for name in ("MEDIM_CHEXBERT", "MEDIM_RADGRAPH", "MEDIM_BENCH_WEIGHTS"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("name", ["chexbert", "radgraph"])
def test_weights_count_as_soon_as_they_are_there_and_again_when_they_are_exchanged(name, monkeypatch, tmp_path):
    seen = [report_files("strict-v1")]
    (tmp_path / name).mkdir()
    monkeypatch.setenv("MEDIM_BENCH_WEIGHTS", str(tmp_path))
    for weights in (b"one", b"others"):
        (tmp_path / name / "weights.pth").write_bytes(weights)
        seen.append(report_files("strict-v1"))
        assert report_files("strict-v1") == seen[-1]
    monkeypatch.setenv(f"MEDIM_{name.upper()}", str(tmp_path))
    assert len({str(files) for files in (*seen, report_files("strict-v1"))}) == 4


def test_wordnet_is_looked_for_where_the_protocol_reads_it(monkeypatch):
    before = report_files("strict-v1"), report_files("medim-paper-v1")
    monkeypatch.setattr(run_data, "installed_wordnet", lambda: len)
    after = report_files("strict-v1"), report_files("medim-paper-v1")
    assert [one == other for one, other in zip(before, after, strict=True)] == [True, False]
