"""The command as it is typed, in this process, with the world of noise behind --model noise and --data noise."""

import importlib
import json
import shutil
from typing import get_args

import pytest
from click.testing import CliRunner

from benchmark.export.command import part_of
from benchmark.export.formats import FORMS
from benchmark.export.options import LOOSE_IMAGES, FormName
from medim.checkpoints import shipped
from medim.common.errors import UserError
from medim.data import loading
from medim.data.sources.folder import FolderDataset
from tasks.scoring.context import Context
from tests.tasks.adapters.checkers.conftest import vit  # noqa: F401
from tests.tasks.adapters.checkers.test_attach import folder as checked_folder

PRIVATE = "PhysioNet Credentialed Health Data License 1.5.0"


@pytest.fixture
def command(world, monkeypatch, tmp_path):
    sets = {"noise": world.Data(), "few": world.Data(train=3, val=2, test=1), "private": world.Data(terms=PRIVATE)}
    load = loading.load_dataset
    monkeypatch.setattr("medim.data.loading.load_dataset", lambda name: sets[name] if name in sets else load(name))
    monkeypatch.setattr("benchmark.export.command.open_model", lambda *given: world.Model())

    def call(*arguments, out="o"):
        given = ["export", *arguments, "--features", "pixels", "--out", str(tmp_path / out)]
        verb = importlib.import_module("benchmark.cli").main
        return CliRunner().invoke(verb, given)

    return call


GENERATE = ("--model", "noise", "--data", "noise", "--n", "12")


def test_a_model_is_exported(command, tmp_path):
    (tmp_path / "p.yaml").write_text("templates: ['{region}:']\nregion: [chest, knee, hip]\n")
    done = command(*GENERATE, "--format", "folder", "--prompts", str(tmp_path / "p.yaml"), "--min-agreement", "1")
    assert done.exit_code == 0, done.output
    assert "12 pairs as folder" in done.stdout
    lines = [json.loads(line) for line in (tmp_path / "o" / "pairs.jsonl").read_text().splitlines()]
    prompts = [line["prompt"] for line in lines]
    assert sorted(prompts) == ["chest:"] * 4 + ["hip:"] * 4 + ["knee:"] * 4
    assert all(line["report"].startswith(line["prompt"]) for line in lines)
    gate = json.loads((tmp_path / "o" / "gate" / "gate.json").read_text())
    assert (gate["source"]["model_hash"], gate["synthetic"]) == ("abc123", True)
    assert gate["gate"]["image_checker"]["hash"] == "steering"


def test_pairs_are_converted_unscreened_by_name_alone(command, tmp_path):
    refused = command("--pairs", "few", "--format", "r2gen")
    assert refused.exit_code == 2
    assert "--allow unscreened" in refused.stderr
    done = command("--pairs", "few", "--format", "r2gen", "--allow", "unscreened")
    assert done.exit_code == 0, done.output
    assert len(json.loads((tmp_path / "o" / "annotation.json").read_text())["train"]) == 3


def test_training_pairs_are_near_copies_of_themselves(command, tmp_path):
    done = command("--pairs", "few", "--data", "noise", "--format", "folder")
    assert done.exit_code == 0, done.output
    assert "dropped by the gate" in done.stdout
    done = command("--pairs", "few", "--data", "noise", "--format", "folder", "--allow", "near-copies", out="all")
    assert "6 pairs as folder, none dropped" in done.stdout


@pytest.mark.parametrize(
    "given", [("--pairs", "private", "--data", "noise"), ("--model", "m", "--n", "3", "--data", "private")]
)
def test_credentialed_data_does_not_leave_unless_allowed_by_name(command, tmp_path, given):
    refused = command(*given, "--format", "llava")
    assert refused.exit_code == 2
    assert "--allow credentialed" in refused.stderr
    assert not (tmp_path / "o").exists()
    done = command(*given, "--format", "llava", "--allow", "credentialed", "--allow", "near-copies")
    assert done.exit_code == 0, done.output
    assert PRIVATE in (tmp_path / "o" / "README.md").read_text()


def test_a_model_of_credentialed_data_exports_nothing_under_other_datas_name(tmp_path):
    model = tmp_path / "m"
    shutil.copytree(shipped()["phantom-tiny"], model)
    card = json.loads((model / "training.json").read_text())
    (model / "training.json").write_text(json.dumps(card | {"terms": PRIVATE}))
    verb = importlib.import_module("benchmark.cli").main
    given = [
        "export",
        "--model",
        str(model),
        "--n",
        "1",
        "--data",
        "phantom",
        "--format",
        "llava",
        "--out",
        str(tmp_path / "o"),
    ]
    refused = CliRunner().invoke(verb, given)
    assert refused.exit_code == 2
    assert f"the terms of '{model}' ({PRIVATE})" in refused.stderr
    assert not (tmp_path / "o").exists()


