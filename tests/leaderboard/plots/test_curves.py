import io
import json

import matplotlib.axes
import numpy as np
import pandas as pd
import pytest

from leaderboard.build import build
from leaderboard.plots.curves import EVERY, FEWEST, Lengths, curve_plots, length_plot, length_quantiles
from leaderboard.plots.style import MODEL_COLOURS, MODEL_MARKERS
from leaderboard.record import Record
from leaderboard.tables.boards import boards


@pytest.fixture
def plots(make_record):
    """The pictures of some records, given as (task, model, metric, value, more fields), by the last word of their names."""

    def make(*entries):
        records = []
        for task, model, metric, value, *more in entries:
            fields = more[0] if more else {}
            records.append(Record(**make_record(task=task, model=model, metric=metric, value=value, **fields)))
        (board,) = boards(records, {record.run: "f" for record in records})
        return {plot.name.rpartition("-")[2]: (task, plot) for task, plot in curve_plots(board, "b")}

    return make


def test_tornado_has_the_largest_change_on_top_with_its_verdict(plots):
    metric = "change of nats per pair (joint)"

    def change(value, verdict):
        return value, {
            "ci_low": value - 1.0,
            "ci_high": value + 1.0,
            "higher_is_better": False,
            "signature": {"metric": metric, "base": "full", "verdict": verdict},
        }

    task, plot = plots(
        ("ablation", "shift", metric, *change(0.5, "not resolved")), ("ablation", "dit", metric, *change(9.0, "worse"))
    )["tornado"]
    assert task == "ablation"
    assert plot.alt.startswith("Tornado plot. dit (against full): 9.00, worse; shift (against full): 0.50, not resolved")


@pytest.fixture
def drawn(monkeypatch):
    """What the figures hold once they are drawn: bars as (height, width), interval heights, lines by label."""
    seen = {}
    save = matplotlib.figure.Figure.savefig

    def saved(figure, *args, **kwargs):
        (axes,) = figure.axes
        seen["bars"] = sorted((round(bar.get_y() + bar.get_height() / 2), bar.get_width()) for bar in axes.patches)
        seen["intervals"] = [
            segment[0] for one in axes.collections if hasattr(one, "get_segments") for segment in one.get_segments()
        ]
        seen["names"] = [label.get_text() for label in axes.get_yticklabels()]
        seen["lines"] = {line.get_label(): line for line in axes.lines}
        return save(figure, *args, **kwargs)

    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", saved)
    return seen


def test_tornado_keeps_the_arms_of_two_ablations_apart(plots, drawn):
    metric = "change of nats per pair (joint)"

    def arm(name, value, run):
        signature = {"metric": metric, "base": "full", "verdict": "worse", "run": run}
        ends = {"ci_low": value - 1.0, "ci_high": value + 1.0}
        return ("ablation", name, metric, value, {"run": run, "higher_is_better": False, "signature": signature, **ends})

    first, second = "a" * 16, "b" * 16
    entries = [arm("shift", 2.0, first), arm("no-pretrained", 35.6, first), arm("no-pretrained", 17.2, second)]
    _, plot = plots(*entries)["tornado"]
    assert drawn["names"] == [
        "no-pretrained (against full, run aaaaaaaa)",
        "shift (against full, run aaaaaaaa)",
        "no-pretrained (against full, run bbbbbbbb)",
    ]
    assert [(height, width) for height, width in drawn["bars"] if width] == [(0, 35.6), (1, 2.0), (2, 17.2)]
    assert [(height, low) for low, height in drawn["intervals"]] == [(0, 34.6), (1, 1.0), (2, pytest.approx(16.2))]
    assert "no-pretrained (against full, run bbbbbbbb): 17.20, worse" in plot.alt


def augmented(run, *values, baseline=None):
    """A run of the augmentation task: shares 25, 50, ... of one generator, whose folder is called `model`."""
    name, metric = "augmentation (external-prior)", "macro finding F1"
    levels = [(name, f"model: real+synthetic {25 * (i + 1)} %", metric, value, {"run": run}) for i, value in enumerate(values)]
    return levels if baseline is None else [(name, "real-repeated", metric, baseline, {"run": run, "kind": "anchor"}), *levels]


