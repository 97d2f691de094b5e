import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from benchmark.export.export import Outcome, Part, export
from benchmark.export.formats import FORMS
from benchmark.export.gate import Gate, Rules
from benchmark.export.sources import Prompts
from medim.common.errors import UserError
from medim.data.sources.folder import FolderDataset
from medim.imaging.images import read_image
from tasks.metrics.image.memorisation import altered_copies


def rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def generate(
    world, out: Path, model=None, n=40, attempts=8, seed=0, part=None, overwrite=False, form="folder", sizes=(8, 16), **rules
) -> Outcome:
    data, model = world.Data(), model or world.Model()
    source = world.Generated(model, n, attempts, Prompts(), seed, data, "CC0-1.0")
    return export(
        source,
        world.gate(data, model, **rules),
        FORMS[form](),
        out,
        title="noise",
        terms="CC0-1.0",
        batch_size=sizes[0],
        shard_size=sizes[1],
        part=part or Part(),
        overwrite=overwrite,
    )


def test_every_pair_tells_where_it_is_from(world, tmp_path):
    assert generate(world, tmp_path / "o").kept == 40
    lines = rows(tmp_path / "o" / "pairs.jsonl")
    assert len({line["id"] for line in lines}) == 40
    for line in lines:
        assert line["synthetic"] is True
        assert (line["terms"], line["model_hash"], line["prompt"]) == ("CC0-1.0", "abc123", "")
        gate = line["gate"]
        assert gate["agreement"] == 1.0
        assert gate["nats"] == 100.0 + len(line["report"])
        assert gate["distance"] >= 1
        assert gate["nearest"].startswith("train.")
        image = read_image(tmp_path / "o" / line["image"])
        assert image.tobytes() == world.noise(9, line["seed"]).tobytes()
        assert line["report"].endswith(f"in {line['seed']}.")
    assert FolderDataset(tmp_path / "o").size("train") == 40


def test_the_result_depends_neither_on_batches_nor_on_the_other_shards(world, tmp_path):
    generate(world, tmp_path / "a")
    data, model = world.Data(), world.Model()
    source = world.Generated(model, 40, 8, Prompts(), 0, data, "CC0-1.0")
    export(source, world.gate(data, model), FORMS["folder"](), tmp_path / "b", title="", terms="", batch_size=3, shard_size=40)
    left, right = rows(tmp_path / "a" / "pairs.jsonl"), rows(tmp_path / "b" / "pairs.jsonl")
    assert [(one["id"], one["seed"], one["image_sha256"]) for one in left] == [
        (one["id"], one["seed"], one["image_sha256"]) for one in right
    ]


@pytest.mark.parametrize("kind", ["plain", "mirrored", "brighter"])
def test_a_planted_training_copy_does_not_leave(world, tmp_path, kind):
    planted = world.Data().pair("train", 17).image
    copy = {"plain": [planted], "mirrored": altered_copies([planted]), "brighter": altered_copies([planted] * 2)[1:]}[kind][0]
    model = world.Model()
    model.copies = {1: copy}  # the first pair of the second batch: slot 8
    outcome = generate(world, tmp_path / "o", model)
    assert outcome.kept == 40
    caught = [line for line in rows(tmp_path / "o" / "gate" / "dropped.jsonl") if line["slot"] == 8]
    assert [(line["reason"], line["gate"]["nearest"], line["attempt"]) for line in caught] == [
        ("near-copy of a training image", "train.17", 0)
    ]
    assert caught[0]["gate"]["distance"] < (1e-6 if kind == "plain" else 0.2)
    report = json.loads((tmp_path / "o" / "gate" / "gate.json").read_text())
    assert report["dropped"]["near-copy of a training image"] >= 1
    assert report["counts"]["kept"] + sum(report["dropped"].values()) == report["counts"]["judged"]
    for path in (tmp_path / "o").rglob("*.png"):
        assert read_image(path).tobytes() != copy.tobytes()


