import pytest

from leaderboard.compare import boards
from leaderboard.plots_across import across_plots
from leaderboard.record import Record


@pytest.fixture
def plots(make_record):
    """The pictures of some records, given as (task, model, metric, value, more fields), by the last word of their names."""

    def make(*entries):
        records = []
        for task, model, metric, value, *more in entries:
            fields = more[0] if more else {}
            records.append(Record(**make_record(task=task, model=model, metric=metric, value=value, **fields)))
        (board,) = boards(records, {"aaaa1111bbbb2222": "f"})
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
