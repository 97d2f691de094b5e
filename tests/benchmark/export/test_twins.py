"""Twins of a world with one finding, and the grounding test that they make."""

import hashlib
import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from benchmark.cli import main
from benchmark.export.export import LEFT_BEHIND, export
from benchmark.export.formats import FORMS
from benchmark.export.gate import Gate, Rules
from benchmark.export.grounding import (
    answer,
    execute_grounding,
    grade,
    grounding_items,
    read_choices,
    read_questions,
    write_grounding,
)
from benchmark.export.sources import Broken, Place
from benchmark.export.twins import Twins
from benchmark.run.options import ScoreOptions
from medim.common.errors import UserError


def picture(seed: int, odd: bool) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    pixels[0, 0, 0] = 2 * (pixels[0, 0, 0] // 2) + odd
    return Image.fromarray(pixels)


class Editor:
    """Draws even corners and edits them to odd ones; of every third seed the edit does not show."""

    name, fingerprint, resolution, finds_regions = "editor", "ed1", 16, True

    def __init__(self) -> None:
        self.calls = 0

    def settings(self):
        return {}

    def generate_images(self, reports, *, seeds): ...

    def generate_reports(self, images, *, seeds): ...

    def image_codes(self, images): ...

    def generate_pairs(self, prompts, *, seeds):
        self.calls += 1
        return [(picture(seed % 2**32, False), f"the corner is even in {seed}.") for seed in seeds]

    def edit(self, images, reports, new_reports, *, regions, seeds):
        assert list(regions) == [None] * len(seeds)
        return [
            SimpleNamespace(image=picture(seed % 2**32, seed % 3 != 0), report=new)
            for seed, new in zip(seeds, new_reports, strict=True)
        ]

    def log_likelihood(self, images, reports, condition, *, draws, seeds):
        odd = [int(np.asarray(image)[0, 0, 0]) % 2 == 1 for image in images]
        right = [("odd" in report.split()) == one for report, one in zip(reports, odd, strict=True)]
        nats = [
            [0.0, 50.0 + len(report) - (10.0 if fits and "|" in condition else 0)]
            for report, fits in zip(reports, right, strict=True)
        ]
        return SimpleNamespace(nats=np.array(nats))


@pytest.fixture
def source(world):
    data = world.Data()
    return Twins(Editor(), 6, 16, 3, data, "CC0-1.0", data.steering_image_checker())


@pytest.fixture
def exported(world, source, tmp_path):
    data, out = world.Data(), tmp_path / "twins"
    gate = Gate(Rules(), None, data.steering_image_checker(), data.report_checker())
    done = export(source, gate, FORMS["folder"](), out, title="t", terms="CC0-1.0", batch_size=5, shard_size=4)
    assert (done.kept, done.failed) == (12, 0)
    lines = [json.loads(line) for line in (out / "pairs.jsonl").read_text().splitlines()]
    assert write_grounding(out, lines) == 12
    return out, lines


def test_every_couple_differs_in_one_finding_and_its_images_show_it(world, exported):
    out, lines = exported
    by_id = {line["id"]: line for line in lines}
    for line in lines:
        twin = by_id[line["twin_of"]]
        assert twin["twin_of"] == line["id"]
        assert {line["change"], twin["change"]} == {"original", "added"}
        assert set(line["findings"]) ^ set(twin["findings"]) == {line["finding"]} == {"odd"}
        assert line["seed"] == twin["seed"]
        assert line["seed"] % 3  # an edit that does not show is drawn anew, and its couple with it
        with Image.open(out / line["image"]) as image:
            assert (np.asarray(image)[0, 0, 0] % 2 == 1) == (line["change"] == "added")
        assert line["patient"] == twin["patient"]


def test_a_twin_depends_on_its_place_alone(world, source):
    data = world.Data()
    places = [Place(slot, attempt) for slot in range(12) for attempt in (0, 1)]
    together = source.draw(places)
    assert any(isinstance(one, Broken) for one in together)
    for place, one in zip(reversed(places), reversed(together), strict=True):
        (alone,) = Twins(Editor(), 6, 16, 3, data, "CC0-1.0", data.steering_image_checker()).draw([place])
        assert type(alone) is type(one)
        assert isinstance(alone, Broken) or (alone.content, alone.fields) == (one.content, one.fields)


class Picky(Gate):
    """Lets no report through whose hash is divisible by three, whatever its twin is."""

    def reason(self, report, told):
        return "picky" if hashlib.sha256(report.encode()).digest()[0] % 3 == 0 else None


class Repeating(Editor):
    """Of forty pairs the same ones again and again, and ten that they are edited to."""

    def generate_pairs(self, prompts, *, seeds):
        return [(picture(seed % 40, False), f"the corner is even in {seed % 10}.") for seed in seeds]

    def edit(self, images, reports, new_reports, *, regions, seeds):
        return [
            SimpleNamespace(image=picture(seed % 10, True), report=new) for seed, new in zip(seeds, new_reports, strict=True)
        ]


def twins_of(world, out, editor=None, gate=Picky, couples=6, batch_size=5):
    data = world.Data()
    source = Twins(editor or Editor(), couples, 60, 3, data, "CC0-1.0", data.steering_image_checker())
    gate = gate(Rules(), None, data.steering_image_checker(), data.report_checker())
    done = export(source, gate, FORMS["folder"](), out, title="t", terms="CC0-1.0", batch_size=batch_size, shard_size=4)
    assert (done.kept, done.failed) == (2 * couples, 0)
    return [json.loads(line) for line in (out / "pairs.jsonl").read_text().splitlines()]


def are_twins(lines) -> bool:
    by_id = {line["id"]: line for line in lines}
    return all(by_id[line["twin_of"]]["seed"] == line["seed"] for line in lines)


@pytest.mark.parametrize(("editor", "gate"), [(Editor, Picky), (Repeating, Gate)])
def test_twins_leave_together_or_not_at_all(world, tmp_path, editor, gate):
    lines = twins_of(world, tmp_path / "o", editor(), gate)
    dropped = [json.loads(line) for line in (tmp_path / "o" / "gate" / "dropped.jsonl").read_text().splitlines()]
    assert are_twins(lines)
    assert len(list(grounding_items(lines))) == 12
    assert len({(line["report"], line["image_sha256"]) for line in lines}) == 12
    assert LEFT_BEHIND in {line["reason"] for line in dropped}


def test_a_kill_between_twins_parts_none(world, tmp_path):
    whole = twins_of(world, tmp_path / "whole")
    shards = tmp_path / "whole" / ".export" / "shards"
    content = {path.name: path.read_text().splitlines(keepends=True) for path in shards.iterdir()}
    for cut in (1, 3, 5):
        out = tmp_path / f"cut {cut}"
        shutil.copytree(tmp_path / "whole" / ".export", out / ".export")
        (out / ".export" / "done.json").unlink()
        for name, lines in content.items():
            (out / ".export" / "shards" / name).write_text("".join(lines[:cut]))
        assert twins_of(world, out) == whole


def test_a_shard_holds_whole_couples(world, source, tmp_path):
    with pytest.raises(UserError, match="--shard-size 3 parts pairs that leave together: take a multiple of 2"):
        export(source, Gate(Rules()), FORMS["folder"](), tmp_path, title="t", terms="", shard_size=3)


def test_a_couple_that_fails_is_tried_again(world, tmp_path):
    class Clumsy(Editor):
        def edit(self, images, reports, new_reports, *, regions, seeds):
            if any(seed % 7 == 0 for seed in seeds):
                raise RuntimeError("out of paint")
            return super().edit(images, reports, new_reports, regions=regions, seeds=seeds)

    lines = twins_of(world, tmp_path / "o", Clumsy(), couples=20, batch_size=8)
    assert all(line["seed"] % 7 for line in lines)


def test_who_cannot_edit_or_check_is_told(world):
    data = world.Data()
    with pytest.raises(UserError, match="cannot find and redraw"):
        Twins(world.Model(), 2, 2, 0, data, "CC0-1.0", data.steering_image_checker())
    with pytest.raises(UserError, match="no checker of images that steers"):
        Twins(Editor(), 2, 2, 0, data, "CC0-1.0", None)


def test_questions_ask_for_the_reports_own_image_in_either_place(exported):
    out, lines = exported
    items = read_questions(out)
    by_id = {line["id"]: line for line in lines}
    for item in items:
        assert item.reports[item.right] == by_id[item.id]["report"]
        assert item.reports[1 - item.right] == by_id[by_id[item.id]["twin_of"]]["report"]
        assert item.shown == ("odd" in by_id[item.id]["findings"])
    assert {item.right for item in items} == {0, 1}
    single = [line for line in lines if line["id"] != lines[0]["id"]]
    assert len(list(grounding_items(single))) == 10  # half a couple asks nothing


def test_answers_are_graded(exported, tmp_path):
    out, _ = exported
    items = read_questions(out)
    path = tmp_path / "p.jsonl"
    answers = [{"id": item.id, "choice": item.right} for item in items]
    answers[0]["choice"] = 1 - answers[0]["choice"]
    answers[1] = {"id": items[1].id, "scores": [2.5, 2.5]}
    path.write_text("".join(json.dumps(one) + "\n" for one in answers[:-1]))
    told = grade(items, read_choices(path, items))
    assert told["accuracy"] == pytest.approx(9.5 / 12)  # one wrong, one undecided, one missing
    assert told["both right"] == pytest.approx(4 / 6)
    assert told["coverage"] == pytest.approx(11 / 12)
    assert told["by finding"]["odd"]["questions"] == 12


@pytest.fixture
def take(monkeypatch):
    """Takes the test with a model: what `grounding.json` then holds."""

    def call(folder, out, model, **more):
        monkeypatch.setattr("benchmark.export.grounding.open_pipeline", lambda *_: model)
        execute_grounding(ScoreOptions(tasks=("grounding",), data=str(folder), out=out, model="m", **more))
        return json.loads((out / "grounding.json").read_text())

    return call


def test_a_model_answers_by_what_the_image_tells_and_continues(exported, take, tmp_path):
    out, _ = exported
    told = take(out, tmp_path / "g", Editor())
    assert told["accuracy"] == told["both right"] == 1
    path = tmp_path / "g" / "predictions.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:5]))
    asked = []
    model = Editor()
    inner = model.log_likelihood
    model.log_likelihood = lambda images, reports, condition, **more: (
        asked.append(len(images)) or inner(images, reports, condition, **more)
    )
    answer(model, out, read_questions(out), tmp_path / "g")
    assert asked == [14, 14]
    assert len(path.read_text().splitlines()) == 12


def test_answers_of_one_model_are_never_anothers(exported, take, tmp_path):
    out, _ = exported
    take(out, tmp_path / "g", Editor())
    other = Editor()
    other.fingerprint, inner = "ed2", other.log_likelihood
    other.log_likelihood = lambda *given, **more: SimpleNamespace(nats=-inner(*given, **more).nats)
    with pytest.raises(UserError, match=r'holds answers with model = "\w+", and now model = "ed2"'):
        take(out, tmp_path / "g", other)
    assert take(out, tmp_path / "g", other, overwrite=True)["accuracy"] == 0
    questions = out / "grounding.jsonl"
    questions.write_text("".join(questions.read_text().splitlines(keepends=True)[:4]))
    with pytest.raises(UserError, match="holds answers with questions"):
        take(out, tmp_path / "g", other)


def test_predictions_of_others_are_not_taken_for_a_models_and_stay(exported, take, tmp_path):
    out, _ = exported
    (tmp_path / "predictions.jsonl").write_text("mine")
    with pytest.raises(UserError, match="choose another folder"):
        take(out, tmp_path, Editor(), overwrite=True)
    assert (tmp_path / "predictions.jsonl").read_text() == "mine"


def test_a_byte_order_mark_and_blank_lines_are_no_mistakes(exported, tmp_path):
    out, _ = exported
    questions = out / "grounding.jsonl"
    first, *others = questions.read_text().splitlines()
    first = json.dumps({**json.loads(first), "reports": ["left\u2028effusion", "none"]}, ensure_ascii=False)
    questions.write_text("\n\n".join([first, *others]), encoding="utf-8-sig")
    items = read_questions(out)
    assert items[0].reports == ("left\u2028effusion", "none")
    path = tmp_path / "p.jsonl"
    path.write_text("\n\n".join(json.dumps({"id": item.id, "choice": item.right}) for item in items), "utf-8-sig")
    assert grade(items, read_choices(path, items))["accuracy"] == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"id": "x", "choice": 1}', "unknown question 'x'"),
        ("nonsense", ":2: broken JSON"),
        ('{"choice": 1}', ":2: field 'id': Field required"),
        ('{"id": "ID", "choice": 2}', ":2: field 'choice': Input should be 0 or 1"),
        ('{"id": "ID"}', '"choice" \\(0 or 1\\) or "scores"'),
        ('{"id": ["ID"], "choice": 1}', ":2: field 'id': Input should be a valid string"),
        ('{"id": "caf\xe9"}', ":2: not UTF-8: byte 12"),
        ('{"id": "ID", "scores": [NaN, 1]}', ":2: .*NaN, which JSON"),
        ('{"id": "ID", "scores": [1, 1e999]}', ":2: .*Infinity, which JSON"),
    ],
)
def test_bad_answers_are_told_by_line(exported, tmp_path, line, message):
    out, lines = exported
    path = tmp_path / "p.jsonl"
    path.write_text("\n" + line.replace("ID", lines[0]["id"]) + "\n", encoding="latin-1")
    with pytest.raises(UserError, match=message):
        read_choices(path, read_questions(out))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": 3}, "1: field 'image': Input should be a valid string"),
        ({"couple": 1}, "1: field 'couple': Input should be a valid string"),
        ({"reports": 2}, "1: field 'reports': Input should be a valid array"),
        ({"reports": ["a", None]}, "1: field 'reports.1': Input should be a valid string"),
    ],
)
def test_bad_questions_are_told_by_line(exported, change, message):
    out, _ = exported
    questions = out / "grounding.jsonl"
    questions.write_text(json.dumps({**json.loads(questions.read_text().splitlines()[0]), **change}))
    with pytest.raises(UserError, match=message):
        read_questions(out)


def test_grounding_from_the_command_line(exported, tmp_path):
    out, _ = exported
    path = tmp_path / "p.jsonl"
    path.write_text("".join(json.dumps({"id": q.id, "choice": q.right}) + "\n" for q in read_questions(out)))
    given = ["score", "grounding", "--data", str(out), "--out", str(tmp_path / "g")]
    done = CliRunner().invoke(main, [*given, "--predictions", str(path)])
    assert done.exit_code == 0, done.output
    assert "right: 1.000" in done.stdout
    assert CliRunner().invoke(main, given).exit_code == 2
    assert (
        "holds no grounding.jsonl"
        in CliRunner()
        .invoke(main, ["score", "grounding", "--data", str(tmp_path), "--out", "o", "--predictions", str(path)])
        .stderr
    )
