"""The tables of an ablation (Markdown in the form of the paper's Table 4, long CSV, JSON) and the remarks beside them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from benchmark.ablation.arms import Arm
from benchmark.ablation.changes import ENDPOINTS, OVER_BOTH, PRIMARY, Change, Value
from benchmark.ablation.comparison import COLUMNS, EQUIVALENTS, Measured, Row
from benchmark.ablation.plan import DONE, Plan
from medim.common.csv_text import csv_text
from medim.training.recipe import ModelRecipe

CSV_COLUMNS = (
    *("arm", "title", "base", "metric", "value", "ci_low", "ci_high", "difference", "difference_ci_low", "difference_ci_high"),
    *("p", "test", "patients", "seeds", "verdict", "paper_change", "sign", "reason", "parameters", "tokens_seen"),
)
DIGITS = {PRIMARY.metric: 1, "mFID": 1, "mIS": 2}
OTHER_NOISE = {"order", "transition", "image_tokenizer"}  # fields that decide where the noise of a seed falls
RATES = ("optimizer", "learning_rate", "muon_learning_rate", "lr_scheduler_type", "warmup_steps")
NEARLY = 0.05  # parameters that differ by a smaller share are as many


def markdown(rows: Sequence[Row], setting: Mapping[str, Any], notes: Sequence[str]) -> str:
    """The whole of `ablation.md`; the notes are `remarks`."""
    parts = [_head(setting), _primary_table(rows)]
    if any(column.label in row.values for row in rows for column in COLUMNS):
        parts += [_columns_table(rows), EQUIVALENTS]
    parts.append(_paper_table(rows))
    if notes:
        parts.append("## Notes\n\n" + "\n".join(f"- {note}" for note in notes))
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(setting: Mapping[str, Any]) -> str:
    seeds, spread = (
        f"seed {setting['seeds'][0]}",
        (
            "with 95 % intervals of a bootstrap over patients. Of one training each no verdict is given: how much another seed "
            "would change is not known."
        ),
    )
    if len(setting["seeds"]) > 1:
        seeds = f"seeds {', '.join(map(str, setting['seeds']))}"
        spread = f'with 95 % intervals, {OVER_BOTH}; "not resolved": the interval holds 0.'
    sampled = f" Then every arm samples for {setting['cases']} {setting['cases_split']} cases with the same sampler."
    measured = f"{setting['pairs']} {setting['split']} pairs, {setting['draws']} draws of the noise each"
    lines = [
        f"# Ablation: {setting['preset']} on {setting['data']}",
        "",
        f"Primary endpoint, stated beforehand: the bound on -log p(image, report) of {measured}, the same noise for all arms; "
        f"lower is better. {setting['steps']} steps an arm, {seeds}. Differences are to the arm's base, {spread}"
        f"{'' if setting['cases'] is None else sampled}",
    ]
    if setting["synthetic"]:
        lines += ["", f"{setting['data']} is synthetic: these numbers compare designs, not models' clinical worth."]
    return "\n".join(lines)


def _primary_table(rows: Sequence[Row]) -> str:
    report, image = ENDPOINTS[1].metric, ENDPOINTS[2].metric
    header = ["arm", "nats per pair", "change", "verdict", "report nats / token", "image bits / token", "paper's columns"]
    header += ["the bound's sign", "parameters", "tokens seen"]
    body = []
    for row in rows:
        found = row.changes.get(PRIMARY.metric)
        cells = [row.label, _value(row, PRIMARY.metric), _change(row, PRIMARY.metric), "" if found is None else found.verdict]
        cells += [_both(row, report), _both(row, image), row.paper_words, row.signs.get(PRIMARY.metric, "")]
        body.append([*cells, f"{row.cost['parameters'] / 1e6:.2f} M", _count(row.cost["tokens_seen"])])
    return _table(header, body)


def _columns_table(rows: Sequence[Row]) -> str:
    shown = [column for column in COLUMNS if any(column.label in row.values for row in rows)]
    header = ["arm", *(f"{column.label} {'↑' if column.higher_is_better else '↓'}" for column in shown)]
    return _table(header, [[row.arm.title, *(_both(row, column.label) for column in shown)] for row in rows])


def _paper_table(rows: Sequence[Row]) -> str:
    in_paper = [row for row in rows if row.paper]
    if not in_paper:
        return ""
    shown = [column.label for column in COLUMNS if any(column.label in row.paper for row in in_paper)]
    body = [[row.arm.title, *(_against_paper(row, label) for label in shown)] for row in in_paper]
    return "## The paper's change / the change here, and whether the sign agrees\n\n" + _table(["arm", *shown], body)


def _against_paper(row: Row, name: str) -> str:
    digits, theirs, ours = _digits(name), row.paper.get(name), row.changes.get(name)
    published = f"{theirs:+.{digits}f}" if theirs is not None else ""
    return published if ours is None else f"{published} / {ours.difference:+.{digits}f} {row.signs.get(name, '')}"


def _table(header: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *body]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _digits(name: str) -> int:
    return DIGITS.get(name, 3)


def _value(row: Row, name: str) -> str:
    value = row.values.get(name)
    return "" if value is None else f"{value.value:.{_digits(name)}f}"


def _change(row: Row, name: str) -> str:
    found, digits = row.changes.get(name), _digits(name)
    if found is None:
        return ""
    if found.interval.low is None or found.interval.high is None:
        return f"{found.difference:+.{digits}f}"
    return f"{found.difference:+.{digits}f} [{found.interval.low:+.{digits}f}, {found.interval.high:+.{digits}f}]"


def _both(row: Row, name: str) -> str:
    value, change = _value(row, name), _change(row, name)
    return f"{value} ({change})" if change else value


def _count(tokens: float) -> str:
    return f"{tokens / 1e6:.2f} M" if tokens >= 1e6 else f"{tokens / 1e3:.0f} k"


def csv_table(rows: Sequence[Row]) -> str:
    """`ablation.csv`: a row per arm and metric; what is not known is an empty cell."""
    names = [*(endpoint.metric for endpoint in ENDPOINTS), *(column.label for column in COLUMNS)]
    cells = [_cells(row, name) for row in rows for name in names if name in {*row.values, *row.reasons, *row.paper}]
    return csv_text(CSV_COLUMNS, cells)


def _cells(row: Row, name: str) -> dict[str, Any]:
    value, found = row.values.get(name), row.changes.get(name)
    cells: dict[str, Any] = {"arm": row.arm.name, "title": row.arm.title, "base": row.arm.base, "metric": name}
    cells |= {"seeds": len(row.seeds), "parameters": row.cost["parameters"], "tokens_seen": row.cost["tokens_seen"]}
    cells |= {"paper_change": row.paper.get(name), "sign": row.signs.get(name), "reason": row.reasons.get(name)}
    if value is not None:
        cells |= {"value": value.value, "ci_low": value.interval.low, "ci_high": value.interval.high}
    if found is not None:
        ends = {"difference_ci_low": found.interval.low, "difference_ci_high": found.interval.high}
        cells |= {"difference": found.difference, **ends, "p": found.p, "test": found.test, "patients": found.units}
        cells |= {"verdict": found.verdict, "reason": cells["reason"] or found.interval.reason}
    return {key: round(cell, 6) if isinstance(cell, float) else cell for key, cell in cells.items()}


def json_value(rows: Sequence[Row], setting: Mapping[str, Any], notes: Sequence[str]) -> dict[str, Any]:
    """`ablation.json`; the notes are `remarks`."""
    endpoints = {"primary": PRIMARY.metric, "lower_is_better": [one.metric for one in ENDPOINTS]}
    return {"setting": {**setting, **endpoints}, "notes": list(notes), "arms": list(map(_arm_json, rows))}


def _arm_json(row: Row) -> dict[str, Any]:
    return {
        **row.arm.model_dump(),
        "seeds": list(row.seeds),
        "cost": dict(row.cost),
        "values": {name: _plain(value) for name, value in row.values.items()},
        "changes": {name: _plain(change) for name, change in row.changes.items()},
        "reasons": dict(row.reasons),
        "paper": {"changes": dict(row.paper), "columns": row.paper_words, "signs": dict(row.signs)},
    }


def _plain(found: Value | Change) -> dict[str, Any]:
    fields = asdict(found)
    interval = fields.pop("interval")
    if "units" in fields:
        fields["patients"] = fields.pop("units")
    return {**fields, "ci_low": interval["low"], "ci_high": interval["high"], "reason": interval["reason"]}


def remarks(plan: Plan, rows: Sequence[Row], measured: Sequence[Measured]) -> tuple[str, ...]:
    """Sentences: what is left out, unfinished or elsewhere, what differs between an arm and its base beside its choice."""
    found = [f"{name}: left out, {reason}." for name, reason in plan.left_out.items()]
    found += _unfinished(plan, measured)
    found += _beside(plan)
    by_name = {row.arm.name: row for row in rows}
    for row in rows:
        if row.arm.base in by_name:
            found += _differences(plan, row, by_name[row.arm.base])
        found += [f"{row.arm.title}, {name}: {reason}." for name, reason in row.reasons.items()]
    return tuple(dict.fromkeys(found))


def _unfinished(plan: Plan, measured: Sequence[Measured]) -> Iterator[str]:
    done = {(one.arm.name, seed): trained for one in measured for seed, trained in one.seeds.items()}
    if missing := [job.name for job in plan.jobs if (job.arm, job.seed) not in done]:
        yield f"Not done yet: {', '.join(missing)}."
    without = [job.name for job in plan.jobs if (job.arm, job.seed) in done and done[job.arm, job.seed].run is None]
    if without and plan.jobs[0].generation is not None:
        yield f"Not sampled yet: {', '.join(without)}."


def _beside(plan: Plan) -> Iterator[str]:
    """Trainings that an earlier command with other arms or seeds left in the same folder."""
    ours = {job.folder for job in plan.jobs}
    others = sorted(path.parent for path in plan.jobs[0].out.glob(f"*/seed-*/{DONE}") if path.parent not in ours)
    if others:
        names = ", ".join(f"{folder.parent.name} {folder.name.replace('-', ' ')}" for folder in others)
        yield f"In this folder, but not among --arms and --seeds: {names}."


def _differences(plan: Plan, row: Row, base: Row) -> Iterator[str]:
    mine, theirs = _recipe(plan, row.arm), _recipe(plan, base.arm)
    if row.arm.overrides.keys() & OTHER_NOISE:
        yield f"{row.arm.title}: its noise falls on other tokens than its base's; the pairs are the same."
    share = row.cost["parameters"] / base.cost["parameters"] - 1
    if abs(share) > NEARLY:
        other = "fewer" if share < 0 else "more"
        yield f"{row.arm.title}: {abs(share):.0%} {other} parameters than its base, which may matter too."
    same_rates = all(getattr(mine, rate) == getattr(theirs, rate) for rate in RATES)
    if theirs.starts_pretrained and not mine.starts_pretrained and same_rates:
        yield (
            f"{row.arm.title}: random weights at the rates of the pretrained ones ({mine.optimizer}, {mine.learning_rate:g}); "
            "where others suit them better, that is part of the change."
        )


def _recipe(plan: Plan, arm: Arm) -> ModelRecipe:
    return plan.jobs_of(arm.name)[0].recipe()
