"""Run folders in; tables, plots and one self-contained page out."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from leaderboard.plots.curves import EVERY, Lengths, curve_plots, length_plot
from leaderboard.plots.dots import table_plots
from leaderboard.plots.style import Plot, slug
from leaderboard.record import Record
from leaderboard.reported import reported_records
from leaderboard.site.gallery import Gallery, galleries
from leaderboard.site.page import TableView, render
from leaderboard.store import Run, Sample, collect, read_samples, systems_of
from leaderboard.tables.boards import Board, Table, boards
from leaderboard.tables.formats import long_csv, markdown, wide_csv
from leaderboard.tables.pairwise import NOTHING, Comparisons
from medim.common.errors import UserError
from medim.common.files import file_name, read_text, write_bytes, write_text

SAMPLES_PER_MODEL = 24
SAMPLES_PER_ANCHOR = 6
LISTING = "files.txt"  # beside the plots: the names that the build wrote, so that the next one removes no other
PAGE_BYTES = 25_000_000
PICTURE_BYTES = 16_000_000  # of the page, for samples; the rest is plots and text


@dataclass(frozen=True)
class BuildResult:
    """What a build wrote.

    Attributes:
        paths: the files, by role: csv, wide, results, markdown, page, listing, one `plot NAME` for each plot and one
            `table NAME` where it has numbers of its own.
        n_records: how many records, the reported ones included.
        boards: what the page ranks, for those who print it elsewhere.
    """

    paths: dict[str, Path]
    n_records: int
    boards: list[Board]


def build(
    runs: Sequence[str | Path],
    out: str | Path,
    samples_per_model: int = SAMPLES_PER_MODEL,
    samples_per_anchor: int = SAMPLES_PER_ANCHOR,
    reported: Sequence[Record] | None = None,
    comparisons: Comparisons = NOTHING,
) -> BuildResult:
    """Builds the leaderboard of some run folders.

    Everything is computed before the first file is written, and each file replaces its predecessor in one step, the page last:
    a build that fails leaves the old page and tables as they were.

    Args:
        runs: run folders, each with `manifest.json`, `records.jsonl` and `samples/`.
        out: where `leaderboard.csv`, `leaderboard_wide.csv`, `results.jsonl`, `comparisons.jsonl`, `seeds.jsonl`,
            `leaderboard.md`, `plots/` and `index.html` go. Plots of an earlier build that this one has not are removed, as
            `plots/files.txt` lists them; nothing else is.
        samples_per_model, samples_per_anchor: most samples shown per task.
        reported: published numbers; by default those of the MeDiM paper.
        comparisons: of pairs of systems of these runs; where there are none, intervals say what can be told apart.

    Raises:
        UserError: no runs, a run folder that cannot be read, or records that conflict.
    """
    if not runs:
        raise UserError("no run folders given: nothing to build")
    out = Path(out)
    reported = reported_records() if reported is None else list(reported)
    collection = collect(runs)
    every = [*collection.records, *reported]
    fingerprints = {name: run.manifest.dataset_fingerprint for name, run in collection.runs.items()}
    ranked = boards(collection.records, fingerprints, comparisons, collection.cards)
    room = _room(ranked, reported, collection.runs)
    views = [(board, _views(board, collection.runs)) for board in ranked]
    room -= sum(len(plot.png) * 4 // 3 for _, tables in views for view in tables for plot in view.plots)
    budget = max(0, min(PICTURE_BYTES, room * 4 // 5))  # the rest is for the texts of the samples
    shown = galleries(list(collection.runs.values()), samples_per_model, samples_per_anchor, budget)
    views = [(board, [_with_samples(view, shown) for view in tables]) for board, tables in views]
    page = render(views, reported, collection.runs)
    if len(page.encode()) > PAGE_BYTES:
        raise _too_large(len(page.encode()))

    plots = [plot for _, tables in views for view in tables for plot in view.plots]
    texts = {
        "csv": ("leaderboard.csv", long_csv(every)),
        "wide": ("leaderboard_wide.csv", wide_csv(every)),
        "results": ("results.jsonl", "".join(record.to_line() + "\n" for record in every)),
        "comparisons": ("comparisons.jsonl", "".join(pair.to_line() + "\n" for pair in comparisons.pairs)),
        "seeds": ("seeds.jsonl", "".join(entry.to_line() + "\n" for entry in comparisons.seeds)),
        "markdown": ("leaderboard.md", markdown(ranked, reported)),
    }
    paths = _write_plots(plots, out / "plots")
    for role, (name, text) in texts.items():
        paths[role] = out / name
        write_text(paths[role], text)
    paths["page"] = out / "index.html"
    write_text(paths["page"], page)
    return BuildResult(paths, len(every), ranked)


def check_size(runs: Sequence[str | Path], reported: Sequence[Record] | None = None) -> None:
    """Looks at the tables that a page of these runs would have, before anything is compared or drawn.

    Raises:
        UserError: they alone are more than a page may hold, or the runs cannot be read.
    """
    collection = collect(runs)
    fingerprints = {name: run.manifest.dataset_fingerprint for name, run in collection.runs.items()}
    reported = reported_records() if reported is None else list(reported)
    _room(boards(collection.records, fingerprints, cards=collection.cards), reported, collection.runs)


def _room(ranked: Sequence[Board], reported: Sequence[Record], runs: Mapping[str, Run]) -> int:
    """Bytes that the tables leave of a page for plots and samples.

    Raises:
        UserError: none.
    """
    tables = [(board, [TableView(table, [], []) for table in board.tables]) for board in ranked]
    size = len(render(tables, reported, runs).encode())
    if size > PAGE_BYTES:
        raise _too_large(size)
    return PAGE_BYTES - size


def _too_large(size: int) -> UserError:
    return UserError(f"the page would take {size:,} bytes (limit {PAGE_BYTES:,}): build it of fewer runs")


def _write_plots(plots: Sequence[Plot], folder: Path) -> dict[str, Path]:
    """Writes the plots and their tables, by role, and removes those that an earlier build wrote and this one did not."""
    files = {f"plot {plot.name}": (f"{plot.name}.png", plot.png) for plot in plots}
    files |= {f"table {plot.name}": (f"{plot.name}.csv", plot.csv.encode()) for plot in plots if plot.csv is not None}
    names = {name for name, _ in files.values()}
    listing = folder / LISTING
    before = set(read_text(listing).splitlines()) if listing.exists() else set()
    write_text(listing, _lines(names | before))  # a build that is interrupted forgets none
    for name, content in files.values():
        write_bytes(folder / name, content)
    for name in before - names:
        if Path(name).name == name and (folder / name).is_file():
            (folder / name).unlink()
    write_text(listing, _lines(names))
    return {role: folder / name for role, (name, _) in files.items()} | {"listing": listing}


def _lines(names: Iterable[str]) -> str:
    return "".join(f"{name}\n" for name in sorted(names))


def _with_samples(view: TableView, shown: Sequence[Gallery]) -> TableView:
    return replace(view, galleries=[gallery for gallery in shown if gallery.task == view.table.task])


def _views(board: Board, runs: Mapping[str, Run]) -> list[TableView]:
    """The tables of a board with their plots, without samples."""
    views = []
    name = f"{board.dataset} {board.split} {board.protocol} {board.fingerprint[:6]}"
    curves = curve_plots(board, name)
    for table in board.tables:
        prefix = slug(f"{name} {table.task}")
        plots = table_plots(board, table, prefix) + [plot for task, plot in curves if task == table.task]
        title = f"Length calibration: {table.task.replace('-', ' ')} on {board.dataset} ({board.split})"
        plots += filter(None, [_lengths(table, runs, title, f"{prefix}-length-calibration")])
        views.append(TableView(table, plots, []))
    return views


def _lengths(table: Table, runs: Mapping[str, Run], title: str, name: str) -> Plot | None:
    """Lengths of generated reports against those of the references, where a task generates reports."""
    found: dict[str, Lengths] = {}
    models = {row.label: row for row in table.rows if row.kind == "measured"}
    for label, row in models.items() if "report" in table.card.needs else ():
        run = runs[row.first.run]
        samples = _with_report(run, table.task, file_name(row.first.model))
        lengths = _by_domain(samples)
        if samples and not lengths.reference:
            lengths = Lengths(lengths.generated, {EVERY: _words(_with_report(run, table.task, "real"))})
        found[label] = lengths
    return length_plot(title, found, list(models), name)


def _with_report(run: Run, task: str, system: str) -> list[Sample]:
    """The samples of a system that have a report; none where the run kept none."""
    kept = (task, system) in systems_of(run)
    return [sample for sample in read_samples(run, task, system) if sample.report is not None] if kept else []


def _words(samples: Iterable[Sample]) -> list[int]:
    return [len((sample.report or "").split()) for sample in samples]


def _by_domain(samples: Sequence[Sample]) -> Lengths:
    """Words of generated reports and of their references, by domain; of samples that answer no case, the generated alone."""
    generated: dict[str, list[int]] = {EVERY: []}
    references: dict[str, list[int]] = {}
    for sample in samples:
        answers = sample.reference_report is not None
        for group in (EVERY, sample.domain) if answers and sample.domain else (EVERY,):
            generated.setdefault(group, []).append(len((sample.report or "").split()))
            if answers:
                references.setdefault(group, []).append(len((sample.reference_report or "").split()))
    return Lengths(generated, references)
