"""Run folders in; tables, plots and one self-contained page out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from leaderboard.plots.curves import EVERY, Lengths, curve_plots, length_plot
from leaderboard.plots.dots import table_plots
from leaderboard.plots.style import Plot, slug
from leaderboard.reported import reported_records, reported_tables
from leaderboard.site.gallery import Gallery, galleries
from leaderboard.site.page import TableView, render
from leaderboard.store import Collection, Run, Sample, collect, read_samples, systems_of
from leaderboard.tables.boards import Board, Table, boards
from leaderboard.tables.formats import long_csv, markdown, wide_csv
from leaderboard.tables.pairwise import NOTHING, Comparisons
from medim.common.errors import UserError
from medim.common.files import file_name, read_text, write_bytes, write_text
from medim.common.locks import held

SAMPLES_PER_MODEL, SAMPLES_PER_ANCHOR = 24, 6  # most that are shown per task
LISTING = "files.txt"  # beside the plots: the names that the build wrote, so that the next one removes no other
PAGE_BYTES = 25_000_000
PICTURE_BYTES = 10_000_000  # of the page, for samples; the rest is tables, plots and texts


@dataclass(frozen=True)
class BuildResult:
    """What a build wrote: `paths` by role, records (the reported ones included), and the boards that the page ranks."""

    paths: dict[str, Path]
    n_records: int
    boards: list[Board]


def build(runs: Sequence[str | Path], out: str | Path, comparisons: Comparisons = NOTHING) -> BuildResult:
    """Builds the leaderboard of some run folders.

    Everything is computed before the first file is written, and each file replaces its predecessor in one step, the page last:
    a build that fails leaves the old page and tables as they were.

    Args:
        runs: run folders, each with `manifest.json`, `records.jsonl` and `samples/`.
        out: where the tables, `plots/` and `index.html` go. Plots of an earlier build that this one has not are removed, as
            `plots/files.txt` lists them; nothing else is.
        comparisons: of pairs of systems of these runs; where there are none, intervals say what can be told apart.

    Raises UserError: no runs, a run folder that cannot be read, records that conflict, or `out` held by another process.
    """
    if not runs:
        raise UserError("no run folders given: nothing to build")
    collection = collect(runs)
    with held(Path(out)):
        return _build(collection, Path(out), comparisons)


def check_size(runs: Sequence[str | Path]) -> None:
    """Renders the tables of a page alone, before anything is compared or drawn.
    Raises UserError: they are more than a page may hold, or the runs cannot be read."""
    collection = collect(runs)
    ranked = boards(collection.records, collection.fingerprints, NOTHING, collection.cards)
    views = [(board, [TableView(table, [], []) for table in board.tables]) for board in ranked]
    _check_page(render(views, reported_records(), collection.runs))


def _check_page(page: str) -> None:
    if (size := len(page.encode())) > PAGE_BYTES:
        raise UserError(f"the page would take {size:,} bytes (limit {PAGE_BYTES:,}): build it of fewer runs")


def _build(collection: Collection, out: Path, comparisons: Comparisons) -> BuildResult:
    reported = reported_records()
    every = [*collection.records, *reported]
    ranked = boards(collection.records, collection.fingerprints, comparisons, collection.cards)
    shown = galleries(list(collection.runs.values()), SAMPLES_PER_MODEL, SAMPLES_PER_ANCHOR, PICTURE_BYTES)
    views = [(board, _views(board, collection.runs, shown)) for board in ranked]
    plots = [plot for _, tables in views for view in tables for plot in view.plots]
    page = render(views, reported, collection.runs)
    _check_page(page)
    texts = {
        "csv": ("leaderboard.csv", long_csv(every)),
        "wide": ("leaderboard_wide.csv", wide_csv(every)),
        "results": ("results.jsonl", "".join(record.to_line() + "\n" for record in every)),
        "comparisons": ("comparisons.jsonl", "".join(pair.to_line() + "\n" for pair in comparisons.pairs)),
        "seeds": ("seeds.jsonl", "".join(entry.to_line() + "\n" for entry in comparisons.seeds)),
        "markdown": ("leaderboard.md", markdown(ranked, reported_tables(reported, []))),
        "page": ("index.html", page),
    }
    paths = _write_plots(plots, out / "plots")
    for role, (name, text) in texts.items():
        paths[role] = out / name
        write_text(paths[role], text)
    return BuildResult(paths, len(every), ranked)


def _write_plots(plots: Sequence[Plot], folder: Path) -> dict[str, Path]:
    """Writes the plots and their tables, by role, and removes those that an earlier build wrote and this one did not."""
    files = {f"plot {plot.name}": (f"{plot.name}.png", plot.png) for plot in plots}
    files |= {f"table {plot.name}": (f"{plot.name}.csv", plot.csv.encode()) for plot in plots if plot.csv is not None}
    names = {name for name, _ in files.values()}
    listing = folder / LISTING
    before = set(read_text(listing).splitlines()) if listing.exists() else set()
    write_text(listing, "".join(f"{name}\n" for name in sorted(names | before)))  # a build that is interrupted forgets none
    for name, content in files.values():
        write_bytes(folder / name, content)
    for name in before - names:
        if Path(name).name == name and (folder / name).is_file():
            (folder / name).unlink()
    write_text(listing, "".join(f"{name}\n" for name in sorted(names)))
    return {role: folder / name for role, (name, _) in files.items()} | {"listing": listing}


def _views(board: Board, runs: dict[str, Run], shown: Sequence[Gallery]) -> list[TableView]:
    """The tables of a board with their plots and samples."""
    views = []
    name = f"{board.dataset} {board.split} {board.protocol} {board.fingerprint[:6]}"
    curves = curve_plots(board, name)
    for table in board.tables:
        prefix = slug(f"{name} {table.task}")
        plots = table_plots(board, table, prefix) + [plot for task, plot in curves if task == table.task]
        title = f"Length calibration: {table.task.replace('-', ' ')} on {board.dataset} ({board.split})"
        plots += filter(None, [_lengths(table, runs, title, f"{prefix}-length-calibration")])
        views.append(TableView(table, plots, [gallery for gallery in shown if gallery.task == table.task]))
    return views


def _lengths(table: Table, runs: dict[str, Run], title: str, name: str) -> Plot | None:
    """Lengths of generated reports against those of the references, where a task generates reports."""
    found: dict[str, Lengths] = {}
    models = {row.label: row for row in table.rows if row.kind == "measured"}
    for label, row in models.items() if "report" in table.card.needs else ():
        run = runs[row.first.run]
        samples = _with_report(run, table.task, file_name(row.first.model))
        groups = {EVERY: list(samples)}
        for sample in samples:
            if sample.domain and sample.reference_report is not None:
                groups.setdefault(sample.domain, []).append(sample)
        generated = {group: [_words(sample.report) for sample in members] for group, members in groups.items()}
        references = {
            group: [_words(sample.reference_report) for sample in members if sample.reference_report is not None]
            for group, members in groups.items()
        }
        if not references[EVERY]:  # samples that answer no case are held against all references
            references[EVERY] = [_words(sample.report) for sample in _with_report(run, table.task, "real")]
        found[label] = Lengths(generated, references)
    return length_plot(title, found, list(models), name)


def _with_report(run: Run, task: str, system: str) -> list[Sample]:
    """The samples of a system that have a report; none where the run has no samples of it."""
    samples = read_samples(run, task, system) if (task, system) in systems_of(run) else []
    return [sample for sample in samples if sample.report is not None]


def _words(report: str | None) -> int:
    return len((report or "").split())
