"""Chosen checkers through the commands: real folders have finding F1, agreement and edits, and say how well they are read."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

from benchmark.cli import main
from benchmark.results.rescore import _unable
from benchmark.run.checkers import checkers_of, refuse_steerer
from leaderboard.record import Record, read_records
from medim.common.errors import UserError
from medim.data.archives.mimic.tables import LABELS
from medim.data.sources.folder import FolderDataset
from medim.perception.densenet import PATHOLOGIES, DenseNet121
from medim.perception.inception import WEIGHTS_FILES, InceptionV3
from tasks import task_named
from tasks.adapters.checkers.attach import attach_checkers
from tasks.scoring.findings import checker_details
from tests.medim.data.archives.conftest import _label_rows, _write_csv
from tests.tasks.adapters.checkers.conftest import _vit

SHOWN = {
    "Atelectasis": ("Atelectasis", "There is atelectasis at the left base."),
    "Cardiomegaly": ("Cardiomegaly", "The heart is enlarged."),
    "Consolidation": ("Consolidation", "There is consolidation in the right lung."),
    "Edema": ("Edema", "There is pulmonary edema."),
    "Pleural Effusion": ("Effusion", "A right pleural effusion is present."),
    "Pneumothorax": ("Pneumothorax", "There is a left pneumothorax."),
}
"""By column of CheXpert: TorchXRayVision's name, and a sentence that the labeller reads so."""
SIDE = 64


def drawn(shown: set[str], seed: int) -> Image.Image:
    """A grey square; each finding is a bright patch at its place."""
    pixels = np.random.default_rng(seed).integers(60, 90, (SIDE, SIDE)).astype(np.uint8)
    for place, name in enumerate(SHOWN):
        if name in shown:
            row, column = divmod(place, 3)
            pixels[row * 30 + 4 : row * 30 + 24, column * 21 + 1 : column * 21 + 19] = 240
    return Image.fromarray(pixels)


def cases(count: int, seed: int) -> list[set[str]]:
    chances = np.random.default_rng(seed).random((count, len(SHOWN))) < 0.4
    return [{name for name, there in zip(SHOWN, row, strict=True) if there} for row in chances]


def write_mimic(root: Path, sizes: dict[str, int]) -> Path:
    """A tree of MIMIC-CXR-JPG's layout and its reports: one study of one image for each patient."""
    images, table = [], {}
    studies = [(split, shown) for seed, (split, size) in enumerate(sizes.items()) for shown in cases(size, seed)]
    for number, (split, shown) in enumerate(studies):
        study, subject = 50_000_000 + number, 10_000_000 + number
        folder = root / "files" / f"p10/p{subject}/s{study}"
        folder.mkdir(parents=True)
        drawn(shown, number).save(folder / f"i{number}.jpg", quality=95)
        sentences = [sentence for name, (_, sentence) in SHOWN.items() if name in shown] or ["No acute process."]
        folder.with_suffix(".txt").write_text(f" FINAL REPORT\n FINDINGS: {' '.join(sentences)}\n")
        images.append([f"i{number}", study, subject, split])
        labels = dict.fromkeys(shown, "1.0") or {"No Finding": "1.0"}
        if number % 5 == 0 and "Edema" not in shown:
            labels["Edema"] = "-1.0"  # uncertain: no finding of the case
        if number % 7:
            table[study] = labels  # as in the archive, some studies have none
    _write_csv(root / "mimic-cxr-2.0.0-split.csv.gz", ["dicom_id", "study_id", "subject_id", "split"], images)
    _write_csv(root / "mimic-cxr-2.0.0-chexpert.csv.gz", ["subject_id", "study_id", *LABELS], _label_rows(table))
    return root


def write_chest_weights(path: Path) -> Path:
    """A file of TorchXRayVision's layout: random convolutions, and a classifier fitted to `drawn`."""
    torch.manual_seed(0)
    network = DenseNet121().eval()
    shown = cases(96, 9)
    pixels = torch.tensor(np.stack([np.asarray(drawn(one, 1000 + row)) for row, one in enumerate(shown)])).float()
    images = torch.nn.functional.interpolate(pixels[:, None] / 127.5 - 1, size=224, mode="bicubic", antialias=True) * 1024
    with torch.no_grad():
        features = torch.cat([network(images[start : start + 16]) for start in range(0, len(images), 16)]).double()
        mean, deviation = features.mean(0), features.std(0) + 1e-6
        inputs = (features - mean) / deviation
        targets = torch.tensor([[1.0 if name in one else -1.0 for name in SHOWN] for one in shown]).double()
        weights = inputs.T @ torch.linalg.solve(inputs @ inputs.T + 10 * torch.eye(len(inputs)).double(), targets)
        network.classifier.weight.zero_()
        network.classifier.bias.fill_(-4)
        for column, (label, _) in enumerate(SHOWN.values()):
            row, scaled = PATHOLOGIES.index(label), 3 * weights[:, column] / deviation
            network.classifier.weight[row] = scaled.float()
            network.classifier.bias[row] = -(scaled @ mean).float()
    torch.save({**network.state_dict(), "op_threshs": torch.full((18,), 0.5)}, path)
    return path