def test_near_copies_leave_when_forced_by_name(world, tmp_path):
    model = world.Model()
    model.copies = {0: world.Data().pair("train", 3).image}
    generate(world, tmp_path / "o", model, allow_near_copies=True)
    line = rows(tmp_path / "o" / "pairs.jsonl")[0]
    assert line["gate"] | {"nearest": "train.03"} == line["gate"]
    assert line["gate"]["distance"] == 0
    assert "let out, by name" in (tmp_path / "o" / "README.md").read_text()


def test_filters_drop_and_the_slots_are_drawn_anew(world, tmp_path):
    outcome = generate(world, tmp_path / "o", world.Model(wrong=True), min_agreement=0.5)
    dropped = rows(tmp_path / "o" / "gate" / "dropped.jsonl")
    wrong = [line for line in dropped if line["reason"] == "below --min-agreement"]
    assert outcome.kept == 40
    assert wrong
    assert all(line["seed"] % 4 == 0 and line["gate"]["agreement"] == 0 for line in wrong)
    assert all(line["seed"] % 4 for line in rows(tmp_path / "o" / "pairs.jsonl"))


def test_slots_without_a_pair_are_failures(world, tmp_path):
    outcome = generate(world, tmp_path / "o", attempts=2, max_nats=10.0)
    assert (outcome.kept, outcome.dropped, outcome.failed) == (0, 80, 40)
    failures = rows(tmp_path / "o" / "failures.jsonl")
    assert [line["slot"] for line in failures] == list(range(40))
    assert all(line["attempts"] == 2 for line in failures)


def test_a_sample_that_fails_is_tried_again_and_a_broken_model_stops(world, tmp_path):
    model = world.Model()
    model.broken = {1}
    assert generate(world, tmp_path / "o", model).kept == 40
    assert any("out of paint" in line["reason"] for line in rows(tmp_path / "o" / "gate" / "dropped.jsonl"))
    model.broken = set(range(5))
    with pytest.raises(RuntimeError, match="out of paint"):
        generate(world, tmp_path / "p", model)


@pytest.mark.parametrize("sizes", [(1, 16), (8, 1), (3, 7)])
def test_what_fails_depends_neither_on_batches_nor_on_shards(world, tmp_path, sizes):
    def exported(out: Path, **more) -> list[tuple]:
        model = world.Model()
        model.broken = {1}
        assert generate(world, out, model, **more).kept == 40
        return [(line["id"], line["seed"]) for line in rows(out / "pairs.jsonl")]

    assert exported(tmp_path / "a") == exported(tmp_path / "b", sizes=sizes)


def test_a_slot_that_always_fails_is_a_failure_and_not_the_end(world, tmp_path):
    model = world.Model()
    model.broken = set(range(5))
    outcome = generate(world, tmp_path / "o", model, n=1, attempts=6)
    assert (outcome.kept, outcome.dropped, outcome.failed) == (0, 6, 1)
    assert rows(tmp_path / "o" / "failures.jsonl")[0]["error"] == "no pair: RuntimeError: out of paint"


def test_equal_pairs_leave_once_also_across_shards(world, tmp_path):
    outcome = generate(world, tmp_path / "o", world.Model(pool=120), n=60, attempts=30)
    lines = rows(tmp_path / "o" / "pairs.jsonl")
    assert outcome.kept == len(lines) == 60
    assert len({line["report"] for line in lines}) == 60
    reasons = json.loads((tmp_path / "o" / "gate" / "gate.json").read_text())["dropped"]
    assert reasons["duplicate"] > 5
    assert {path.name for path in (tmp_path / "o" / "images").rglob("*.png")} == {Path(one["image"]).name for one in lines}


def test_an_interrupted_export_continues_to_the_same_result(world, tmp_path):
    generate(world, tmp_path / "whole", world.Model(pool=200), attempts=30)
    model = world.Model(pool=200)
    model.stops_after = 3
    with pytest.raises(KeyboardInterrupt):
        generate(world, tmp_path / "cut", model, attempts=30)
    shard = tmp_path / "cut" / ".export" / "shards" / "00001.jsonl"
    with shard.open("a") as stream:
        stream.write('{"slot": 24, "att')  # what a kill leaves of a line
    again = world.Model(pool=200)
    assert generate(world, tmp_path / "cut", again, attempts=30).kept == 40
    assert (tmp_path / "cut" / "pairs.jsonl").read_text() == (tmp_path / "whole" / "pairs.jsonl").read_text()
    calls = again.calls
    assert generate(world, tmp_path / "cut", again, attempts=30).kept == 40
    assert again.calls == calls


