"""Run folders in; tables, plots and one self-contained page out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from leaderboard.compare import Board, boards
from leaderboard.comparison import NOTHING, Comparisons
from leaderboard.errors import LeaderboardError
from leaderboard.files import write_bytes, write_text
from leaderboard.gallery import Gallery, galleries
from leaderboard.length_plot import EVERY, Lengths, calibration_plot
from leaderboard.plots import Plot, lengths_plot, slug, table_plots
from leaderboard.plots_across import across_plots
from leaderboard.record import Record
from leaderboard.reported import reported_records
from leaderboard.site.page import TableView, render
from leaderboard.store import Run, Sample, collect, read_samples, systems_of
from leaderboard.tables import csv_text, long_frame, markdown, wide_frame

SAMPLES_PER_MODEL = 24
SAMPLES_PER_ANCHOR = 6
GENERATES_REPORTS = ("report-generation", "joint-generation", "long-form")
PAGE_BYTES = 25_000_000
PICTURE_BYTES = 16_000_000  # of the page, for samples; the rest is plots and text


@dataclass(frozen=True)
class BuildResult:
    """What a build wrote.

    Attributes:
        paths: the files, by role: csv, wide, results, markdown, page, and one `plot NAME` each.
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
            `leaderboard.md`, `plots/*.png` and `index.html` go.
        samples_per_model, samples_per_anchor: most samples shown per task.
        reported: published numbers; by default those of the MeDiM paper.
        comparisons: of pairs of systems of these runs; where there are none, intervals say what can be told apart.

    Raises:
        LeaderboardError: no runs, a run folder that cannot be read, or records that conflict.
    """
    if not runs:
        raise LeaderboardError("no run folders given: nothing to build")
    out = Path(out)
    reported = reported_records() if reported is None else list(reported)
    collection = collect(runs)
    every = [*collection.records, *reported]
    fingerprints = {name: run.manifest.dataset_fingerprint for name, run in collection.runs.items()}
    ranked = boards(collection.records, fingerprints, comparisons)
    shown = galleries(list(collection.runs.values()), samples_per_model, samples_per_anchor, PICTURE_BYTES)
    views = [(board, _views(board, shown, collection.runs)) for board in ranked]
    page = render(views, reported, collection.runs)
    if len(page.encode()) > PAGE_BYTES:
        raise LeaderboardError(
            f"the page would take {len(page.encode()):,} bytes (limit {PAGE_BYTES:,}): build it of fewer runs"
        )

    plots = [plot for _, tables in views for view in tables for plot in view.plots]
    texts = {
        "csv": ("leaderboard.csv", csv_text(long_frame(every))),
        "wide": ("leaderboard_wide.csv", csv_text(wide_frame(every))),
        "results": ("results.jsonl", "".join(record.to_line() + "\n" for record in every)),
        "comparisons": ("comparisons.jsonl", "".join(pair.to_line() + "\n" for pair in comparisons.pairs)),
        "seeds": ("seeds.jsonl", "".join(entry.to_line() + "\n" for entry in comparisons.seeds)),
        "markdown": ("leaderboard.md", markdown(ranked, reported)),
    }
    paths = {}
    for plot in plots:
        paths[f"plot {plot.name}"] = out / "plots" / f"{plot.name}.png"
        write_bytes(paths[f"plot {plot.name}"], plot.png)
        if plot.csv is not None:
            paths[f"table {plot.name}"] = out / "plots" / f"{plot.name}.csv"
            write_text(paths[f"table {plot.name}"], plot.csv)
    for role, (name, text) in texts.items():
        paths[role] = out / name
        write_text(paths[role], text)
    paths["page"] = out / "index.html"
    write_text(paths["page"], page)
    for stale in set((out / "plots").glob("*.*")) - set(paths.values()):
        stale.unlink()
    return BuildResult(paths, len(every), ranked)


def _views(board: Board, shown: Sequence[Gallery], runs: dict[str, Run]) -> list[TableView]:
    here = [run for run in runs.values() if _on(board, run)]
    views = []
    name = f"{board.dataset} {board.split} {board.protocol} {board.fingerprint[:6]}"
    across = across_plots(board, name)
    for table in board.tables:
        prefix = slug(f"{name} {table.task}")
        plots = table_plots(board, table, prefix) + [plot for task, plot in across if task == table.task]
        place = {row.first.run: number for number, row in enumerate(table.rows)}  # one colour for a model in all plots
        ranked = sorted(here, key=lambda run: place.get(run.manifest.run, len(place)))
        plots += _lengths(ranked, table.task, f"{table.task.replace('-', ' ')} on {board.dataset} ({board.split})", prefix)
        views.append(TableView(table, plots, [g for g in shown if g.task == table.task and g.run in here]))
    return views


def _on(board: Board, run: Run) -> bool:
    manifest = run.manifest
    return (manifest.dataset, manifest.dataset_fingerprint, manifest.split) == (board.dataset, board.fingerprint, board.split)


def _lengths(runs: Sequence[Run], task: str, where: str, prefix: str) -> Iterator[Plot]:
    """Lengths of generated reports beside those of the references, where a task generates reports; their calibration."""
    lengths: dict[str, list[int]] = {}
    calibrated: dict[str, Lengths] = {}
    reference: list[int] = []
    for run in runs:
        for name, system in systems_of(run):
            if name != task or system not in (run.manifest.model, "real"):
                continue
            samples = [sample for sample in read_samples(run, task, system) if sample.report is not None]
            words = [len((sample.report or "").split()) for sample in samples]
            if system == run.manifest.model and words:
                label = system if system not in lengths else f"{system} (run {run.manifest.run[:8]})"
                lengths[label] = words
                if task in GENERATES_REPORTS:
                    calibrated[label] = _by_domain(samples)
            elif words and not reference:
                reference = words
    if lengths and reference:
        yield lengths_plot(f"Lengths of reports: {where}", {**lengths, "real": reference}, f"{prefix}-lengths")
        pooled = {
            label: one if one.reference else Lengths(one.generated, {EVERY: reference}) for label, one in calibrated.items()
        }
        plot = calibration_plot(f"Length calibration: {where}", pooled, f"{prefix}-length-calibration")
        if plot is not None:
            yield plot


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
