"""How well the rules read: sentences of our own with known labels, and reports of Indiana University given labels by others.

The given labels are those of the CheXpert labeller on the findings (2,465 reports), and the codes that people chose for the
whole report (MeSH, in `indiana_reports.csv`). Patients whose reports were open while rules were written are left out. Of our
own, `look` and `kept` were written before the rules, `later` against the finished ones, which were then mended by it.
"""

import csv
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np

from medim.common.errors import UserError
from tasks.metrics.clinical import chest_labeller, pathology_entities
from tasks.metrics.clinical.chest_labels import BLANK, LABELS, NEGATIVE, POSITIVE, UNCERTAIN, label_counts
from tasks.metrics.statistics.additive import Additive

FOLDER = Path(__file__).parent / "labelling"
PARTS = ("look", "kept", "later")
GIVEN, HUMAN = "openi_metadata_dataset_chexpert_labels.csv", "indiana_reports.csv"
UNINDEXED = "no indexing"
_CODES = {"-": BLANK, "1": POSITIVE, "0": NEGATIVE, "-1": UNCERTAIN}

MESH: dict[str, tuple[str, ...]] = {
    "Enlarged Cardiomediastinum": (r"mediastinum/.*(?:enlarged|prominent|wide)",),
    "Cardiomegaly": (r"cardiomegaly", r"(?:cardiac shadow|heart|heart ventricles|heart atria)/.*enlarged"),
    "Lung Opacity": (
        r"opacity", r"infiltrate", r"airspace disease", r"density/.*lung", r"markings", r"cicatrix/.*lung",
        r"lung diseases, interstitial",
    ),
    "Lung Lesion": (r"nodule", r"mass(?:/|$)", r".*neoplasm"),
    "Edema": (r"pulmonary edema", r"pulmonary congestion", r"heart failure"),
    "Consolidation": (r"consolidation",),
    "Pneumonia": (r"pneumonia",),
    "Atelectasis": (r"pulmonary atelectasis", r"volume loss"),
    "Pneumothorax": (r"pneumothorax", r"hydropneumothorax", r"hemopneumothorax"),
    "Pleural Effusion": (r"pleural effusion", r"hydropneumothorax", r"hemopneumothorax", r"hemothorax"),
    "Pleural Other": (r"(?:thickening|calcinosis|cicatrix)/.*pleura", r"pleura(?:/|$)", r"pulmonary fibrosis"),
    "Fracture": (r"fractures, bone", r"deformity/.*ribs"),
    "Support Devices": (
        r"catheters, indwelling", r"implanted medical device", r"medical device", r"tube, inserted", r"stents",
        r"spinal fusion",
    ),
}  # fmt: skip
"""By label, which codes ("heading/qualifier/...", lower case) mean it; `No Finding` where none does but support devices."""


@dataclass(frozen=True)
class Figure:
    """One figure of this page.

    Attributes:
        what: of which texts and labels.
        metric: "presence errors" (a label that should be present and was not found, or the other way round), "micro F1".
        value, low, high: a share, with the 95 % interval of resampled patients where there are patients.
        n: labels, terms or reports it is of.
        version: of the rules.
    """

    what: str
    metric: str
    value: float
    n: int
    version: str
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Reading:
    """Figures, the sentences read wrongly with what went wrong, and how many reports a second one core reads."""

    figures: tuple[Figure, ...]
    wrong: tuple[tuple[str, str], ...] = ()
    rate: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {"figures": [asdict(figure) for figure in self.figures], "wrong": [list(each) for each in self.wrong]}


def read_own_set() -> Reading:
    """Reports and captions of our own, each part for itself."""
    wrong: list[tuple[str, str]] = []
    figures: list[Figure] = []
    sets = (("reports", chest_labeller.NAME, _report_errors), ("captions", pathology_entities.NAME, _caption_errors))
    for name, version, errors in sets:
        for part in PARTS:
            rows = [row for row in _rows(FOLDER / f"{name}.csv") if row["part"] == part]
            found = [errors(row) for row in rows]
            wrong += [(each, row[name[:-1]]) for row, (_, bad) in zip(rows, found, strict=True) for each in bad]
            n = sum(count for count, _ in found)
            value = sum(len(bad) for _, bad in found) / n
            figures.append(Figure(f"own {name}, {part}", "presence errors", value, n, version))
    return Reading(tuple(figures), tuple(wrong))


