"""`medim-bench score` with every metric that reads files: a value on tiny weights, a reason without them."""

import json

import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from transformers import BertModel

from benchmark.cli import main
from leaderboard.record import Record, read_records
from tasks.metrics.clinical.chexbert import CLASSES
from tasks.metrics.isolated.environment import shipped
from tasks.metrics.weights import SOURCES, variable
from tests.medim.perception.tiny_biomedclip import write_biomedclip
from tests.tasks.metrics.pair.test_alignment import write_clip
from tests.tasks.tiny_encoder import write_encoder

pytestmark = pytest.mark.slow
REPORTS = [
    ("chexbert", "CheXbert, micro-F1-14, uncertain positive"),
    (None, "CheXbert, micro-F1-5, uncertain positive"),
    (None, "CheXbert, macro-F1-14 over all labels, uncertain positive"),
    ("bertscore", "BERTScore F1"),
    ("minilm", "report similarity"),
    ("radgraph", "RadGraph F1 (radgraph-xl), RG_E"),
    ("ratescore", "RaTEScore"),
    ("green", "GREEN"),
    ("radcliq", "RadCliQ-v1"),
]
# None: without its files it stands in no row of its own.
IMAGES = [("biomedclip", "image-report cosine (BiomedCLIP)"), ("plip", "image-report cosine (PLIP)"), (None, "Vendi score")]


def write_chexbert(folder):
    """A checkpoint of its layout in which every label is found everywhere."""
    model = write_encoder(folder, layers=1)
    heads = torch.nn.ModuleList(torch.nn.Linear(model.config.hidden_size, classes) for classes in CLASSES)
    for head in heads:
        torch.nn.init.zeros_(head.weight)
        head.bias.data = torch.eye(len(head.bias))[1]
    state = {f"module.bert.{name}": value for name, value in BertModel(model.config).state_dict().items()}
    state |= {f"module.linear_heads.{name}": value for name, value in heads.state_dict().items()}
    torch.save({"model_state_dict": state}, folder / "chexbert.pth")


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """The measured records of both tasks, with and without the weights."""
    root = tmp_path_factory.mktemp("score")
    weights, data, theirs = root / "weights", root / "data", root / "theirs"
    for folder in (weights, data, theirs):
        folder.mkdir()
    write_encoder(weights / "bertscore")
    write_encoder(weights / "minilm", layers=1)
    write_chexbert(weights / "chexbert")
    write_biomedclip(weights / "biomedclip")
    write_clip(weights / "plip")
    with (data / "pairs.jsonl").open("w") as stream:
        for number in range(16):
            name, split = f"c{number}", "test" if number < 12 else "train"
            report = f"the {('heart is enlarged', 'lung is clear', 'left effusion is small')[number % 3]} ."
            fields = {"id": name, "image": f"{name}.png", "report": report, "split": split, "patient": name}
            stream.write(json.dumps(fields | {"domain": ("chest-xray", "pathology")[number % 2]}) + "\n")
            Image.new("RGB", (32, 32), (15 * number, 90, 200 - 9 * number)).save(data / f"{name}.png")
            if split == "test":
                Image.new("RGB", (32, 32), (12 * number, 80, 190)).save(theirs / f"{name}.png")
                (theirs / f"{name}.txt").write_text(report.replace("left", "right"))
    found: dict[bool, list[Record]] = {}
    with pytest.MonkeyPatch.context() as patch:
        for name in map(variable, [*SOURCES, *shipped()]):
            patch.delenv(name, raising=False)
        patch.setattr("tasks.metrics.text.embeddings.find_spec", lambda name: None)
        for there in (True, False):
            patch.setenv("MEDIM_BENCH_WEIGHTS", str(weights if there else root))
            out = root / f"out-{there}"
            arguments = ["--predictions", theirs, "--data", data, "--out", out, "--cache", "none"]
            tasks = ["score", "report-generation", "image-generation"]
            result = CliRunner().invoke(main, [*tasks, *map(str, arguments)])
            assert result.exit_code == 0, (result.output, result.exception)
            found[there] = [one for one in read_records(out / "records.jsonl") if one.kind == "measured"]
    return found


@pytest.mark.parametrize(("name", "metric"), REPORTS + IMAGES, ids=[metric for _, metric in REPORTS + IMAGES])
def test_each_has_a_value_with_its_files_and_a_reason_without(records, name, metric):
    with_files = [one for one in records[True] if one.metric.startswith(metric)]
    if name in shipped():  # their packages are not here
        assert all("metric-environment make" in one.reason for one in with_files)
    else:
        assert with_files
        assert all(one.value is not None for one in with_files)
    if name is not None:
        [blank] = [one for one in records[False] if one.metric.startswith(metric)]
        assert blank.value is None
        assert variable(name) in blank.reason
        assert blank.signature["unavailable"]
