"""Folders take the checkers that are named; chest X-rays have the labeller without a word."""

import json
from pathlib import Path

import pytest
from PIL import Image

from benchmark.systems import steering_checkers
from medim.common.errors import UserError
from medim.data.loading import load_dataset
from medim.data.sources.folder import FolderDataset
from tasks.adapters.checkers import attach
from tasks.adapters.checkers.attach import attach_checkers, attach_steering, choose_thresholds, chosen_checker
from tasks.adapters.checkers.image_checker import ImageChecker

EFFUSION, CLEAR = "There is a right pleural effusion.", "No acute process."


def folder(path: Path, findings: bool = True, domain: str | None = "chest-xray", count: int = 12) -> Path:
    """Of each split `count` pairs; every other one is bright and has an effusion."""
    path.mkdir()
    lines = []
    for split in ("train", "val", "test"):
        for number in range(count):
            name = f"{split}{number}"
            level = 200 + number if number % 2 else 20 + number
            Image.new("RGB", (8, 8), (level, level, level)).save(path / f"{name}.png")
            line = {"id": name, "image": f"{name}.png", "report": EFFUSION if number % 2 else CLEAR, "split": split}
            line |= {"domain": domain} if domain else {}
            lines.append(line | ({"findings": ["Effusion", "mist"] if number % 2 else []} if findings else {}))
    (path / "pairs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def table(data: Path, name: str = "p.csv", splits: tuple[str, ...] = ("val", "test")) -> str:
    rows = [f"{split}{number},{0.31 if number % 2 else 0.1},0\n" for split in splits for number in range(12)]
    (data.parent / name).write_text("image,pleural effusion,hernia\n" + "".join(rows))
    return f"predictions:{data.parent / name}"


def test_chest_xrays_have_the_labeller(tmp_path):
    dataset = load_dataset(str(folder(tmp_path / "d")))
    assert (dataset.image_checker(), dataset.report_checker()) == (None, None)
    attach_checkers(dataset, (), None, "cpu")
    reports = dataset.report_checker()
    assert reports.labels == ("Effusion",)  # by the data's spelling; what no label stands for is not read
    assert reports([EFFUSION, CLEAR]) == [{"Effusion"}, set()]
    assert dataset.image_checker() is None
    assert set(reports.details()) == {"weights", "label_map"}


def test_without_findings_the_labellers_stand(tmp_path):
    dataset = FolderDataset(folder(tmp_path / "d", findings=False))
    attach_checkers(dataset, (f"image={table(tmp_path / 'd')}",), None, "cpu")
    assert "pleural effusion" in dataset.report_checker().labels
    assert "no finding" not in dataset.report_checker().labels
    assert dataset.image_checker().labels == ("pleural effusion",)


@pytest.mark.parametrize("domain", ["pathology", None])
def test_other_data_have_no_checker_unless_one_is_named(domain, tmp_path, capsys):
    dataset = FolderDataset(folder(tmp_path / "d", domain=domain))
    attach_checkers(dataset, (), None, "cpu")
    assert dataset.report_checker() is None
    attach_checkers(dataset, ("report=labeller",), None, "cpu")
    assert (dataset.report_checker() is None) == (domain == "pathology")
    assert ("reads chest X-rays alone: data set 'd' goes without" in capsys.readouterr().err) == (domain == "pathology")


def test_subsets_and_mixtures_have_those_of_their_folders(vit, tmp_path):
    one, other = folder(tmp_path / "d"), folder(tmp_path / "e", count=10)
    vit(tmp_path / "vit")
    for expression in (f"{one}:train=50%", f"{one}+{other}"):
        dataset = load_dataset(expression)
        attach_checkers(dataset, (f"image={table(one)}", f"steer=transformers:{tmp_path / 'vit'}"), None, "cpu")
        assert chosen_checker(dataset).labels == ("Effusion",)
        assert dataset.report_checker()([EFFUSION]) == [{"Effusion"}]
        assert steering_checkers(dataset)[0].labels == ("Effusion",)


def test_a_mixture_with_other_images_has_no_checker_of_chest_xrays(tmp_path, capsys):
    """It would read findings from pathology images, and count them as false positives."""
    dataset = load_dataset(f"{folder(tmp_path / 'd')}+{folder(tmp_path / 'e', domain='pathology', count=10)}")
    attach_checkers(dataset, ("report=labeller",), None, "cpu")
    assert dataset.report_checker() is None
    assert "goes without, as it holds pathology" in capsys.readouterr().err


def test_thresholds_come_from_validation(tmp_path):
    dataset = FolderDataset(folder(tmp_path / "d"))
    attach_checkers(dataset, (f"image={table(tmp_path / 'd')}",), None, "cpu")
    checker = dataset.image_checker()
    assert isinstance(checker, ImageChecker)
    choose_thresholds(checker, dataset, 8)
    assert checker.thresholds == {"Effusion": pytest.approx(0.205)}
    assert checker.origins == {"Effusion": "val: 6 of 12 cases show it"}


def test_a_table_without_validation_keeps_the_default_and_says_so(tmp_path, capsys):
    dataset = FolderDataset(folder(tmp_path / "d"))
    attach_checkers(dataset, (f"image={table(tmp_path / 'd', splits=('test',))}",), None, "cpu")
    choose_thresholds(dataset.image_checker(), dataset, 8)
    assert dataset.image_checker().origins == {"Effusion": "default"}
    assert "no threshold is chosen on 'val': " in capsys.readouterr().err


def test_a_file_of_labels_maps_and_sets(tmp_path):
    dataset = FolderDataset(folder(tmp_path / "d"))
    (tmp_path / "labels.yaml").write_text("image: {hernia: {finding: mist, threshold: 0.2}}\nreport: {Edema: mist}\n")
    attach_checkers(dataset, (f"image={table(tmp_path / 'd')}",), tmp_path / "labels.yaml", "cpu")
    assert dataset.image_checker().labels == dataset.report_checker().labels == ("Effusion", "mist")
    assert dataset.image_checker().thresholds["mist"] == 0.2
    assert dataset.report_checker()(["Pulmonary edema."]) == [{"mist"}]
    (tmp_path / "labels.yaml").write_text("image: {hernia: mist}\n")
    for specs in ((), ("report=labeller",)):
        with pytest.raises(UserError, match=r"labels\.yaml maps labels of image: give --checker image="):
            attach_checkers(dataset, specs, tmp_path / "labels.yaml", "cpu")


def test_what_steers_does_not_score(vit, tmp_path):
    dataset = FolderDataset(folder(tmp_path / "d"))
    for seed in (0, 1):
        vit(tmp_path / f"vit{seed}", seed=seed)
    first, other = (f"transformers:{tmp_path / f'vit{seed}'}" for seed in (0, 1))
    with pytest.raises(UserError, match=r"--checker image=transformers:.* has the weights of steer=.*what steers cannot score"):
        attach_checkers(dataset, (f"image={first}", f"steer={first}"), None, "cpu")
    attach_checkers(dataset, (f"image={first},steer={other}",), None, "cpu")
    assert dataset.steering_image_checker().weights != dataset.image_checker().weights
    with pytest.raises(UserError, match="what is yet to be drawn is in no table"):
        attach_checkers(dataset, (f"steer={table(tmp_path / 'd')}",), None, "cpu")


def test_steering_alone(vit, tmp_path):
    dataset = FolderDataset(folder(tmp_path / "d"))
    vit(tmp_path / "vit")
    assert attach_steering(dataset, (), None, "cpu") == {}
    assert dataset.report_checker() is None  # nothing is read that was not before
    said = attach_steering(dataset, (f"steer=transformers:{tmp_path / 'vit'}",), None, "cpu")
    assert said["checkers"]["steer"]["thresholds_from"] == {"Effusion": "val: 6 of 12 cases show it"}
    assert dataset.image_checker() is None
    with pytest.raises(UserError, match="that scores, and nothing is scored here"):
        attach_steering(dataset, ("image=transformers:x",), None, "cpu")


@pytest.mark.parametrize(
    ("specs", "message"),
    [
        (("image",), "MODALITY=KIND:FILE is needed"),
        (("images=labeller",), "unknown modality of --checker 'images'; did you mean 'image'"),
        (("report=labeller", "report=labeller"), "--checker report= is given twice"),
    ],
)
def test_mistakes_are_one_line(specs, message, tmp_path):
    with pytest.raises(UserError, match=message):
        attach_checkers(FolderDataset(folder(tmp_path / "d")), specs, None, "cpu")


def test_data_with_checkers_and_data_that_none_reads_are_refused(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="data set 'phantom' has its checkers"):
        attach_checkers(load_dataset("phantom"), ("report=labeller",), None, "cpu")
    attach_checkers(load_dataset("phantom"), (), None, "cpu")
    dataset = FolderDataset(folder(tmp_path / "d"))
    monkeypatch.setattr(attach, "_stated", lambda dataset: ["COVID-19"])
    with pytest.raises(
        UserError, match=r"reads none of the findings of 'd': its labels are pleural effusion, hernia; .*COVID-19"
    ):
        attach_checkers(dataset, (f"image={table(tmp_path / 'd')}",), None, "cpu")
    attach_checkers(dataset, (), None, "cpu")
    assert dataset.report_checker() is None


def test_images_without_findings_are_left_out(tmp_path, capsys):
    dataset = FolderDataset(folder(tmp_path / "d", findings=False, domain="pathology"))
    attach_checkers(dataset, (f"image={table(tmp_path / 'd')}",), None, "cpu")
    assert dataset.image_checker() is None
    assert "states no findings, and none are read from its reports" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"absent\.csv"):
        attach_checkers(dataset, (f"image=predictions:{tmp_path / 'absent.csv'}",), None, "cpu")
