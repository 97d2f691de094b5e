"""Lines in, lines out, for the script of a metric environment; the environment holds a copy of it as `medim_metric.py`.

    python SCRIPT IN OUT

IN has {"id", "prediction", "references": [...], and "image" where the recipe says so} a line. OUT gets {"id", "values": {...}}
for each id, and may have {"corpus": {...}}. MEDIM_METRIC_WEIGHTS names the folder of the weights.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any


def weights() -> Path:
    """The folder of the weights."""
    return Path(os.environ["MEDIM_METRIC_WEIGHTS"])


def read() -> tuple[list[dict[str, Any]], list[str], list[str]]:
    """The rows of IN, their predictions and the first reference of each: "" where there is none, as of a generated pair."""
    with open(sys.argv[1], encoding="utf-8") as stream:
        rows = [json.loads(line) for line in stream]
    return rows, [row["prediction"] for row in rows], [next(iter(row["references"]), "") for row in rows]


def write(rows: list[dict[str, Any]], **values: Any) -> None:
    """Writes OUT: of each name one value for each row, as a list, an array or a tensor."""
    columns = {name: [float(value) for value in column] for name, column in values.items()}
    with open(sys.argv[2], "w", encoding="utf-8") as stream:
        for index, row in enumerate(rows):
            found = {name: column[index] for name, column in columns.items()}
            stream.write(json.dumps({"id": row["id"], "values": found}) + "\n")