def test_every_pair_bears_the_terms_of_the_data_and_of_what_the_model_learned_from(command, monkeypatch, tmp_path):
    monkeypatch.setattr("benchmark.export.command.model_terms", lambda name: PRIVATE)
    done = command(*GENERATE, "--format", "folder", "--allow", "credentialed")
    assert done.exit_code == 0, done.output
    assert FolderDataset(tmp_path / "o").terms == f"CC0-1.0; {PRIVATE}"


def test_training_images_are_searched_on_the_gpu_where_there_is_one(command, monkeypatch):
    asked = []
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setattr("benchmark.export.command.Context", lambda **given: asked.append(given["device"]) or Context(**given))
    assert command(*GENERATE, "--format", "folder").exit_code == 0
    assert asked == ["cuda:0"]


def test_slots_without_a_pair_give_status_3(command):
    done = command(*GENERATE, "--format", "folder", "--max-nats", "1", "--attempts", "2")
    assert done.exit_code == 3
    assert "12 slots remained without a pair" in done.stderr


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (("--format", "folder"), "--model M and --n N, or --pairs DIR"),
        (("--format", "folder", "--model", "m", "--n", "2"), "needs --data"),
        (("--format", "folder", "--pairs", "few", "--n", "2", "--data", "noise"), "belong to --model"),
        (("--model", "m", "--n", "2", "--data", "noise"), "needs --format"),
        ((*GENERATE, "--format", "folder", "--allow", "near-copy"), "did you mean 'near-copies'"),
        ((*GENERATE, "--format", "folder", "--shard", "3/2"), "such as 1/4"),
        ((*GENERATE, "--format", "parquet", "--twins"), "loose images, which its questions name: folder, huggingface, llava"),
        ((*GENERATE, "--format", "webdataset", "--twins"), "not webdataset"),
    ],
)
def test_mistakes_are_told_in_one_line(command, given, told):
    done = command(*given)
    assert done.exit_code == 2
    assert told in done.stderr
    assert done.stderr.count("\n") == 1


def test_parts():
    assert (part_of("2/3", {}).number, part_of("2/3", {}).alone) == (1, True)
    assert part_of(None, {"RANK": "1", "WORLD_SIZE": "2"}).order(5) == [1, 3, 0, 2, 4]
    assert part_of("1/2", {"RANK": "1", "WORLD_SIZE": "2"}).order(5) == [0, 2, 4]
    assert part_of(None, {}).order(3) == [0, 1, 2]
    with pytest.raises(UserError, match="i/n"):
        part_of("0/3", {})


def test_the_options_name_every_form():
    assert tuple(sorted(FORMS)) == get_args(FormName)
    assert tuple(name for name in sorted(FORMS) if FORMS[name].keeps_images) == LOOSE_IMAGES


def test_a_folder_is_filtered_by_the_checker_that_steers(command, vit, tmp_path):  # noqa: F811
    vit(tmp_path / "vit")
    data = checked_folder(tmp_path / "d")
    lines = (data / "pairs.jsonl").read_text().splitlines()
    lines[-1] = lines[-1].replace("There is a right pleural effusion.", "The lungs are clear.")
    (data / "pairs.jsonl").write_text("\n".join(lines) + "\n")
    arguments = ("--pairs", str(data), "--format", "folder", "--allow", "unscreened", "--min-agreement", "1")
    refused = command(*arguments)
    assert refused.exit_code == 2
    assert "--checker steer=KIND:FILE" in refused.stderr
    done = command(*arguments, "--checker", f"steer=transformers:{tmp_path / 'vit'}")
    assert done.exit_code in (0, 3), done.output
    gate = json.loads((tmp_path / "o" / "gate" / "gate.json").read_text())["gate"]["image_checker"]
    assert gate["name"] == "transformers:vit"
    assert gate["thresholds_from"] == {"Effusion": "val: 6 of 12 cases show it"}
    dropped = [json.loads(line) for line in (tmp_path / "o" / "gate" / "dropped.jsonl").read_text().splitlines()]
    assert [line["id"] for line in dropped if line["reason"] == "below --min-agreement"] == ["test11"]
    scores = command(*arguments, "--checker", f"image=transformers:{tmp_path / 'vit'}", out="p")
    assert "nothing is scored here" in scores.stderr
