from PIL import Image

from benchmark.run.reading import RememberingChecker
from medim.data.dataset import Checker


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