def test_parts_fill_their_own_shards_and_the_last_one_finishes(world, tmp_path):
    generate(world, tmp_path / "whole")
    first = generate(world, tmp_path / "o", part=Part(0, 2, alone=True))
    assert not first.finished
    assert sorted(path.name for path in (tmp_path / "o" / ".export" / "shards").iterdir()) == ["00000.jsonl", "00002.jsonl"]
    assert generate(world, tmp_path / "o", part=Part(1, 2, alone=True)).finished
    assert (tmp_path / "o" / "pairs.jsonl").read_text() == (tmp_path / "whole" / "pairs.jsonl").read_text()


def test_another_configuration_is_refused_and_overwrite_begins_anew(world, tmp_path):
    generate(world, tmp_path / "o", n=8)
    with pytest.raises(UserError, match=r"source\.seed = 0, and now source\.seed = 1"):
        generate(world, tmp_path / "o", n=8, seed=1)
    (tmp_path / "o" / "grounding.jsonl").write_text("{}")
    assert generate(world, tmp_path / "o", n=8, seed=1, overwrite=True, form="parquet").kept == 8
    left = {path.name for path in (tmp_path / "o").iterdir()}
    assert left == {".export", "README.md", "data", "gate"}  # of the form before, too, nothing is left
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="holds files that no export of medim-bench wrote"):
        generate(world, tmp_path / "mine", n=8, overwrite=True)


def test_existing_pairs_are_held_against_the_training_split(world, tmp_path):
    pairs, data = world.Data(train=6, val=3, test=3), world.Data()
    outcome = export(
        world.Existing(pairs), world.gate(data), FORMS["folder"](), tmp_path / "o", title="pairs", terms="CC0-1.0", shard_size=5
    )
    dropped = rows(tmp_path / "o" / "gate" / "dropped.jsonl")
    assert {line["id"] for line in dropped} >= {f"train.{number:02d}" for number in range(6)}
    assert outcome.failed == 0
    assert all(line["synthetic"] is False for line in rows(tmp_path / "o" / "pairs.jsonl"))


CHILD = """
import importlib.util, sys
from pathlib import Path
spec = importlib.util.spec_from_file_location("world", sys.argv[1])
world = importlib.util.module_from_spec(spec)
spec.loader.exec_module(world)
from benchmark.export.export import Part, export
from benchmark.export.formats import FORMS
from benchmark.export.gate import Gate, Rules
from benchmark.export.sources import Prompts
data, model = world.NoiseData(), world.NoiseModel(pool=6000, delay=float(sys.argv[5]))
source = world.Generated(model, int(sys.argv[3]), 20, Prompts(), 0, data, "CC0-1.0")
export(source, world.open_gate(data, model), FORMS["folder"](), Path(sys.argv[2]), title="noise", terms="CC0-1.0",
       batch_size=32, shard_size=100, part=Part(int(sys.argv[4]), 2))
"""


