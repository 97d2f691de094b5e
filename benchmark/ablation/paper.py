"""The columns of the paper's Table 4: what stands for each here, and what the paper found of each row."""

from collections.abc import Mapping
from dataclasses import dataclass

from leaderboard.reported import reported_records
from tasks.ablation import Verdict

FULL_ROW = "MeDiM"


@dataclass(frozen=True)
class Column:
    """One column of the generation table."""

    label: str  # short, as the paper writes it
    task: str  # whose metric it is
    metrics: tuple[str, ...]  # names of the metric here, the first that has a value counts
    paper: str | None  # its name in the published table; None for a column that the paper lacks
    higher_is_better: bool = True  # in the paper's sense


COLUMNS = (
    Column("mB-1", "report-generation", ("BLEU-1",), "mBLEU-1"),
    Column("mB-2", "report-generation", ("BLEU-2",), "mBLEU-2"),
    Column("mB-3", "report-generation", ("BLEU-3",), "mBLEU-3"),
    Column("mMTR", "report-generation", ("METEOR",), "mMETEOR"),
    Column("mR-L", "report-generation", ("ROUGE-L",), "mROUGE-L"),
    Column("mFID", "image-generation", ("Fréchet distance (EfficientNet-Lite0)",), "mFID", False),
    Column("mIS", "image-generation", ("IS (EfficientNet-Lite0 logits)", "IS (EfficientNet-Lite0 logits, whole set)"), "mIS"),
    Column("finding F1, reports", "report-generation", ("macro finding F1",), None),
    Column("finding F1, images", "image-generation", ("macro finding F1",), None),
    Column("joint agreement", "joint-generation", ("joint agreement",), None),
)
EQUIVALENTS = (
    "mFID and mIS stand here for the Fréchet distance and the inception score in EfficientNet-Lite0's features and logits: "
    "their sizes cannot be held against the paper's. An inception score also rises where images blend what no image holds "
    "together: its sign is to be read beside the others and the pictures."
)


def table4() -> dict[str, dict[str, float]]:
    """The published Table 4: values by row and metric."""
    rows: dict[str, dict[str, float]] = {}
    for record in reported_records():
        if record.signature["type"] == "ablation" and record.value is not None:
            rows.setdefault(record.model, {})[record.metric] = record.value
    return rows


def paper_changes(row: str, base: str = FULL_ROW) -> dict[str, float]:
    """What the paper found of a row: its value less the full model's, by metric; empty of a row that is not there."""
    rows = table4()
    return {metric: value - rows[base][metric] for metric, value in rows.get(row, {}).items() if row != base}


def paper_verdict(difference: float, higher_is_better: bool) -> Verdict:
    """The paper gives no intervals: any change has a sign."""
    if difference == 0:
        return "not resolved"
    return "better" if (difference > 0) == higher_is_better else "worse"


def paper_summary(changes: Mapping[str, float]) -> tuple[Verdict, str]:
    """Over all columns: one verdict where they agree, and the count in words; of no row `not resolved` and nothing."""
    of = {column.paper: column.higher_is_better for column in COLUMNS if column.paper is not None}
    found = [paper_verdict(difference, of[metric]) for metric, difference in changes.items()]
    if not found:
        return "not resolved", ""
    worse, better = found.count("worse"), found.count("better")
    together: Verdict = "worse" if worse == len(found) else "better" if better == len(found) else "not resolved"
    return together, f"worse in {worse} of {len(found)}" if worse >= better else f"better in {better} of {len(found)}"
