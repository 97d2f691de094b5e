"""The cases that `score` asks predictions for, as rows of id, study, patient and split."""

import csv
import io
import json
from collections.abc import Sequence

from medim.common.csv_text import is_formula
from medim.common.errors import UserError, unknown
from medim.data.loading import load_dataset
from medim.pair import SPLITS
from tasks.cases import SplitIds

COLUMNS = ("id", "study", "patient", "split")
ALL = "all"


def wanted(name: str, split: str, limit: int | None = None) -> list[dict[str, str]]:
    """The first pair of each study of a split (`all`: of every split that has pairs), in order.

    Raises:
        UserError: an unknown data set, an unknown or empty split.
    """
    if split not in (*SPLITS, ALL):
        raise unknown("split", split, (*SPLITS, ALL))
    dataset = load_dataset(name)
    rows: list[dict[str, str]] = []
    for one in SPLITS if split == ALL else (split,):
        if split == ALL and not dataset.size(one):
            continue
        known = SplitIds(dataset, one, ())
        cases = [keys for keys in known.values() if keys.id in known.stand_for_studies][:limit]
        rows += [{"id": keys.id, "study": keys.study, "patient": keys.patient, "split": one} for keys in cases]
    if not rows:
        raise UserError(f"data set '{name}' holds no pairs")
    return rows


def as_lines(rows: Sequence[dict[str, str]]) -> str:
    """One JSON object a line."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def as_csv(rows: Sequence[dict[str, str]]) -> str:
    """A table with a line of column names.

    Raises:
        UserError: a spreadsheet would run one of its texts: neutralised it would be another id.
    """
    if odd := next((text for row in rows for text in row.values() if is_formula(text)), None):
        raise UserError(f"a spreadsheet would run '{odd}' as a formula: write a file of another name than .csv, of JSON lines")
    stream = io.StringIO()
    writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()
