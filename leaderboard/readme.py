"""The tables and the picture that a README shows: built from a store of runs."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from leaderboard.plots.dots import table_plots
from leaderboard.plots.style import Plot
from leaderboard.store import collect
from leaderboard.tables.boards import Board, Table, boards
from leaderboard.tables.formats import table_markdown
from leaderboard.tables.pairwise import NOTHING, Comparisons
from medim.common.errors import UserError
from medim.common.files import read_text, write_bytes, write_text

BEGIN = "<!-- leaderboard: begin (made by `medim-bench leaderboard show --into`; do not edit) -->"
END = "<!-- leaderboard: end -->"
PROTOCOL = "strict-v1"
MOST = 5  # columns of a table


def rewrite(file: str | Path, runs: Sequence[str | Path], picture: str | Path, comparisons: Comparisons = NOTHING) -> None:
    """Replaces what stands between the marks `BEGIN` and `END` of a Markdown file by the tables and one picture of some runs.
    The picture (PNG) is linked relative to the file. Raises UserError where there are no marks, or nothing to show."""
    file, picture = Path(file), Path(picture)
    before, found, rest = read_text(file).partition(BEGIN)
    _, closed, after = rest.partition(END)
    if not found or not closed:
        raise UserError(f"{file}: the block to rewrite begins with the line {BEGIN} and ends with the line {END}")
    found_runs = collect(runs)
    every = boards(found_runs.records, found_runs.fingerprints, comparisons, found_runs.cards)
    ranked = [board for board in map(_reduced, every) if board.protocol == PROTOCOL and board.tables]
    if not ranked:
        raise UserError(f"nothing to show in {file}: these runs have no headline metric by {PROTOCOL}")
    plot = _picture(ranked)
    write_bytes(picture, plot.png)
    link = Path(os.path.relpath(picture.resolve(), file.resolve().parent)).as_posix()
    write_text(file, f"{before}{BEGIN}\n\n{_tables(ranked)}\n![{plot.alt}]({link})\n\n*{plot.title}.*\n\n{END}{after}")


def _reduced(board: Board) -> Board:
    """A board with the headline metrics alone."""
    tables = []
    for table in board.tables:
        valued = {metric for row in table.rows for metric, record in row.cells.items() if record.value is not None}
        metrics = [metric for metric in table.card.headline_metrics if metric in valued][:MOST]
        if metrics:
            rows = [row for row in table.rows if any(metric in row.cells for metric in metrics)]
            tables.append(replace(table, metrics=metrics, details=[], rows=rows))
    return replace(board, tables=tables)


def _picture(ranked: Sequence[Board]) -> Plot:
    """The intervals of the table with the most models."""

    def models(entry: tuple[Board, Table]) -> int:
        return sum(row.kind == "measured" for row in entry[1].rows)

    board, table = max(((board, table) for board in ranked for table in board.tables), key=models)
    return table_plots(board, table, "readme")[0]


def _tables(ranked: Sequence[Board]) -> str:
    parts = []
    for board in ranked:
        for table in board.tables:
            synthetic = " (synthetic: no patient stands behind these data)" if board.synthetic else ""
            parts.append(f"**{table.task.replace('-', ' ').capitalize()} on {board.dataset}, {board.split}**{synthetic}\n")
            parts.append(table_markdown(table))
    return "\n".join(parts)
