import json

import numpy as np
import pytest
from PIL import Image

from benchmark.run.exhibits import LINES, SHEET, WITHHELD, lacks_sheet, write_exhibition
from benchmark.run.runner import run
from tasks.task import Exhibition, Pairing

RED, BLUE = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (640, 640), "blue")


@pytest.fixture
def shown():
    pairings = [Pairing(RED, BLUE, ("a | b", "a long line " * 20))] * 5
    return Exhibition(("Samples", "Screened " * 40), pairings, [{"id": "a", "nearest": {"id": "ü"}}, {"id": "c"}])


def test_the_sheet_shows_each_pair_side_by_side(tmp_path, shown):
    write_exhibition(tmp_path, shown, allowed=True)
    with Image.open(tmp_path / SHEET) as image:
        pixels = np.asarray(image.convert("RGB"))
    assert (pixels == (255, 0, 0)).all(axis=2).sum() == 5 * 160 * 160
    assert (pixels == (0, 0, 255)).all(axis=2).sum() == 5 * 160 * 160
    row = pixels[(pixels == (255, 0, 0)).all(axis=2).any(axis=1)][0]
    assert row[14 + 159].tolist() == [255, 0, 0]
    assert row[14 + 160].tolist() == [0, 0, 255]
    lines = [json.loads(line) for line in (tmp_path / LINES).read_text().splitlines()]
    assert lines == shown.samples
    assert not lacks_sheet(tmp_path, allowed=True)
    assert lacks_sheet(tmp_path, allowed=False)


def test_restricted_images_are_withheld_until_allowed_by_name(tmp_path, shown):
    write_exhibition(tmp_path, shown, allowed=True)
    write_exhibition(tmp_path, shown, allowed=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == [LINES, WITHHELD]
    assert "--show-samples" in (tmp_path / WITHHELD).read_text()
    assert lacks_sheet(tmp_path, allowed=True)
    assert not lacks_sheet(tmp_path, allowed=False)
    write_exhibition(tmp_path, shown, allowed=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == [LINES, SHEET]


def test_nothing_to_show_makes_no_sheet(tmp_path, shown):
    write_exhibition(tmp_path, shown, allowed=True)
    write_exhibition(tmp_path, Exhibition(("Samples",), [], []), allowed=True)
    assert [path.name for path in tmp_path.iterdir()] == [LINES]
    assert not lacks_sheet(tmp_path, allowed=True)


def test_a_run_shows_what_the_terms_allow(tmp_path, shown, model, dataset, colour_tasks):
    task = colour_tasks["joint-generation"]
    task.exhibit = lambda cases, predictions, context: shown
    dataset.terms = "PhysioNet Credentialed Health Data License 1.5.0"
    folder = tmp_path / "out/samples/joint-generation/painter"

    def again(**options):
        run(model, dataset, ["joint-generation"], tmp_path / "out", resolution=8, command="run", **options)
        return sorted(path.name for path in folder.glob("nearest*"))

    assert again() == [LINES, WITHHELD]
    scored = task.scored
    assert again() == [LINES, WITHHELD]
    assert task.scored == scored  # nothing is scored twice
    assert again(show_samples=True) == [LINES, SHEET]
    assert again() == [LINES, WITHHELD]
    assert sorted(path.parent.name for path in folder.parent.glob(f"*/{LINES}")) == ["constant", "painter", "real"]