def read_indiana(folder: Path) -> Reading:
    """Micro F1 against both sets of given labels, uncertain as present, over the 14 labels and without `No Finding`.

    Raises:
        UserError: the folder holds one of the two files not at all, or twice.
    """
    seen = set((FOLDER / "read_patients.txt").read_text(encoding="utf-8").split())
    given = [row for row in _rows(_one(folder, GIVEN)) if row["subject_id"] not in seen]
    human = [row for row in _rows(_one(folder, HUMAN)) if row["uid"] not in seen and UNINDEXED not in row["MeSH"].lower()]
    sets: tuple[tuple[str, list[list[int]], list[str], list[str]], ...] = (
        ("CheXpert's labels, findings", [[_CODES[row[label]] for label in LABELS] for row in given],
         [row["FINDINGS"] for row in given], [row["subject_id"] for row in given]),
        ("MeSH codes, findings and impression", [of_mesh(row["MeSH"]) for row in human],
         [f"{row['findings']}\n{row['impression']}" for row in human], [row["uid"] for row in human]),
    )  # fmt: skip
    figures = []
    start = process_time()
    chest_labeller.ChestLabeller().codes([row["FINDINGS"] for row in given])
    rate = len(given) / (process_time() - start)
    for what, labels, reports, patients in sets:
        counts = label_counts(np.array(labels), chest_labeller.ChestLabeller().codes(reports), "positive")
        for name, chosen in (("14 labels", LABELS), ("13 labels, without No Finding", LABELS[:-1])):
            f1 = Additive(counts.select(chosen).values.sum(axis=2), tuple(patients), "micro-f1")
            interval = f1.interval(seed=0)
            figures.append(
                Figure(f"Indiana, {what}, {name}", "micro F1", f1.value(), len(reports), chest_labeller.NAME, interval.low,
                       interval.high)
            )  # fmt: skip
    return Reading(tuple(figures), rate=rate)


def of_mesh(codes: str) -> list[int]:
    """Codes of labels, in the order of `LABELS`, of the MeSH codes of one report, separated by semicolons."""
    named = [code.strip() for code in codes.lower().split(";")]
    found = {label for label, patterns in MESH.items() if any(re.match("|".join(patterns), code) for code in named)}
    if not found - {chest_labeller.DEVICES}:
        found.add(chest_labeller.NO_FINDING)
    return [POSITIVE if label in found else BLANK for label in LABELS]


def table(reading: Reading) -> str:
    """For reading."""
    lines = []
    for figure in reading.figures:
        interval = "" if figure.low is None else f" [{figure.low:.3f}, {figure.high:.3f}]"
        lines.append(f"{figure.value:.3f}{interval}  {figure.metric}, n = {figure.n}: {figure.what} ({figure.version})")
    if reading.rate is not None:
        lines.append(f"{reading.rate:.0f} reports a second on one core, findings")
    return "\n".join([*lines, *(f"  {problem}: {text!r}" for problem, text in reading.wrong)])


def _report_errors(row: dict[str, str]) -> tuple[int, list[str]]:
    stated = {label[1:]: label[0] for label in row["labels"].split("; ") if label}
    codes = dict(zip(LABELS, chest_labeller.ChestLabeller().codes([row["report"]])[0].tolist(), strict=True))
    present = {label for label, code in codes.items() if code in (POSITIVE, UNCERTAIN)}
    should = {label for label, sign in stated.items() if sign in "+?"}
    if chest_labeller.NO_FINDING not in stated:
        present.discard(chest_labeller.NO_FINDING)
    return len(stated), [
        *(f"missed {label}" for label in should - present),
        *(f"made up {label}" for label in present - should),
    ]


def _caption_errors(row: dict[str, str]) -> tuple[int, list[str]]:
    stated = set(row["terms"].split("; "))
    found = {("no " if entity.denied else "") + entity.term for entity in pathology_entities.entities(row["caption"])}
    return len(stated), [*(f"missed {term}" for term in stated - found), *(f"made up {term}" for term in found - stated)]


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def _one(folder: Path, name: str) -> Path:
    found = sorted(folder.rglob(name))
    if len(found) != 1:
        raise UserError(f"{folder} holds {len(found)} files '{name}'; one is needed, in it or in a folder below")
    return found[0]
