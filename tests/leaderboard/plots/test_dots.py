import io
from dataclasses import replace

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from leaderboard.plots.dots import table_plots
from leaderboard.plots.style import MODEL_COLOURS, slug
from leaderboard.record import Record
from leaderboard.store import collect
from leaderboard.tables.boards import boards


@pytest.fixture
def board(make_run):
    collection = collect([make_run(tasks=("joint-generation",), samples=0)])
    return boards(collection.records, {"aaaa1111bbbb2222": "f"})[0]


def test_metrics_and_breakdowns_are_drawn_without_a_trace(board):
    before = dict(matplotlib.rcParams)
    plots = table_plots(board, board.tables[0], "p")
    assert [(plot.name, plot.group) for plot in plots] == [("p-metrics", None), ("p-prevalence", "prevalence")]
    assert dict(matplotlib.rcParams) == before
    assert plt.get_fignums() == []
    for plot in plots:
        pixels = np.asarray(Image.open(io.BytesIO(plot.png)).convert("RGB")).reshape(-1, 3)
        assert len(pixels) > 200 * 200
        blue = tuple(int(MODEL_COLOURS[0][i : i + 2], 16) for i in (1, 3, 5))
        assert (pixels == blue).all(axis=1).sum() > 20, "the model's marker is not there"
    assert "joint agreement: phantom-tiny 0.850" in plots[0].alt
    assert "; phantom-tiny from 0." in plots[1].alt


def test_anchors_that_are_no_target_alone_have_no_breakdown(board):
    table = board.tables[0]
    rows = [replace(row, kind="anchor") for row in table.rows if row.first.model not in ("real", "reconstruction")]
    table = replace(table, rows=rows)
    assert table.rows
    assert not [plot for plot in table_plots(board, table, "p") if plot.group]


def test_a_mark_without_an_interval_or_another_beside_it_has_no_panel(board):
    table = board.tables[0]
    row = next(row for row in table.rows if row.kind == "measured")
    bare = {name: cell.model_copy(update={"ci_low": None, "ci_high": None}) for name, cell in row.cells.items()}
    assert [plot.name for plot in table_plots(board, replace(table, rows=[row]), "p") if plot.group is None] == ["p-metrics"]
    assert all(plot.group for plot in table_plots(board, replace(table, rows=[replace(row, cells=bare)]), "p"))


def test_a_breakdown_is_named_by_what_its_items_are_and_leaves_room_for_the_legend(make_record):
    items = [f"macro finding F1: domain {number}" for number in (1, 2, 3, 4)]
    records = [Record(**make_record(metric=metric, signature={"metric": metric})) for metric in items]
    records += [record.model_copy(update={"model": "other", "run": "b"}) for record in records]

    def breakdowns(records):
        (board,) = boards(records, {record.run: "f" for record in records})
        return [plot for plot in table_plots(board, board.tables[0], "p") if plot.group]

    (plot,) = breakdowns(records)
    assert plot.title.startswith("Macro finding F1 by domain: report generation on ")
    assert plot.alt.startswith("Dot plot of macro finding F1 by domain;")
    assert breakdowns(records[:4]) == []  # of one row alone
    names = [f"{number} of a long name" * 2 for number in range(4)]
    more = [record.model_copy(update={"model": name, "run": name}) for name in names for record in records[:4]]
    (longer,) = breakdowns([*records, *more])
    heights = [Image.open(io.BytesIO(one.png)).height for one in (plot, longer)]
    assert heights[1] - heights[0] > 2 * 20  # the legend's lines are not taken from the items


def test_gains_by_metric_are_left_to_the_table(make_record):
    gains = [f"gain over real-repeated: BLEU-{number}" for number in (1, 2, 3, 4)]
    records = [Record(**make_record(metric=metric, run=run, model=run)) for metric in gains for run in "ab"]
    (board,) = boards(records, {"a": "f", "b": "f"})
    assert [plot for plot in table_plots(board, board.tables[0], "p") if plot.group] == []


def test_changes_of_an_ablation_are_left_to_its_tornado(make_record):
    metrics = ["nats per pair (joint)", "change of nats per pair (joint)"]
    ends = {"value": 2.0, "ci_low": 1.0, "ci_high": 3.0}
    records = [Record(**make_record(metric=metric, signature={"metric": metric}, **ends)) for metric in metrics]
    (board,) = boards(records, {"aaaa1111bbbb2222": "f"})
    (plot,) = table_plots(board, board.tables[0], "p")
    assert "nats per pair" in plot.alt
    assert "change of" not in plot.alt


def test_slug():
    assert slug("Finding F1: left/right ") == "finding-f1-left-right"
