import io
from dataclasses import replace

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from leaderboard.plots.metrics import MODEL_COLOURS, lengths_plot, slug, table_plots
from leaderboard.record import Record
from leaderboard.store import collect
from leaderboard.tables.compare import boards


@pytest.fixture
def board(make_run):
    collection = collect([make_run(tasks=("joint-generation",), samples=0)])
    return boards(collection.records, {"aaaa1111bbbb2222": "f"})[0]


def test_metrics_and_breakdowns_are_drawn_without_a_trace(board):
    before = dict(matplotlib.rcParams)
    plots = table_plots(board, board.tables[0], "p")
    assert [(plot.name, plot.group, plot.folded) for plot in plots] == [
        ("p-metrics", None, False), ("p-prevalence", "prevalence", False),
    ]  # fmt: skip
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


def test_lengths_state_their_medians():
    plot = lengths_plot("Lengths", {"model": [10, 20, 30]}, [7, 7], ["model"], "x")
    assert "model 20 words" in plot.alt
    assert "real 7 words" in plot.alt
    assert Image.open(io.BytesIO(plot.png)).format == "PNG"


def test_lengths_are_in_the_colour_of_the_models_place_in_the_table():
    plot = lengths_plot("Lengths", {"second": [10, 20, 30]}, [7, 7], ["first", "second"], "x")
    pixels = {tuple(pixel) for pixel in np.asarray(Image.open(io.BytesIO(plot.png)).convert("RGB")).reshape(-1, 3).tolist()}
    first, second = (tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5)) for colour in MODEL_COLOURS[:2])
    assert second in pixels
    assert first not in pixels


def test_a_breakdown_is_named_by_what_its_items_are(make_record):
    gains = [f"gain over real-repeated: BLEU-{number}" for number in (1, 2, 3, 4)]
    records = [Record(**make_record(metric=metric, signature={"metric": metric})) for metric in gains]
    (board,) = boards(records, {"aaaa1111bbbb2222": "f"})
    (plot,) = (plot for plot in table_plots(board, board.tables[0], "p") if plot.group)
    assert plot.title.startswith("Gain over real-repeated by metric: ")
    assert plot.alt.startswith("Dot plot of gain over real-repeated by metric;")
    more = [r.model_copy(update={"model": f"{i} of a long name" * 2, "run": f"{i}" * 16}) for i in range(5) for r in records]
    (wider,) = boards([*records, *more], {record.run: "f" for record in [*records, *more]})
    (longer,) = (plot for plot in table_plots(wider, wider.tables[0], "p") if plot.group)
    heights = [Image.open(io.BytesIO(one.png)).height for one in (plot, longer)]
    assert heights[1] - heights[0] > 2 * 20  # the legend's lines are not taken from the items


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
