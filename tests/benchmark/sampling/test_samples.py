"""`medim-bench sample edit` on the shipped model, and what its checkers may steer."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from benchmark.cli import main
from benchmark.sampling.sheets import EditRow, marked, write_edit_sheet
from benchmark.systems import open_model, open_pipeline
from medim.common.errors import UserError
from medim.data.loading import load_dataset

QUICK = ("--set", "sampling.image.steps=2", "--set", "sampling.report.steps=3", "--model", "phantom-tiny", "--device", "cpu")


def edit(out, *arguments):
    return CliRunner().invoke(main, ["sample", "edit", *map(str, QUICK), "--out", str(out), *map(str, arguments)])


def lines_of(out):
    return [json.loads(line) for line in (out / "samples.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def phantom():
    return load_dataset("phantom")


@pytest.fixture
def picture(tmp_path, phantom):
    path = tmp_path / "chest.png"
    phantom.pair("val", 0).image.save(path)
    return path


def test_a_finding_is_added_to_pairs_of_a_data_set(tmp_path, phantom):
    arguments = ("--data", "phantom", "--add", "pacemaker", "--n", 3)
    result = edit(tmp_path / "e", *arguments)
    assert result.exit_code == 0, result.output
    assert "3 edits" in result.stdout
    lines, read = lines_of(tmp_path / "e"), phantom.report_checker()
    assert len(lines) == 3
    for line in lines:
        details = line["details"]
        assert "pacemaker" not in read([details["report_before"]])[0]
        assert read([line["report"]])[0] == read([details["report_before"]])[0] | {"pacemaker"}
        assert (details["finding"], details["change"], details["grid"]) == ("pacemaker", "added", 8)
        assert 1 <= len(details["redrawn"]) < 64
        assert line["cost"]["forwards"] == 8 + 2  # looking for the region is part of what an edit costs
        for name in (line["image"], details["image_before"]):
            assert Image.open(tmp_path / "e" / name).size == (64, 64)
    assert len({line["seed"] for line in lines}) == 3
    before = (tmp_path / "e/generated.jsonl").read_bytes()
    (tmp_path / "e/generated.jsonl").write_bytes(before[: before.rfind(b"\n", 0, -1) + 20])  # killed while writing the last
    assert edit(tmp_path / "e", *arguments).exit_code == 0
    again = lines_of(tmp_path / "e")
    assert [line["report"] for line in again] == [line["report"] for line in lines]
    assert [line["details"] for line in again] == [line["details"] for line in lines]
    refused = edit(tmp_path / "e", "--data", "phantom", "--new-report", "chest x-ray.", "--n", 3)
    assert refused.exit_code == 2
    assert "another" in refused.stderr or "was made" in refused.stderr or "and now" in refused.stderr


def test_removal_takes_those_that_have_the_finding(tmp_path, phantom):
    result = edit(tmp_path / "e", "--data", "phantom", "--remove", "glands", "--n", 2, "--split", "val")
    assert result.exit_code == 0, result.output
    for line in lines_of(tmp_path / "e"):
        assert "glands" in phantom.report_checker()([line["details"]["report_before"]])[0]
        assert "glands" not in phantom.report_checker()([line["report"]])[0]


def test_a_box_and_a_mask_are_the_same_region(tmp_path, picture):
    mask = np.zeros((64, 64), np.uint8)
    mask[32:, :32] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    common = ("--image", picture, "--report", "chest x-ray. pacemaker in place.")
    assert edit(tmp_path / "box", *common, "--box", "0,32,32,64", "--n", 2).exit_code == 0
    assert edit(tmp_path / "mask", *common, "--mask", tmp_path / "mask.png", "--n", 2).exit_code == 0
    for line, other in zip(lines_of(tmp_path / "box"), lines_of(tmp_path / "mask"), strict=True):
        assert line["details"]["redrawn"] == other["details"]["redrawn"] == [8 * r + c for r in range(4, 8) for c in range(4)]
        assert (tmp_path / "box" / line["image"]).read_bytes() == (tmp_path / "mask" / other["image"]).read_bytes()
        assert line["report"] == "chest x-ray. pacemaker in place."
    first, second = lines_of(tmp_path / "box")
    assert (tmp_path / "box" / first["image"]).read_bytes() != (tmp_path / "box" / second["image"]).read_bytes()


def test_a_gap_is_written_and_the_image_stays(tmp_path, picture):
    report = "portable chest radiograph. [[5]] no pleural effusion."
    result = edit(tmp_path / "e", "--image", picture, "--report", report)
    assert result.exit_code == 0, result.output
    (line,) = lines_of(tmp_path / "e")
    assert line["report"].startswith("portable chest radiograph.")
    assert line["report"].endswith("no pleural effusion.")
    assert "[[" not in line["report"]
    assert line["details"]["redrawn"] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--data", "phantom"), "needs something to change"),
        (("--image", "x.png", "--report", "chest."), "needs something to change"),
        (("--image", "x.png", "--add", "nodule"), "--image and --report go together"),
        ((), "takes --image FILE with --report TEXT, or --data D"),
        (("--data", "phantom", "--add", "glands", "--remove", "glands"), "one of --new-report, --add and --remove"),
        (("--data", "phantom", "--box", "1,2,3"), "--box takes x0,y0,x1,y1"),
        (("--data", "phantom", "--box", "9,2,3,4"), "x0 < x1"),
        (("--data", "phantom", "--box", "0,0,4,4", "--mask", "m.png"), "--box or --mask"),
        (("--data", "phantom", "--add", "gland"), "did you mean 'glands'"),
        (("--image", "nowhere.png", "--report", "chest.", "--new-report", "chest x-ray."), "nowhere.png"),
    ],
)
def test_edit_says_what_it_needs(tmp_path, arguments, message):
    result = edit(tmp_path / "e", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("\n") <= 2


def test_the_sheet_shows_the_region(tmp_path):
    image = Image.new("RGB", (16, 16), (200, 200, 200))
    redrawn = np.zeros((4, 4), bool)
    redrawn[1:3, 1] = True
    shown = np.asarray(marked(image, redrawn)).astype(int)
    assert tuple(shown[60, 72]) == (200, 200, 200)  # inside the region as it was
    assert tuple(shown[10, 10]) == (80, 80, 80)  # dimmed
    assert tuple(shown[48, 60]) == (255, 120, 0)  # its upper edge
    assert tuple(shown[96, 60]) == (200, 200, 200)  # no line between two tokens of the region
    write_edit_sheet(tmp_path / "s.png", [EditRow(image, image, redrawn, "head", ("before.", "after."))] * 3)
    with Image.open(tmp_path / "s.png") as sheet:
        assert sheet.height > 3 * 192


def test_the_checkers_of_the_data_set_steer(phantom):
    asked = {"sampling.steering.candidates": "2", "sampling.steering.budget": "3e12", "sampling.image.steps": "2"}
    model = open_model("phantom-tiny", "cpu", asked, phantom)
    said = model.settings()["steering"]
    steering, scoring = phantom.steering_image_checker(), phantom.image_checker()
    assert said["image_checker"] == f"{steering.name} {steering.fingerprint}"
    assert scoring.fingerprint not in json.dumps(said)
    assert (said["candidates"], said["budget"]) == (2, 3e12)
    model.generate_pairs([""], seeds=[1])
    assert model.spent.candidates == 2
    assert "image_checker" not in open_model("phantom-tiny", "cpu", {}, phantom).settings()["steering"]


def test_what_does_not_steer_is_told():
    asked = {"sampling.steering.repairs": "1"}
    with pytest.raises(UserError, match="needs --data: a set whose checkers steer"):
        open_pipeline("phantom-tiny", "cpu", asked)
    plain = SimpleNamespace(name="plain", report_checker=lambda: None)
    with pytest.raises(UserError, match="data set 'plain' has no checkers that steer"):
        open_pipeline("phantom-tiny", "cpu", asked, plain)


def test_steered_pairs_from_the_command_line(tmp_path):
    steered = ("--set", "sampling.steering.candidates=2", "--n", "2", "--out", str(tmp_path / "p"))
    result = CliRunner().invoke(main, ["sample", "pair", *QUICK, *steered])
    assert result.exit_code == 2
    assert "needs --data" in result.stderr
    result = CliRunner().invoke(main, ["sample", "pair", *QUICK, *steered, "--data", "phantom"])
    assert result.exit_code == 0, result.output
    plain = CliRunner().invoke(main, ["sample", "pair", *QUICK, "--n", "2", "--out", str(tmp_path / "q")])
    assert plain.exit_code == 0
    assert all(
        line["cost"]["forwards"] == 2 * other["cost"]["forwards"]
        for line, other in zip(lines_of(tmp_path / "p"), lines_of(tmp_path / "q"), strict=True)
    )