@pytest.mark.slow
def test_two_killed_processes_continue_to_exactly_n_unique_pairs(tmp_path):
    n, out = 2000, tmp_path / "o"

    def start(delay: float) -> list[subprocess.Popen]:
        world = Path(__file__).parent / "conftest.py"
        given = [[sys.executable, "-c", CHILD, str(world), str(out), str(n), str(rank), str(delay)] for rank in (0, 1)]
        return [subprocess.Popen(command, stderr=subprocess.DEVNULL) for command in given]

    def written() -> dict[str, int]:
        return {path.name: path.read_bytes().count(b"\n") for path in (out / ".export" / "shards").glob("*.jsonl")}

    processes = start(0.3)
    deadline = time.monotonic() + 120
    while sum(written().values()) < 300 or len(written()) < 4:  # both are in the middle of their work
        assert time.monotonic() < deadline
        assert all(process.poll() is None for process in processes)
        time.sleep(0.05)
    for process in processes:
        process.kill()
    assert [process.wait() for process in processes] == [-9, -9]
    assert not (out / "pairs.jsonl").exists()
    assert [process.wait(timeout=300) for process in start(0)] == [0, 0]
    lines = rows(out / "pairs.jsonl")
    assert len(lines) == len({line["id"] for line in lines}) == n
    contents = {(line["report"], line["image_sha256"]) for line in lines}
    assert len(contents) == n
    assert len(list((out / "images").rglob("*.png"))) == n
    assert Image.open(out / lines[-1]["image"]).size == (16, 16)
    assert json.loads((out / "gate" / "gate.json").read_text())["dropped"]["duplicate"] > 100


def test_the_first_pairs_are_drawn_and_shown_before_the_training_split_is_read(world, tmp_path, monkeypatch, capsys):
    model, data, out = world.Model(), world.Data(), tmp_path / "out"
    gate = world.gate(data, model)
    drawn = []
    prepare = gate.search.prepare
    source = world.Generated(model, 6, 2, Prompts(), 0, data, "CC0-1.0")

    def look(then) -> None:
        with Image.open(out / "unscreened.png") as sheet:
            drawn.append((model.calls, sheet.width > 2 * 192, [path.name for path in out.iterdir()]))
        then()

    def killed() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(gate.search, "prepare", lambda: look(killed))
    with pytest.raises(KeyboardInterrupt):
        export(source, gate, FORMS["folder"](), out, title="t", terms="CC0-1.0", batch_size=2)
    monkeypatch.setattr(gate.search, "prepare", lambda: look(prepare))
    outcome = export(source, gate, FORMS["folder"](), out, title="t", terms="CC0-1.0", batch_size=2)
    assert outcome.kept == 6
    assert [(calls, wide, sorted(names)) for calls, wide, names in drawn] == [
        (calls, True, [".export", "unscreened.png"]) for calls in (1, 2)
    ]
    assert not (out / "unscreened.png").exists()
    said = capsys.readouterr().err
    assert "held against 40 training images" in said
    assert "held-out images, for the thresholds" in said


class TwoDomains:
    """Reports of two domains; the model that learned from them writes of one, the other, or of neither."""

    def __init__(self, data) -> None:
        self.data, self.domains = data, ("chest-xray", "pathology")

    def __getattr__(self, name):
        return getattr(self.data, name)

    def pair(self, split, index):
        domain = self.domains[index % 2]
        words = "heart and lungs are clear" if index % 2 == 0 else "glands in fibrous stroma"
        return replace(self.data.pair(split, index), domain=domain, report=f"{words}, case {index}.")


@pytest.mark.parametrize("form", ["folder", "llava"])
def test_a_generated_pair_bears_the_domain_of_its_own_report(world, tmp_path, monkeypatch, form):
    texts = ["The heart and lungs are clear.", "Glands in stroma.", "qqq zzz"]
    model = world.Model()
    drawn = model.generate_pairs

    def told(prompts, *, seeds):
        return [(image, texts[seed % 3]) for (image, _), seed in zip(drawn(prompts, seeds=seeds), seeds, strict=True)]

    monkeypatch.setattr(model, "generate_pairs", told)
    source = world.Generated(model, 12, 1, Prompts(), 0, TwoDomains(world.Data()), "CC0-1.0")
    export(source, Gate(Rules()), FORMS[form](), tmp_path / "o", title="", terms="")
    lines = rows(tmp_path / "o" / "pairs.jsonl") if form == "folder" else json.loads((tmp_path / "o" / "data.json").read_text())
    expected = {0: "chest-xray", 1: "pathology", 2: None}
    assert {line["seed"] % 3 for line in lines} == {0, 1, 2}
    assert [line["domain"] for line in lines] == [expected[line["seed"] % 3] for line in lines]
