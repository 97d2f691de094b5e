"""Everything that `--out` of an ablation holds beside its trainings, made anew from what is done."""

from collections.abc import Sequence
from pathlib import Path

import click

from benchmark.ablation.comparison import Row, compared
from benchmark.ablation.figures import CURVES, GRID, TORNADO, draw_curves, draw_grid, draw_tornado
from benchmark.ablation.plan import Plan
from benchmark.ablation.records import manifest_of, records_of
from benchmark.ablation.remarks import remarks
from benchmark.ablation.stored import Measured, read_plan
from benchmark.ablation.tables import Setting, json_value, markdown, table_text
from benchmark.results.provenance import command_line
from benchmark.systems import withheld
from leaderboard.record import write_records
from medim.common.errors import UserError
from medim.common.files import sweep, write_json, write_text
from medim.common.locks import LOCK, locked
from medim.data.dataset import PairDataset

TABLE = "ablation.md"


def write_report(plan: Plan, dataset: PairDataset, out: Path) -> list[Row]:
    """Tables, plots, records and manifest of all arms that have at least one seed.

    Raises:
        UserError: no arm has.
    """
    measured = read_plan(plan, dataset.fingerprint)
    rows = compared(measured)
    if not rows:
        raise UserError(f"'{out}' holds no finished training of these arms yet: there is nothing to report")
    setting = _setting(plan, measured, dataset)
    with locked(out / LOCK):
        sweep(out, out / LOCK)
        _write(plan, measured, rows, setting, dataset, out)
    return rows


def _write(
    plan: Plan, measured: Sequence[Measured], rows: Sequence[Row], setting: Setting, dataset: PairDataset, out: Path
) -> None:
    notes = remarks(plan, rows, measured)
    write_text(out / TABLE, markdown(rows, setting, notes))
    write_text(out / "ablation.csv", table_text(rows))
    write_json(out / "ablation.json", json_value(rows, setting, notes))
    draw_curves(measured, out / CURVES)
    draw_tornado(rows, out / TORNADO)
    if withheld(dataset.terms):
        click.echo(f"no {GRID}: the data's terms keep samples off pictures", err=True)
    else:
        draw_grid(measured, out / GRID)
    recipe = plan.jobs_of(rows[0].arm.name)[0].recipe().model_dump(mode="json")
    manifest = manifest_of(plan, measured, dataset, recipe)
    write_records(out / "records.jsonl", records_of(rows, measured, manifest))
    write_json(out / "manifest.json", manifest)


def _setting(plan: Plan, measured: Sequence[Measured], dataset: PairDataset) -> Setting:
    job = plan.jobs[0]
    first = next(one.first for one in measured if one.seeds)
    generation = job.generation
    return Setting(
        preset=Path(job.preset).stem, data=dataset.name, synthetic=dataset.synthetic, steps=job.recipe().max_steps,
        seeds=plan.seeds, pairs=len(first.evaluation["patients"]), draws=job.evaluation.draws, split="validation",
        cases=None if generation is None else generation.limit, cases_split="" if generation is None else generation.split,
        sampling=None if generation is None else dict(generation.sampling), command=command_line(),
    )  # fmt: skip
