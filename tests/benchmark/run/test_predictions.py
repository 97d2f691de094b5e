from PIL import Image

from benchmark.run.predictions import PredictionStore
from tasks.protocols import Prediction

IMAGE = Image.new("RGB", (3, 2), (1, 2, 3))


def test_what_is_appended_is_read_back(tmp_path):
    PredictionStore(tmp_path, "c0ffee").append(
        [Prediction("a", IMAGE, "Ça va\u2028bien", "p"), Prediction("b")], {"a": 5, "b": 6}
    )
    store = PredictionStore(tmp_path)
    a, b, c = store.predictions(["a", "b", "c"])
    assert (a.image.tobytes(), a.report, a.prompt) == (IMAGE.tobytes(), "Ça va\u2028bien", "p")
    assert (b.image, b.report, c.image, c.report) == (None, None, None, None)
    assert "b" in store
    assert "c" not in store
    assert store.commits(["a", "c"]) == ["c0ffee"]


def test_a_cut_line_is_dropped_and_the_file_mended(tmp_path):
    PredictionStore(tmp_path).append([Prediction("a", report="x")], {"a": 1})
    path = tmp_path / "generated.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"id": "b", "report": "\xc3')
    store = PredictionStore(tmp_path)
    assert set(store.lines) == {"a"}
    store.append([Prediction("b", report="y")], {"b": 2})
    assert set(PredictionStore(tmp_path).lines) == {"a", "b"}


def test_fingerprint_follows_content_not_cost(tmp_path):
    def fingerprint(name, *predictions):
        store = PredictionStore(tmp_path / name)
        store.append(predictions, {p.id: 0 for p in predictions})
        return store.fingerprint(["a", "b"])

    base = fingerprint("1", Prediction("a", IMAGE, "x"))
    assert fingerprint("2", Prediction("a", IMAGE, "x", cost={"seconds": 3.0})) == base
    assert fingerprint("3", Prediction("a", IMAGE, "y")) != base
    assert fingerprint("4", Prediction("a", Image.new("RGB", (3, 2)), "x")) != base
    assert fingerprint("5", Prediction("a", IMAGE, "x"), Prediction("b", report="x")) != base