def test_utility_keeps_generators_of_one_name_apart(plots, drawn):
    first, second = "a" * 16, "b" * 16
    _, plot = plots(*augmented(first, 0.9, 0.8, baseline=0.5), *augmented(second, 0.1, 0.2, baseline=0.4))["utility"]
    lines = {label: [round(float(y), 3) for y in line.get_ydata()] for label, line in drawn["lines"].items()}
    assert lines == {
        "model: real+synthetic (run aaaaaaaa)": [0.5, 0.9, 0.8],
        "model: real+synthetic (run bbbbbbbb)": [0.4, 0.1, 0.2],
    }
    assert "(run bbbbbbbb) 0 % 0.400" in plot.alt


def test_utility_starts_runs_that_agree_on_nothing_added_from_their_one_row(plots, drawn):
    plots(*augmented("a" * 16, 0.9, 0.8, baseline=0.5), *augmented("b" * 16, 0.1, 0.2, baseline=0.5))
    assert [list(line.get_ydata()) for line in drawn["lines"].values()] == [[0.5, 0.9, 0.8], [0.5, 0.1, 0.2]]


def test_utility_draws_more_kinds_than_there_are_colours(plots, drawn):
    plots(*(entry for i, run in enumerate("abcdefgh") for entry in augmented(16 * run, 0.1 * i, 0.5 + 0.01 * i, 0.5)))
    looks = {(line.get_color(), line.get_marker()) for line in drawn["lines"].values()}
    assert len(drawn["lines"]) == len(looks) == 8
    assert len(MODEL_COLOURS) < len(MODEL_MARKERS)


def test_utility_starts_from_nothing_added(plots):
    name, metric = "augmentation (external-prior)", "macro finding F1"
    entries = [(name, "real-repeated", metric, 0.5)]
    entries += [(name, f"m: real+synthetic {share} %", metric, 0.5 + share / 1000) for share in (25, 100)]
    task, plot = plots(*entries)["utility"]
    assert task == name
    assert "m: real+synthetic 0 % 0.500, m: real+synthetic 25 % 0.525, m: real+synthetic 100 % 0.600" in plot.alt
    assert "utility" not in plots(*entries[:2])  # two points are read from the table


def test_fidelity_needs_memorisation_and_coverage_of_the_same_run(plots):
    entries = [
        ("memorisation", "m", "flagged images", 0.02),
        ("joint-generation", "m", "image precision (x)", 0.8),
        ("joint-generation", "m", "image coverage (x)", 0.6),
    ]
    task, plot = plots(*entries)["fidelity"]
    assert task == "memorisation"
    assert "m: 0.020, 0.800, 0.600" in plot.alt
    assert plots(*entries[1:]) == {}
    assert plots(*entries[:2]) == {}


def lengths(factor: int = 1) -> Lengths:
    reference = {"chest": list(range(1, 101)), "tissue": list(range(101, 201))}
    reference[EVERY] = reference["chest"] + reference["tissue"]
    return Lengths({domain: [factor * words for words in own] for domain, own in reference.items()}, reference)


def test_equal_laws_lie_on_the_diagonal_and_longer_reports_above_it():
    same, double = length_quantiles({"same": lengths()}), length_quantiles({"double": lengths(2)})
    assert (same["reference words"] == same["generated words"]).all()
    assert np.allclose(2 * double["reference words"], double["generated words"])
    chest = same[(same["domain"] == "chest") & (same["quantile"] == 0.5)].iloc[0]
    assert (chest["reference words"], chest["reports"], chest["references"]) == (50.5, 100, 100)
    assert len(same) == 3 * 19


def test_domains_of_few_reports_are_left_out():
    few = Lengths({EVERY: [5] * 60, "rare": [5] * (FEWEST - 1)}, {EVERY: [5] * 60, "rare": [5] * 60})
    assert set(length_quantiles({"m": few})["domain"]) == {EVERY}
    assert length_plot("t", {"m": Lengths({EVERY: [5]}, {EVERY: [5]})}, ["m"], "n") is None


def test_the_figure_brings_its_numbers_and_tells_the_medians():
    plot = length_plot("Length calibration", {"a": lengths(), "b": lengths(2)}, ["a", "b"], "n")
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
    result = build([run], tmp_path / "board")
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