def call(*arguments: object) -> Result:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture(scope="module")
def chest(tmp_path_factory) -> Path:
    return write_chest_weights(tmp_path_factory.mktemp("weights") / "all.pt")


@pytest.mark.slow
def test_the_paper_suite_on_mimic_withholds_no_headline_metric(chest, tmp_path, monkeypatch):
    weights = tmp_path / "weights"
    weights.mkdir()
    torch.manual_seed(0)
    torch.save(InceptionV3().state_dict(), weights / WEIGHTS_FILES[0])
    monkeypatch.setenv("MEDIM_BENCH_WEIGHTS", str(weights))
    root, data, out = (
        write_mimic(tmp_path / "mimic", {"train": 160, "validate": 40, "test": 60}),
        tmp_path / "data",
        tmp_path / "out",
    )
    call("data", "prepare", "mimic-cxr", "--root", root, "--out", data, "--preset", "paper", "--set", "part=true")
    sizes = ["--resolution", SIDE, "--limit", 60, "--set", "sampling.image.steps=2", "--set", "sampling.report.steps=2"]
    result = call(
        *("run", "--suite", "paper", "--model", "phantom-tiny", "--data", data, "--out", out, *sizes),
        *("--checker", f"image=torchxrayvision:{chest}"),
    )
    assert result.stderr.index("checker image=torchxrayvision:all.pt") < result.stderr.index("image-generation: scoring")
    records = read_records(out / "records.jsonl")
    for name in ("image-generation", "report-generation", "joint-generation"):
        found = {r.metric: r for r in records if r.task == name and r.kind == "measured"}
        headlines = [metric for metric in task_named(name).headline_metrics if metric in found]
        assert {metric: found[metric].reason for metric in headlines if found[metric].value is None} == {}
        assert headlines[0] in ("macro finding F1", "joint agreement")
    anchors = {(r.task, r.metric): r for r in records if r.model == "real"}
    assert anchors["joint-generation", "checker macro F1"].value > 0.8
    assert "cases: report checker rule-based" in anchors["image-generation", "macro finding F1"].signature["reference_findings"]
    assert anchors["report-generation", "macro finding F1"].value > 0.95


@pytest.fixture
def data(tmp_path) -> Path:
    """A folder of `drawn` pairs; each split has a third of its findings left to the reports."""
    folder = tmp_path / "pairs"
    folder.mkdir()
    lines = []
    for seed, split in enumerate(("train", "val", "test")):
        for number, shown in enumerate(cases(16, seed)):
            name = f"{split}{number}"
            drawn(shown, number + 100 * seed).save(folder / f"{name}.png")
            sentences = [sentence for label, (_, sentence) in SHOWN.items() if label in shown] or ["No acute process."]
            line = {"id": name, "image": f"{name}.png", "report": " ".join(sentences), "split": split, "domain": "chest-xray"}
            lines.append(line | {"findings": sorted(shown), "terms": "CC0-1.0"})
    (folder / "pairs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def measured(out: Path, task: str) -> dict[str, Record]:
    return {r.metric: r for r in read_records(out / "records.jsonl") if r.kind == "measured" and r.task == task}


def predicted(path: Path, files: list[Path], ids: list[str], wrong: str | None = None) -> Path:
    """What a user's own classifier says: here a look at the patches; of id `wrong` the opposite."""
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["image", *(label for label, _ in SHOWN.values())])
        for name, file in [*((str(file), file) for file in files), *((id, path.parent / "pairs" / f"{id}.png") for id in ids)]:
            pixels = np.asarray(Image.open(file).convert("L"))
            places = [divmod(place, 3) for place in range(len(SHOWN))]
            shown = [
                pixels[row * 30 + 8 : row * 30 + 20, column * 21 + 4 : column * 21 + 16].mean() / 255 for row, column in places
            ]
            writer.writerow([name, *(1 - value if name == wrong else value for value in shown)])
    return path


