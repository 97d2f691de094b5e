"""A sweep of samplers, from the options of `medim-bench speed sample` to its table and picture of quality against compute.
Sweeps are data: each YAML file in `sweeps/` is one of that name."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import matplotlib
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from pydantic import BaseModel, ConfigDict, Field

from benchmark import DONE, WITH_FAILURES
from benchmark.provenance import command_line, commit
from benchmark.run.artifacts import Artifacts
from benchmark.run.cache import SharedCache, cache_folder
from benchmark.run.data import Data
from benchmark.run.generation import FAILURES, Failure, write_failures
from benchmark.speed import SampleSpeedOptions
from benchmark.speed.samplers import HEADLINES, Bench, against_released, line_of, lines_of, measure_sampler, released_of
from benchmark.systems import DTYPE, checkers_that_steer, open_pipeline
from leaderboard.plots.style import DPI, FAINT, GREY, INK, MODEL_COLOURS, STYLE
from medim.common.csv_text import csv_text
from medim.common.declared import checked, read_mapping
from medim.common.errors import UserError, unknown
from medim.common.files import atomic_path, write_json, write_text
from medim.data.loading import load_dataset
from medim.sampling.settings import SamplerSettings
from tasks.cases import cases_of
from tasks.protocols import Cases

SWEEPS = Path(__file__).parent / "sweeps"
FIGURES, TABLE, PARETO = "sample_speed.json", "sample_speed.csv", "pareto.png"
Row = Mapping[str, Any]


class Sweep(BaseModel):
    """What `medim-bench speed sample` compares."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str  # one line, for people
    # what is generated: pairs, images of reports, reports of images
    tasks: tuple[str, ...] = Field(default=("joint-generation",), min_length=1)
    # by name, what differs from the model's own sampler, such as `{"image.steps": 8}`
    samplers: dict[str, dict[str, str | int | float]] = Field(min_length=1)

    def settings(self, own: SamplerSettings) -> dict[str, SamplerSettings]:
        """The samplers by name, `own` changed as each says.
        Raises UserError: an unknown setting or a value out of range; the line names the sampler."""
        result = {}
        for name, changes in self.samplers.items():
            try:
                result[name] = own.with_overrides(dict(changes))
            except UserError as error:
                raise UserError(f"sampler '{name}' of the sweep: {error}") from error
        return result


def load_sweep(name: str) -> Sweep:
    """The sweep of this name, or in this YAML file.
    Raises UserError: neither, or a file that is no sweep; the line names file and field."""
    path = Path(name)
    shipped = {path.stem: path for path in SWEEPS.glob("*.yaml")}
    if name in shipped:
        path = shipped[name]
    elif path.suffix not in (".yaml", ".yml") and not path.is_file():
        raise unknown("sweep", name, shipped)
    elif not path.is_file():
        raise UserError(f"--sweep {name}: no such file")
    sweep = checked(Sweep, read_mapping(path.read_text(encoding="utf-8"), f"sweep {name}"), f"sweep {name}")
    for task in sweep.tasks:
        if task not in HEADLINES:
            raise UserError(f"sweep {name}: {unknown('task', task, HEADLINES)}")
    return sweep


def run_sample_speed(options: SampleSpeedOptions) -> int:
    """Draws and scores every sampler of the sweep and writes the results; returns the exit status.
    Raises UserError: unknown model, setting, sweep or split, or an `out` of another configuration."""
    if DTYPE in options.overrides:
        raise UserError("speed sample takes --dtype, not --set dtype")
    sweep, dataset, out = load_sweep(options.sweep), load_dataset(options.data), options.out
    pipeline = open_pipeline(options.model, options.device, options.overrides, dataset)
    own = pipeline.sampler
    samplers = sweep.settings(own)
    if pipeline.steering is None and any(sampler.steering.needs_checkers for sampler in samplers.values()):
        pipeline.steer(*checkers_that_steer(dataset))
    released = released_of(pipeline) if options.baselines else None  # what it cannot do is said before anything is drawn
    device = pipeline.model.device.type if options.device is None else options.device
    cases = cases_of(dataset, options.split, pipeline.resolution, options.n)
    folder = cache_folder(options.cache, dataset)
    cache = None if folder is None else SharedCache(folder)
    data = Data(dataset, options.split, pipeline.resolution, cases, options.seed, device, cache=cache)
    about = {
        "title": sweep.title,
        "model": pipeline.name,
        "model_fingerprint": pipeline.fingerprint,
        "dataset": dataset.name,
        "dataset_fingerprint": dataset.fingerprint,
        "split": options.split,
        "n": len(cases),
        "seed": options.seed,
        "batch_size": options.batch_size,
        "dtype": options.dtype,
        "device": device,
        "sweep": sweep.model_dump(mode="json"),
        "own": own.to_dict(),
        "margin": options.margin,
    }
    failures: list[Failure] = []
    rows = []
    found: dict[str, Any] | None = None
    with Artifacts.claim(out, about, options.overwrite) as artifacts:
        bench = Bench(data, artifacts, options.batch_size, device, options.dtype == "bf16")
        bench.generate("joint-generation", pipeline, cases[:2], [0, 1])  # the first call loads kernels: it is no sampler's
        for name, settings in samplers.items():
            pipeline.sampler = settings
            row, failed = measure_sampler(bench, name, pipeline, sweep.tasks)
            failures += failed
            if row is not None:
                rows.append(row)
                click.echo(line_of(row))
        if released is not None:
            pipeline.sampler = own
            name = next((name for name, settings in samplers.items() if settings == own), "baseline own")
            found, failed = against_released(bench, pipeline, name, released, sweep.tasks, options.rounds, options.margin)
            failures += failed
            click.echo("\n".join(lines_of(found)))
        write_failures(out / FAILURES, failures)
        write_results(out, rows, cases, {**about, "released": found, "commit": commit(), "command": command_line()})
    click.echo(f"figures: {out / FIGURES}, {out / TABLE}" + (f", {out / PARETO}" if (out / PARETO).exists() else ""))
    return WITH_FAILURES if failures else DONE


