"""`data reference` and `score --reference`: a site without the images gets the values of the site that has them."""

import json
import shutil

import pytest
from click.testing import CliRunner

from benchmark.cli import main
from leaderboard.record import read_records
from medim.data.loading import load_dataset
from tasks.cases import SplitIds

FRECHET, KID = "Fréchet distance (EfficientNet-Lite0)", "KID (EfficientNet-Lite0)"


def call(*arguments: object):
    return CliRunner().invoke(main, [str(one) for one in arguments])


def measured(out) -> dict:
    return {one.metric: one for one in read_records(out / "records.jsonl") if one.kind == "measured"}


@pytest.mark.slow
def test_real_images_are_scored_against_their_statistics(shared_data, tmp_path):
    """Training X-rays as predictions for the test cases, with the data, with moments alone, and with features."""
    data, theirs, words = shared_data / "cxr", tmp_path / "theirs", tmp_path / "words"
    lines = [json.loads(line) for line in (data / "pairs.jsonl").read_text(encoding="utf-8").splitlines()]
    known = SplitIds(load_dataset(str(data)), "test", ())
    ids = [id for id in known if id in known.stand_for_studies][:16]
    theirs.mkdir()
    words.mkdir()
    train = [line for line in lines if line["split"] == "train"]
    for id, line in zip(ids, train, strict=False):
        shutil.copy(data / line["image"], theirs / f"{id}.jpg")
    reports = [{key: line[key] for key in line if key != "image"} for line in lines if line["split"] == "test"]
    (words / "reports.jsonl").write_text("".join(json.dumps(line) + "\n" for line in reports), encoding="utf-8")
    small = ("--limit", 16, "--resolution", 64)
    for file, more in (("moments.npz", ()), ("features.npz", ("--with-features",))):
        result = call("data", "reference", data, "--out", tmp_path / file, *small, *more)
        assert result.exit_code == 0, result.output
        assert "of 16 images, 1280 features" in result.stdout
    task = ("score", "image-generation", "--predictions", theirs, *small, "--cache", "none")
    refused = call(*task, "--data", words, "--out", tmp_path / "refused")
    assert "holds reports alone: an image is needed of every case, or --reference FILE" in refused.output
    other = call(
        *task, "--data", words, "--out", tmp_path / "refused", "--resolution", 32, "--reference", tmp_path / "moments.npz"
    )
    assert "of images of 64 px, not 32: --resolution 64" in other.output
    for name, more in (
        ("whole", ("--data", data)),
        ("moments", ("--data", words, "--reference", tmp_path / "moments.npz")),
        ("features", ("--data", words, "--reference", tmp_path / "features.npz")),
    ):
        result = call(*task, *more, "--out", tmp_path / name)
        assert result.exit_code == 0, result.output
    whole, moments, features = (measured(tmp_path / name) for name in ("whole", "moments", "features"))
    ends = {name: (one.value, one.ci_low, one.ci_high) for name, one in whole.items()}
    assert {name: (one.value, one.ci_low, one.ci_high) for name, one in features.items()} == ends
    assert moments[FRECHET].value == pytest.approx(whole[FRECHET].value, rel=1e-9)
    assert moments[KID].value is None
    assert "needs the features of the reference images" in moments[KID].reason
    assert moments[FRECHET].signature["reference"].startswith("statistics ")
    manifest = json.loads((tmp_path / "moments" / "manifest.json").read_text())
    assert "CC BY-NC-SA 4.0" in manifest["terms"]
    assert {one.kind for one in read_records(tmp_path / "moments/records.jsonl")} == {"measured"}
