"""R2Gen trains from what the export writes."""

import json

import pytest

from benchmark.export.formats import FORMS
from medim.common.errors import UserError
from tasks.downstream.annotation import load_annotation


@pytest.fixture
def exported(examples, tmp_path):
    (tmp_path / "images").mkdir()
    lines = []
    for number, example in enumerate(examples(12)):
        example.image.save(tmp_path / "images" / f"{example.id}.png")
        line = {"id": example.id, "patient": example.patient, "report": example.report, "domain": "sign", "terms": "CC0-1.0"}
        lines.append({**line, "image": f"images/{example.id}.png", "split": ("train", "train", "val", "test")[number % 4]})
    FORMS["r2gen"]().write(tmp_path, lambda: iter(lines), 4)
    return tmp_path


def test_two_steps_from_an_exported_folder(exported, examples, small, tmp_path):
    sets = load_annotation(exported)
    original = {example.id: example for example in examples(12)}
    assert [len(sets[split]) for split in ("train", "val", "test")] == [6, 3, 3]
    for example in (one for examples_of in sets.values() for one in examples_of):
        assert example.report == original[example.id].report
        assert example.picture().tobytes() == original[example.id].image.tobytes()
    fitted = small.fit(sets["train"], sets["val"], steps=2, seed=0, out=tmp_path / "out")
    assert fitted.settings()["train"]["n"] == 6
    assert len(fitted.generate_reports([example.picture() for example in sets["test"]], seeds=[0] * 3)) == 3


def test_what_cannot_be_learned_from_is_told(exported):
    (exported / "images" / "e4.png").unlink()
    with pytest.raises(UserError, match=r"image '.*e4.png' of 'e4' does not exist"):
        load_annotation(exported)
    file = exported / "annotation.json"
    broken = json.loads(file.read_text())
    broken["train"][0]["report"] = ""
    file.write_text(json.dumps(broken))
    with pytest.raises(UserError, match=r"annotation.json: .*'train', entry 1 \(e0\): the report is empty"):
        load_annotation(exported, images="images")
