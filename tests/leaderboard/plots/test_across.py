import matplotlib.axes
import pytest

from leaderboard.plots.across import across_plots
from leaderboard.plots.metrics import MODEL_COLOURS, MODEL_MARKERS
from leaderboard.record import Record
from leaderboard.tables.compare import boards


@pytest.fixture
def plots(make_record):
    """The pictures of some records, given as (task, model, metric, value, more fields), by the last word of their names."""

    def make(*entries):
        records = []
        for task, model, metric, value, *more in entries:
            fields = more[0] if more else {}
            records.append(Record(**make_record(task=task, model=model, metric=metric, value=value, **fields)))
        (board,) = boards(records, {record.run: "f" for record in records})
        return {plot.name.rpartition("-")[2]: (task, plot) for task, plot in across_plots(board, "b")}

    return make


def column(metric, values, better=True):
    fields = {"higher_is_better": better}
    return [("report-generation", f"m{i}", metric, value, fields) for i, value in enumerate(values)]


def test_agreement_turns_metrics_so_that_high_is_good(plots):
    rising = [0.1, 0.2, 0.3, 0.4]
    made = plots(*column("BLEU-4", rising), *column("error", rising[::-1], better=False), *column("F1", [0.4, 0.3, 0.2, 0.1]))
    task, plot = made["agreement"]
    assert task == "report-generation"
    assert "most: error and BLEU-4 (1.00)" in plot.alt or "most: BLEU-4 and error (1.00)" in plot.alt
    assert "(-1.00)" in plot.alt
    assert plot.png.startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "entries",
    [
        [*column("a", [1.0, 2.0, 3.0]), *column("b", [1.0, 2.0, 3.0]), *column("c", [1.0, 2.0, 3.0])],
        [*column("a", [1.0, 2.0, 3.0, 4.0]), *column("b", [1.0, 2.0, 3.0, 4.0])],
        [*column("a", [1.0] * 4), *column("b", [1.0, 2.0, 3.0, 4.0]), *column("c", [1.0, 2.0, 3.0, 4.0])],
    ],
    ids=["three systems", "two metrics", "a constant metric"],
)
def test_too_few_for_a_rank_correlation(plots, entries):
    assert plots(*entries) == {}


def test_tornado_has_the_largest_change_on_top_with_its_verdict(plots):
    metric = "change of nats per pair (joint)"

    def change(value, verdict):
        return value, {
            "ci_low": value - 1.0, "ci_high": value + 1.0, "higher_is_better": False,
            "signature": {"metric": metric, "base": "full", "verdict": verdict},
        }  # fmt: skip

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
        "no-pretrained (against full, run aaaaaaaa)", "shift (against full, run aaaaaaaa)",
        "no-pretrained (against full, run bbbbbbbb)",
    ]  # fmt: skip
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
    plots(*augmented("a" * 16, 0.9, baseline=0.5), *augmented("b" * 16, 0.1, baseline=0.5))
    assert [list(line.get_ydata()) for line in drawn["lines"].values()] == [[0.5, 0.9], [0.5, 0.1]]


def test_utility_draws_more_kinds_than_there_are_colours(plots, drawn):
    plots(*(entry for i, run in enumerate("abcdefgh") for entry in augmented(16 * run, 0.1 * i, 0.5 + 0.01 * i)))
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
    assert "utility" not in plots((name, "m: real+synthetic 25 %", metric, 0.5))


def test_fidelity_needs_memorisation_and_coverage_of_the_same_run(plots):
    entries = [
        ("memorisation", "m", "flagged images", 0.02), ("joint-generation", "m", "image precision (x)", 0.8),
        ("joint-generation", "m", "image coverage (x)", 0.6),
    ]  # fmt: skip
    task, plot = plots(*entries)["fidelity"]
    assert task == "memorisation"
    assert "m: 0.020, 0.800, 0.600" in plot.alt
    assert plots(*entries[1:]) == {}
    assert plots(*entries[:2]) == {}
