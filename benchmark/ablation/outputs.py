"""Everything that `--out` of an ablation holds beside its trainings, written anew from what is done."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from benchmark.ablation.changes import ENDPOINTS, PRIMARY, SEED, Change
from benchmark.ablation.comparison import Measured, Row, compared, read_plan
from benchmark.ablation.figures import CURVES, GRID, TORNADO, draw_curves, draw_grid, draw_tornado
from benchmark.ablation.plan import Plan
from benchmark.ablation.tables import csv_table, json_value, markdown, remarks
from benchmark.provenance import command_line, commit, now, versions
from benchmark.systems import withheld
from leaderboard.record import Record, write_records
from medim.common.errors import UserError
from medim.common.files import hash_of, sweep, write_json, write_text
from medim.common.locks import LOCK, locked
from medim.data.dataset import PairDataset
from tasks.protocols import PROTOCOL

TABLE = "ablation.md"
TASK = "ablation"
CHANGE = f"change of {PRIMARY.metric}"


def write_report(plan: Plan, dataset: PairDataset, out: Path) -> list[Row]:
    """Tables, plots, records and manifest of all arms that have at least one seed. Raises UserError: no arm has."""
    measured = read_plan(plan, dataset.fingerprint)
    rows = compared(measured)
    if not rows:
        raise UserError(f"'{out}' holds no finished training of these arms yet: there is nothing to report")
    notes = remarks(plan, rows, measured)
    setting = _setting(plan, measured, dataset)
    with locked(out / LOCK):
        sweep(out, out / LOCK)
        write_text(out / TABLE, markdown(rows, setting, notes))
        write_text(out / "ablation.csv", csv_table(rows))
        write_json(out / "ablation.json", json_value(rows, setting, notes))
        draw_curves(measured, out / CURVES)
        draw_tornado(rows, out / TORNADO)
        if withheld(dataset.terms):
            click.echo(f"no {GRID}: the data's terms keep samples off pictures", err=True)
        else:
            draw_grid(measured, out / GRID)
        manifest = _manifest(plan, measured, dataset, plan.jobs_of(rows[0].arm.name)[0].recipe().model_dump(mode="json"))
        write_records(out / "records.jsonl", _records(rows, measured, manifest))
        write_json(out / "manifest.json", manifest)
    return rows


def _setting(plan: Plan, measured: Sequence[Measured], dataset: PairDataset) -> dict[str, Any]:
    """What all arms share, as it stands above the tables and in `ablation.json`."""
    job = plan.jobs[0]
    first = next(one.first for one in measured if one.seeds)
    generation = job.generation
    return {
        "preset": Path(job.preset).stem,
        "data": dataset.name,
        "synthetic": dataset.synthetic,
        "steps": job.recipe().max_steps,
        "seeds": plan.seeds,
        "pairs": len(first.evaluation["patients"]),
        "draws": job.evaluation.draws,
        "split": "validation",
        "cases": None if generation is None else generation.limit,
        "cases_split": "" if generation is None else generation.split,
        "sampling": None if generation is None else dict(generation.sampling),
        "command": command_line(),
    }


def _manifest(plan: Plan, measured: Sequence[Measured], dataset: PairDataset, recipe: dict[str, Any]) -> dict[str, Any]:
    """`manifest.json`: what was run on what, by which code."""
    trained = {f"{one.arm.name} seed {seed}": each for one in measured for seed, each in one.seeds.items()}
    models = {name: each.evaluation["model_fingerprint"] for name, each in trained.items()}
    tokenizers = {
        part: sorted({each.evaluation[part] for each in trained.values()}) for part in ("image_tokenizer", "report_tokenizer")
    }
    job = plan.jobs[0]
    settings = {"evaluation": vars(job.evaluation), "generation": None if job.generation is None else vars(job.generation)}
    return {
        "run": hash_of({"models": models, "data": dataset.fingerprint, "settings": settings}),
        "model": "ablation",
        "model_fingerprint": hash_of(models),
        "models": models,
        "dataset": dataset.name,
        "dataset_fingerprint": dataset.fingerprint,
        "split": job.evaluation.split,
        "synthetic": dataset.synthetic,
        "terms": dataset.terms,
        "withhold_samples": withheld(dataset.terms),
        "tasks": [TASK],
        "command": command_line(),
        "commit": commit(),
        "created": now(),
        "versions": versions(),
        "settings": settings,
        "tokenizers": tokenizers,
        "preset": job.preset,
        "recipe": recipe,
        "arms": [arm.model_dump() for arm in plan.arms],
        "seeds": list(plan.seeds),
    }


def _records(rows: Sequence[Row], measured: Sequence[Measured], manifest: dict[str, Any]) -> list[Record]:
    """A record for each arm, seed and endpoint, and one for each arm's change of the primary endpoint."""
    names = ("dataset", "split", "commit", "command", "created", "synthetic", "run")
    fixed = {"task": TASK, "coverage": 1.0, "protocol": PROTOCOL, "kind": "measured", "higher_is_better": False}
    shared: dict[str, Any] = fixed | {name: manifest[name] for name in names}
    fields = [*_likelihoods(measured, manifest["dataset_fingerprint"]), *map(_change, rows)]
    return [Record(**shared, **one) for one in fields if one]


def _likelihoods(measured: Sequence[Measured], data: str) -> Iterator[dict[str, Any]]:
    for one in measured:
        for seed, trained in one.seeds.items():
            evaluation = trained.evaluation
            arm = {"overrides": one.arm.overrides, "data": data, "preset": trained.job.preset}
            length = {"steps": evaluation["training"]["steps"], "model": evaluation["model_fingerprint"]}
            parts = {part: evaluation[part] for part in ("image_tokenizer", "report_tokenizer", "truncated")}
            for endpoint in ENDPOINTS:
                additive = endpoint.additive(evaluation)
                interval = additive.interval(SEED)
                metric = {"metric": endpoint.metric, "interval": additive.method}
                yield {
                    "model": one.arm.name,
                    "metric": endpoint.metric,
                    "value": additive.value(),
                    "ci_low": interval.low,
                    "ci_high": interval.high,
                    "n": len(additive.sums),
                    "seed": seed,
                    "reason": interval.reason,
                    "signature": metric | arm | length | evaluation["settings"] | parts,
                }


def _change(row: Row) -> dict[str, Any]:
    """The fields of a record; none of an arm that is compared with none."""
    found: Change | None = row.changes.get(PRIMARY.metric)
    if found is None:
        return {}
    test = {"p": found.p, "test": found.test, "verdict": found.verdict, "overrides": row.arm.overrides}
    return {
        "model": row.arm.name,
        "metric": CHANGE,
        "value": found.difference,
        "ci_low": found.interval.low,
        "ci_high": found.interval.high,
        "n": found.units,
        "seed": found.seeds[0],
        "reason": found.interval.reason,
        "signature": {"metric": CHANGE, "base": row.arm.base, "seeds": list(found.seeds), **test},
    }
