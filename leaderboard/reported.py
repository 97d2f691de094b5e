"""The numbers of the MeDiM paper's own tables, as records of kind `reported`."""

import csv
from pathlib import Path

from leaderboard.record import Record
from medim.common.errors import UserError

PUBLISHED = Path(__file__).parent / "published"
PAPER = "MeDiM (arXiv 2510.06131)"
CREATED = "2025-10-01T00:00:00+00:00"  # month of the arXiv number; the day does not matter here
PROTOCOL = "paper"
RUN = "arXiv-2510.06131"
COLUMNS = ["method", "type", "dataset", "metric", "value"]

# What each table measures: (source in the paper, task of every row or None where the metric decides).
TABLES: dict[str, tuple[str, str | None]] = {
    "table1_mimic_image.csv": ("Table 1", "image-generation"),
    "table2_pathgen_image.csv": ("Table 2", "image-generation"),
    "table3_reports.csv": ("Table 3", "report-generation"),
    "table4_ablation.csv": ("Table 4", None),
    "downstream.csv": ("downstream text and Fig. 5c", "augmentation"),
}
LOWER_IS_BETTER = {"FID"}
IMAGE_METRICS = {"FID", "IS"}
NOTE = "The paper's own number, on its own data and by its own protocol; not measured here and not comparable with what is."


def reported_records(folder: str | Path = PUBLISHED) -> list[Record]:
    """Reads every published table of `folder` (`method,type,dataset,metric,value`).

    Returns:
        Records of kind `reported` and protocol `paper`, in the order of the tables. `n`, `coverage` and `seed` are None:
        the paper does not state them. A mean over data sets (`mBLEU-1` of `mean(MIMIC-CXR,PathGen)`) keeps its name.

    Raises:
        UserError: a file that is no known table, a wrong header, or a value that is no number; names file and line.
    """
    records: list[Record] = []
    paths = sorted(Path(folder).glob("*.csv"), key=lambda path: list(TABLES).index(path.name) if path.name in TABLES else -1)
    if not paths:
        raise UserError(f"{folder}: no published tables (*.csv)")
    for path in paths:
        if path.name not in TABLES:
            raise UserError(f"{path}: not a known published table (known: {', '.join(TABLES)})")
        records += _read_table(path, *TABLES[path.name])
    return records


def _read_table(path: Path, source: str, task: str | None) -> list[Record]:
    with path.open(encoding="utf-8", newline="") as stream:
        reader = csv.DictReader(stream)
        if reader.fieldnames != COLUMNS:
            raise UserError(f"{path}:1: header must be {','.join(COLUMNS)}")
        return [_record(row, f"{path}:{reader.line_num}", source, task) for row in reader]


def _record(row: dict[str, str], where: str, source: str, task: str | None) -> Record:
    try:
        value = float(row["value"])
    except (TypeError, ValueError) as error:
        raise UserError(f"{where}: field 'value': '{row['value']}' is not a number") from error
    name = row["metric"].removeprefix("m") if row["dataset"].startswith("mean(") else row["metric"]
    return Record(
        task=task or ("image-generation" if name in IMAGE_METRICS else "report-generation"),
        model=row["method"],
        dataset=row["dataset"].replace(",", ", "),
        split="test",
        metric=row["metric"],
        value=value,
        n=None,
        coverage=None,
        seed=None,
        protocol=PROTOCOL,
        signature={"source": f"{PAPER}, {source}", "type": row["type"], "note": NOTE},
        kind="reported",
        commit="",
        command="",
        created=CREATED,
        reason=NOTE,
        higher_is_better=name not in LOWER_IS_BETTER,
        synthetic=False,
        run=RUN,
    )