def frontier(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Which of (cost, worth) nothing beats: none costs as little and is worth more, or less and is worth as much."""
    return [not any(c <= cost and w >= worth and (c, w) != (cost, worth) for c, w in points) for cost, worth in points]


def write_results(out: Path, rows: Sequence[Row], cases: Cases, about: Mapping[str, Any]) -> None:
    """Writes `sample_speed.json`, `sample_speed.csv` and, where a task has scores, `pareto.png` into `out`."""
    domains = Counter(case.domain for case in cases if case.domain is not None)
    shares = {domain: count / len(cases) for domain, count in sorted(domains.items())}
    table = [line for task in HEADLINES for line in _lines(task, rows, shares)]
    write_json(out / FIGURES, {**about, "domains_of_data": shares, "samplers": list(rows)})
    columns = list(dict.fromkeys(key for line in table for key in line))
    write_text(out / TABLE, csv_text(columns, table))
    drawn = {
        task: points
        for task in HEADLINES
        if (points := [line for line in table if line["task"] == task and line["score"] != ""])
    }
    (out / PARETO).unlink(missing_ok=True)
    if drawn:
        _picture(out / PARETO, drawn, str(about.get("title", "")))


def _lines(task: str, rows: Sequence[Row], shares: Mapping[str, float]) -> list[dict[str, Any]]:
    found = [(row, row["tasks"][task]) for row in rows if task in row["tasks"]]
    scored = [(row["name"], part) for row, part in found if part["scores"][HEADLINES[task]]["value"] is not None]
    points = [(part["speed"]["flops_per_sample"], part["scores"][HEADLINES[task]]["value"]) for _, part in scored]
    best = {name for (name, _), one in zip(scored, frontier(points), strict=True) if one}
    lines = []
    for row, part in found:
        score = part["scores"][HEADLINES[task]]
        line = {
            "sampler": row["name"],
            "task": task,
            "metric": HEADLINES[task],
            "score": _cell(score["value"]),
            "ci_low": _cell(score["low"]),
            "ci_high": _cell(score["high"]),
            "on_frontier": row["name"] in best,
            **part["speed"],
        }
        if task == "joint-generation":
            for metric in ("finding MCC", "max prevalence error", "max domain share error"):
                line[metric] = _cell(part["scores"].get(metric, {}).get("value"))
            for domain, share in shares.items():
                drawn = part["scores"].get(f"domain share: {domain} (image)", {}).get("value")
                line |= {f"{domain} share": _cell(drawn), f"{domain} share of the data": share}
        lines.append(line | {"settings": json.dumps(row["settings"], sort_keys=True)})
    return lines


def _cell(value: float | None) -> float | str:
    return "" if value is None else value


def _picture(path: Path, drawn: Mapping[str, Sequence[Row]], title: str) -> None:
    """One panel a task: worth against FLOPs, the frontier drawn, every point named."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.6 * len(drawn), 5.2))
        figure.set_layout_engine(ConstrainedLayoutEngine())
        for axes, (task, lines) in zip(figure.subplots(1, len(drawn), squeeze=False)[0], drawn.items(), strict=True):
            best = sorted((line for line in lines if line["on_frontier"]), key=lambda line: line["flops_per_sample"])
            x, y = [line["flops_per_sample"] / 1e9 for line in best], [line["score"] for line in best]
            axes.plot(x, y, color=MODEL_COLOURS[0], linewidth=1.2, zorder=1, label="frontier")
            for line in lines:
                on, at = line["on_frontier"], line["flops_per_sample"] / 1e9
                if line["ci_low"] != "":
                    axes.plot([at, at], [line["ci_low"], line["ci_high"]], color=FAINT, linewidth=1, zorder=0)
                axes.plot(at, line["score"], "o", color=MODEL_COLOURS[0] if on else GREY, markersize=5, zorder=2)
                name = {"fontsize": 7, "color": INK if on else GREY, "textcoords": "offset points"}
                axes.annotate(line["sampler"], (at, line["score"]), xytext=(6, -3), **name)
            axes.set_xscale("log")
            axes.margins(x=0.2)
            axes.set_xlabel("denoiser's GFLOP a sample")
            axes.set_ylabel(f"{HEADLINES[task]} (95 % interval)")
            axes.set_title(task)
            axes.legend(loc="lower right")
        figure.suptitle(title)
        with atomic_path(path) as temporary:
            figure.savefig(temporary, format="png", dpi=DPI)