@pytest.mark.slow
def test_a_classifier_that_ran_elsewhere_scores_a_runs_samples(data, tmp_path):
    """The two steps: `run` draws, the classifier looks, `score` reads its table."""
    run, scored = tmp_path / "run", tmp_path / "scored"
    small = ("--data", data, "--resolution", SIDE, "--features", "efficientnet-lite0")
    call("run", "image-generation", "--model", "baseline:nearest-neighbour", "--out", run, *small)
    assert measured(run, "image-generation")["macro finding F1"].reason == "the data set has no image checker"
    samples = run / "samples" / "image-generation" / "nearest-neighbour"
    files = sorted((samples / "images").glob("*.png"))
    ids = [f"{split}{number}" for split in ("train", "val", "test") for number in range(16)]
    table = predicted(tmp_path / "p.csv", files, ids)
    checker = ("--checker", f"image=predictions:{table}")
    result = call("score", "image-generation", "--predictions", samples, "--out", scored, *small, *checker)
    assert "checker image=predictions:p.csv" in result.stderr
    found = measured(scored, "image-generation")
    assert 0 < found["macro finding F1"].value <= 1
    signature = found["macro finding F1"].signature
    assert signature["image_checker"] == "predictions:p.csv"
    assert {"image_checker_weights", "image_checker_label_map", "image_checker_thresholds"} <= signature.keys()
    assert signature["image_checker_thresholds_from"]["Edema"].startswith("val: ")
    real = {r.metric: r.value for r in read_records(scored / "records.jsonl") if r.model == "real"}
    assert real["checker macro F1"] == real["macro finding F1"] == 1

    verify = ("leaderboard", "verify", scored, "--data", data)
    verified = call(*verify, *checker).output
    assert "records agree with their predictions, 0 do not" in verified
    assert "needs its checker" not in verified
    assert (
        "macro finding F1 of 'real': not scored again: needs its checker, --checker image=predictions:p.csv"
        in call(*verify).output
    )

    other = predicted(tmp_path / "q.csv", files, ids, wrong="test3")
    arguments = ("score", "image-generation", "--predictions", samples, *small, "--checker", f"image=predictions:{other}")
    result = CliRunner().invoke(main, list(map(str, [*arguments, "--out", scored])))
    assert result.exit_code == 2
    assert "checkers.image" in result.output  # another checker is another configuration
    call(*arguments, "--out", tmp_path / "other")
    real = {r.metric: r.value for r in read_records(tmp_path / "other" / "records.jsonl") if r.model == "real"}
    assert real["checker macro F1"] < 1


def test_samples_that_the_table_lacks_are_refused(data, tmp_path):
    samples = tmp_path / "samples"
    samples.mkdir()
    for number in range(16):
        drawn(set(), 900 + number).save(samples / f"test{number}.png")
    table = predicted(tmp_path / "p.csv", [], [f"{split}{number}" for split in ("val", "test") for number in range(16)])
    arguments = ["image-generation", "--data", data, "--out", tmp_path / "out", "--resolution", SIDE]
    arguments += ["--checker", f"image=predictions:{table}"]
    result = CliRunner().invoke(main, list(map(str, ["score", *arguments, "--predictions", samples])))
    assert result.exit_code == 2
    assert "has no row for 16 of 16 images: list samples by their files" in result.stderr
    result = CliRunner().invoke(main, list(map(str, ["run", *arguments, "--model", "baseline:shuffled"])))
    assert result.exit_code == 2
    assert "run draws images that are in no table yet" in result.stderr


@pytest.mark.slow
def test_a_folder_has_agreement_and_edits(chest, data, tmp_path):
    out = tmp_path / "out"
    small = ("--data", data, "--resolution", SIDE, "--set", "sampling.image.steps=2", "--set", "sampling.report.steps=2")
    checker = ("--checker", f"image=torchxrayvision:{chest}")
    call("run", "joint-generation", "editing", "--model", "phantom-tiny", "--out", out, *small, *checker)
    joint, editing = measured(out, "joint-generation"), measured(out, "editing")
    assert joint["joint agreement"].value is not None
    assert editing["hit and others kept"].value is not None
    assert editing["edit hit rate"].n > 0
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["checkers"]["image"]["name"] == "torchxrayvision:all.pt"
    before = (out / "records.jsonl").read_bytes()
    call("run", "joint-generation", "editing", "--model", "phantom-tiny", "--out", out, *small, *checker)
    assert (out / "records.jsonl").read_bytes() == before


