"""Length calibration: quantiles against quantiles."""

import io
import json

import numpy as np
import pandas as pd

from leaderboard.build import build
from leaderboard.plots.length import EVERY, FEWEST, Lengths, calibration, calibration_plot


def lengths(factor: int = 1) -> Lengths:
    reference = {"chest": list(range(1, 101)), "tissue": list(range(101, 201))}
    reference[EVERY] = reference["chest"] + reference["tissue"]
    return Lengths({domain: [factor * words for words in own] for domain, own in reference.items()}, reference)


def test_equal_laws_lie_on_the_diagonal_and_longer_reports_above_it():
    same, double = calibration({"same": lengths()}), calibration({"double": lengths(2)})
    assert (same["reference words"] == same["generated words"]).all()
    assert np.allclose(2 * double["reference words"], double["generated words"])
    chest = same[(same["domain"] == "chest") & (same["quantile"] == 0.5)].iloc[0]
    assert (chest["reference words"], chest["reports"], chest["references"]) == (50.5, 100, 100)
    assert len(same) == 3 * 19


def test_domains_of_few_reports_are_left_out():
    few = Lengths({EVERY: [5] * 60, "rare": [5] * (FEWEST - 1)}, {EVERY: [5] * 60, "rare": [5] * 60})
    assert set(calibration({"m": few})["domain"]) == {EVERY}
    assert calibration_plot("t", {"m": Lengths({EVERY: [5]}, {EVERY: [5]})}, ["m"], "n") is None


def test_the_figure_brings_its_numbers_and_tells_the_medians():
    plot = calibration_plot("Length calibration", {"a": lengths(), "b": lengths(2)}, ["a", "b"], "n")
    assert plot.png.startswith(b"\x89PNG")
    table = pd.read_csv(io.StringIO(plot.csv))
    assert list(table["model"].unique()) == ["a", "b"]
    assert "a 100.5 words (references 100.5), b 201 words (references 100.5)" in plot.alt


def test_a_build_writes_figure_and_table(run_writer, tmp_path):
    run = run_writer(tmp_path / "run", tasks=("report-generation", "joint-generation"), samples=48)
    for path in run.glob("samples/report-generation/phantom-tiny/samples.jsonl"):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        for number, line in enumerate(lines):
            line["report"] = "word " * (number + 1)
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = build([run], tmp_path / "board", reported=[])
    tables = {role: path for role, path in result.paths.items() if role.startswith("table ")}
    assert len(tables) == 2  # one for each task
    by_task = {("joint" if "joint" in role else "report"): pd.read_csv(path) for role, path in tables.items()}
    assert set(by_task["report"]["domain"]) == {EVERY, "chest-xray", "pathology"}
    assert set(by_task["joint"]["domain"]) == {EVERY}  # its samples answer no case
    own = by_task["report"]
    middle = own[(own["domain"] == "chest-xray") & (own["quantile"] == 0.5)].iloc[0]
    assert (middle["generated words"], middle["reference words"]) == (12.5, 5)
    for path in tables.values():
        assert path.with_suffix(".png").is_file()
