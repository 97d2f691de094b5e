"""How a number was made: the command, commit and date behind a row, the signature behind a value."""

import json
from typing import Any

from leaderboard.tables.boards import Table
from leaderboard.tables.formats import shares


def made(table: Table) -> list[dict[str, Any]]:
    """The command, commit and date behind each row."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    dates: dict[tuple[str, str, str], str] = {}
    for row in table.rows:
        for record in row.cells.values():
            key = (record.run, record.command, record.commit)
            groups.setdefault(key, [])
            if row.label not in groups[key]:
                groups[key].append(row.label)
            dates[key] = max(dates.get(key, ""), record.created)
    return [
        {"run": run, "command": command, "commit": commit, "created": dates[run, command, commit], "systems": systems}
        for (run, command, commit), systems in groups.items()
    ]


def signatures(table: Table, metric: str) -> dict[str, Any]:
    """The signatures of one column; systems that share one stand together."""
    groups: dict[str, list[dict[str, str]]] = {}
    for label, record in table.column(metric).items():
        text = json.dumps(record.signature, indent=2, sort_keys=True, ensure_ascii=False)
        interval = f"[{free(record.ci_low)}, {free(record.ci_high)}]" if record.ci_low is not None else "no interval"
        groups.setdefault(text, []).append(
            {
                "label": label,
                "value": record.reason or ""
                if record.value is None
                else f"{free(record.value)} {interval}" + (", unverified" if record.unverified else ""),
                "n": f"n = {record.n:,}" if record.n is not None else "",
                "coverage": shares([record]),
                "seed": f"seed {record.seed}",
            }
        )
    return {"metric": metric, "groups": [{"text": text, "systems": systems} for text, systems in groups.items()]}


def free(value: float | None) -> str:
    """A value on its own, with four significant digits."""
    return "" if value is None else f"{value:.4g}".replace("-", "\N{MINUS SIGN}")
