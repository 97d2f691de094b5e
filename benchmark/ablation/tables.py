"""The tables of an ablation: Markdown in the form of the paper's Table 4, CSV in long form, JSON with everything."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmark.ablation.comparison import Row
from benchmark.ablation.paper import COLUMNS, EQUIVALENTS
from medim.common.csv_text import csv_text
from tasks.ablation import ENDPOINTS, OVER_BOTH, PRIMARY, Change, Value
from tasks.metrics.statistics.bootstrap import Interval

CSV_COLUMNS = (
    "arm", "title", "base", "metric", "value", "ci_low", "ci_high", "difference", "difference_ci_low", "difference_ci_high",
    "p", "test", "patients", "seeds", "verdict", "paper_change", "sign", "reason", "parameters", "tokens_seen",
)  # fmt: skip
DIGITS = {PRIMARY.metric: 1, "mFID": 1, "mIS": 2}


@dataclass(frozen=True)
class Setting:
    """What all arms share, as it stands above the tables.

    Attributes:
        pairs, draws: of the likelihood.
    """

    preset: str
    data: str
    synthetic: bool
    steps: int
    seeds: tuple[int, ...]
    pairs: int
    draws: int
    split: str
    cases: int | None
    cases_split: str
    sampling: Mapping[str, Any] | None
    command: str


def markdown(rows: Sequence[Row], setting: Setting, notes: Sequence[str]) -> str:
    """The whole of `ablation.md`; the notes are `remarks`."""
    parts = [_head(rows, setting), _primary_table(rows)]
    if any(column.label in row.values for row in rows for column in COLUMNS):
        parts += [_columns_table(rows), EQUIVALENTS]
    parts.append(_paper_table(rows))
    if notes:
        parts.append("## Notes\n\n" + "\n".join(f"- {note}" for note in notes))
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(rows: Sequence[Row], setting: Setting) -> str:
    several = len(setting.seeds) > 1
    seeds = f"{'seeds' if several else 'seed'} {', '.join(map(str, setting.seeds))}"
    spread = (
        f'with 95 % intervals, {OVER_BOTH}; "not resolved": the interval holds 0.' if several else
        "with 95 % intervals of a bootstrap over patients. Of one training each no verdict is given: how much another seed "
        "would change is not known."
    )  # fmt: skip
    sampled = "" if setting.cases is None else (
        f" Then every arm samples for {setting.cases} {setting.cases_split} cases with the same sampler."
    )  # fmt: skip
    lines = [
        f"# Ablation: {setting.preset} on {setting.data}",
        "",
        f"Primary endpoint, stated beforehand: the bound on -log p(image, report) of {setting.pairs} {setting.split} pairs, "
        f"{setting.draws} draws of the noise each, the same noise for all arms; lower is better. {setting.steps} steps an arm, "
        f"{seeds}. Differences are to the arm's base, {spread}{sampled}",
    ]
    if setting.synthetic:
        lines += ["", f"{setting.data} is synthetic: these numbers compare designs, not models' clinical worth."]
    return "\n".join(lines)


def _primary_table(rows: Sequence[Row]) -> str:
    report, image = ENDPOINTS[1].metric, ENDPOINTS[2].metric
    header = [
        "arm", "nats per pair", "change", "verdict", "report nats / token", "image bits / token", "paper's columns",
        "the bound's sign", "parameters", "tokens seen",
    ]  # fmt: skip
    body = []
    for row in rows:
        against = "" if row.arm.base in (None, "full") else f" (to {row.arm.base})"
        found = row.changes.get(PRIMARY.metric)
        body.append([
            f"{row.arm.title}{against}", _value(row, PRIMARY.metric), _change(row, PRIMARY.metric),
            found.verdict if found is not None else "", _both(row, report), _both(row, image), row.paper_words,
            row.signs.get(PRIMARY.metric, ""), f"{row.cost['parameters'] / 1e6:.2f} M", _count(row.cost["tokens_seen"]),
        ])  # fmt: skip
    return _table(header, body)


def _columns_table(rows: Sequence[Row]) -> str:
    shown = [column for column in COLUMNS if any(column.label in row.values for row in rows)]
    header = ["arm", *(f"{column.label} {'↑' if column.higher_is_better else '↓'}" for column in shown)]
    return _table(header, [[row.arm.title, *(_both(row, column.label) for column in shown)] for row in rows])


def _paper_table(rows: Sequence[Row]) -> str:
    told = [row for row in rows if row.paper]
    shown = [column for column in COLUMNS if any(column.label in row.paper for row in told)]
    if not told:
        return ""
    body = [[row.arm.title, *(_against_paper(row, column.label) for column in shown)] for row in told]
    return "## The paper's change / the change here, and whether the sign agrees\n\n" + _table(
        ["arm", *(column.label for column in shown)], body
    )


def _against_paper(row: Row, name: str) -> str:
    digits, theirs, ours = _digits(name), row.paper.get(name), row.changes.get(name)
    said = f"{theirs:+.{digits}f}" if theirs is not None else ""
    return said if ours is None else f"{said} / {ours.difference:+.{digits}f} {row.signs.get(name, '')}"


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
    value, moved = _value(row, name), _change(row, name)
    return f"{value} ({moved})" if moved else value


def _count(tokens: float) -> str:
    return f"{tokens / 1e6:.2f} M" if tokens >= 1e6 else f"{tokens / 1e3:.0f} k"


def table_text(rows: Sequence[Row]) -> str:
    """`ablation.csv`: a row per arm and metric; what is not known is an empty cell."""
    return csv_text(CSV_COLUMNS, (_cells(row, name) for row in rows for name in _names(row)))


def _names(row: Row) -> Iterator[str]:
    every = [*(endpoint.metric for endpoint in ENDPOINTS), *(column.label for column in COLUMNS)]
    return (name for name in every if name in row.values or name in row.reasons or name in row.paper)


def _cells(row: Row, name: str) -> dict[str, Any]:
    value, found = row.values.get(name), row.changes.get(name)
    low, high = (value.interval.low, value.interval.high) if value is not None else (None, None)
    cells: dict[str, Any] = {
        "arm": row.arm.name, "title": row.arm.title, "base": row.arm.base, "metric": name,
        "value": None if value is None else value.value, "ci_low": low, "ci_high": high, "seeds": len(row.seeds),
        "paper_change": row.paper.get(name), "sign": row.signs.get(name), "reason": row.reasons.get(name),
        "parameters": row.cost["parameters"], "tokens_seen": row.cost["tokens_seen"],
    }  # fmt: skip
    if found is not None:
        cells |= {
            "difference": found.difference, "difference_ci_low": found.interval.low, "difference_ci_high": found.interval.high,
            "p": found.p, "test": found.test, "patients": found.units, "verdict": found.verdict,
            "reason": cells["reason"] or found.interval.reason,
        }  # fmt: skip
    return {key: round(cell, 6) if isinstance(cell, float) else cell for key, cell in cells.items()}


def json_value(rows: Sequence[Row], setting: Setting, notes: Sequence[str]) -> dict[str, Any]:
    """`ablation.json`; the notes are `remarks`."""
    return {
        "setting": asdict(setting) | {"primary": PRIMARY.metric, "lower_is_better": [one.metric for one in ENDPOINTS]},
        "notes": list(notes),
        "arms": [
            {
                **row.arm.model_dump(), "seeds": list(row.seeds), "cost": dict(row.cost),
                "values": {name: _value_json(value) for name, value in row.values.items()},
                "changes": {name: _change_json(found) for name, found in row.changes.items()},
                "reasons": dict(row.reasons),
                "paper": {"changes": dict(row.paper), "columns": row.paper_words, "signs": dict(row.signs)},
            }
            for row in rows
        ],
    }  # fmt: skip


def _value_json(value: Value) -> dict[str, Any]:
    return {"value": value.value, **_interval(value.interval), "by_seed": dict(value.by_seed)}


def _change_json(found: Change) -> dict[str, Any]:
    return {
        "difference": found.difference, **_interval(found.interval), "p": found.p, "test": found.test, "patients": found.units,
        "seeds": list(found.seeds), "verdict": found.verdict,
    }  # fmt: skip


def _interval(interval: Interval) -> dict[str, Any]:
    return {"ci_low": interval.low, "ci_high": interval.high, "reason": interval.reason}