@pytest.mark.slow
def test_real_x_rays_of_other_findings_by_a_file_of_labels(shared_data, tmp_path):
    """`cxr` states COVID-19 and other causes: what stands for them is the user's to say."""
    torch.manual_seed(0)
    torch.save(DenseNet121().state_dict(), tmp_path / "random.pt")
    arguments = ["run", "image-generation", "joint-generation", "--model", "baseline:shuffled", "--resolution", SIDE]
    arguments += ["--data", shared_data / "cxr", "--out", tmp_path / "out", "--cache", "none"]
    checker = ["--checker", f"image=torchxrayvision:{tmp_path / 'random.pt'}"]
    refused = CliRunner().invoke(main, [str(argument) for argument in [*arguments, *checker]])
    assert refused.exit_code == 2
    assert "reads none of the findings of 'cxr'" in refused.stderr
    labels = "image: {Pneumonia: COVID-19, Lung Opacity: ARDS}\nreport: {Pneumonia: COVID-19}\n"
    (tmp_path / "labels.yaml").write_text(labels)
    result = call(*arguments, *checker, "--checker-labels", tmp_path / "labels.yaml")
    assert "COVID-19" in result.stderr
    assert "not read: Klebsiella, Legionella, Pneumocystis, Streptococcus" in result.stderr
    images, joint = measured(tmp_path / "out", "image-generation"), measured(tmp_path / "out", "joint-generation")
    assert images["finding F1: COVID-19"].value is not None
    signature = joint["joint agreement"].signature
    assert (signature["labels"], signature["unread_findings"][0]) == (1, "Klebsiella")
    real = [r for r in read_records(tmp_path / "out" / "records.jsonl") if r.metric == "checker macro F1"]
    assert {(r.task, r.model, r.kind) for r in real} == {
        (task, "real", "anchor") for task in ("image-generation", "joint-generation")
    }
    assert "Checker F1" in (tmp_path / "out" / "leaderboard" / "index.html").read_text(encoding="utf-8")


def test_what_steered_cannot_score(data, tmp_path):
    table = predicted(tmp_path / "p.csv", [], ["test0"])
    dataset = FolderDataset(data)
    attach_checkers(dataset, (f"image=predictions:{table}",), None, "cpu")
    weights = dataset.image_checker().weights
    refuse_steerer(dataset, {"steering": {"image_checker_weights": "another"}})
    with pytest.raises(UserError, match=f"weights {weights}.* steered these samples: it cannot score them"):
        refuse_steerer(dataset, {"sampler": {"steering": {"image_checker_weights": weights}}})
    samples = tmp_path / "run" / "samples" / "image-generation" / "model"
    samples.mkdir(parents=True)
    drawn(set(), 0).save(samples / "test0.png")
    settings = {"settings": {"steering": {"image_checker_weights": weights}}}
    (tmp_path / "run" / "manifest.json").write_text(json.dumps(settings))
    arguments = ["score", "image-generation", "--predictions", samples, "--data", data, "--out", tmp_path / "out"]
    result = CliRunner().invoke(main, [*map(str, arguments), "--checker", f"image=predictions:{table}"])
    assert result.exit_code == 2
    assert "steered these samples" in result.stderr


def test_a_configuration_says_what_was_given(data, tmp_path):
    """The default labeller is none of it: a folder of results from before it goes on."""
    dataset = FolderDataset(data)
    attach_checkers(dataset, (), None, "cpu")
    assert checkers_of(dataset) == {}
    attach_checkers(dataset, ("report=labeller",), None, "cpu")
    assert checkers_of(dataset)["checkers"].keys() == {"report"}
    (tmp_path / "labels.yaml").write_text("image: {Edema: {finding: Edema, threshold: 0.3}}")
    table = predicted(tmp_path / "p.csv", [], ["test0"])
    attach_checkers(dataset, (f"image=predictions:{table}",), tmp_path / "labels.yaml", "cpu")
    said = checkers_of(dataset)["checkers"]
    assert said.keys() == {"image", "report"}
    assert said["image"]["given_thresholds"] == {"Edema": 0.3}


def test_what_is_done_around_the_network_is_part_of_it(data, tmp_path):
    """Equal weights behind another preprocessing give other probabilities: another configuration, another signature."""
    _vit(tmp_path / "vit")
    dataset, said = FolderDataset(data), []
    for mean in (0.5, 0.1):
        file = tmp_path / "vit" / "preprocessor_config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"image_mean": [mean] * 3}))
        attach_checkers(dataset, (f"image=transformers:{tmp_path / 'vit'}",), None, "cpu")
        said.append((checkers_of(dataset)["checkers"]["image"], checker_details("image", dataset.image_checker())))
    (one, signature), (other, again) = said
    assert one["weights"] == other["weights"]
    assert one["feed"] != other["feed"]
    assert signature["image_checker_feed"] != again["image_checker_feed"]
    record = Record.model_construct(value=1.0, signature=signature)
    assert _unable(record, record, {}) is None
    needed = "needs its checker, --checker image=transformers:vit"
    assert _unable(record, Record.model_construct(value=1.0, signature=again), {}) == needed
