import pytest
from PIL import Image

from benchmark.run import data as run_data
from benchmark.run.data import RememberingChecker, report_files
from medim.data.dataset import Checker


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


class Words:
    name, fingerprint, labels = "words", "w1", ("red", "blue")

    def __init__(self):
        self.asked = []

    def __call__(self, items):
        self.asked += items
        return [frozenset({"red"}) if "red" in str(item) else frozenset() for item in items]


REFERENCES = ["red one", "two", "red one"]


def test_references_are_read_once_for_all_runs(tmp_path):
    first = Words()
    checker = RememberingChecker(first, REFERENCES, tmp_path)
    assert isinstance(checker, Checker)
    assert (checker.name, checker.fingerprint, checker.labels) == ("words", "w1", ("red", "blue"))
    assert checker([*REFERENCES, "generated red"]) == [{"red"}, set(), {"red"}, {"red"}]
    assert first.asked == ["red one", "two", "generated red"]
    second = Words()
    again = RememberingChecker(second, REFERENCES, tmp_path)
    assert again(["other red", "two", "red one"]) == [{"red"}, set(), {"red"}]
    assert second.asked == ["other red"]
    assert not any("red" in path.read_text().replace('"red"', "") for path in tmp_path.iterdir())  # labels, and no text


def test_references_read_in_parts_are_kept_when_all_are_read(tmp_path):
    checker = RememberingChecker(Words(), REFERENCES, tmp_path)
    checker(["red one"])
    assert list(tmp_path.iterdir()) == []
    checker(["two"])
    assert len(list(tmp_path.iterdir())) == 1


def test_another_checker_or_other_references_find_nothing(tmp_path):
    RememberingChecker(Words(), REFERENCES, tmp_path)(REFERENCES)
    retrained = Words()
    retrained.fingerprint = "w2"
    RememberingChecker(retrained, REFERENCES, tmp_path)(["two"])
    other = Words()
    RememberingChecker(other, ["two"], tmp_path)(["two"])
    assert retrained.asked == other.asked == ["two"]


def test_images_are_known_by_their_pixels(tmp_path):
    checker = Words()
    images = [Image.new("RGB", (2, 2), colour) for colour in ("red", "blue")]
    RememberingChecker(checker, images, tmp_path)(images)
    fresh = Words()
    RememberingChecker(fresh, images, tmp_path)([images[1].copy(), Image.new("RGB", (2, 2), "green")])
    assert len(fresh.asked) == 1
