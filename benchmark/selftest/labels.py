"""How well the rules read: sentences with known labels, and reports of Indiana University with labels of others.

Those labels are the CheXpert labeller's on the findings (2,465 reports), and the MeSH codes that people chose for the whole
report (`indiana_reports.csv`). Patients whose reports were seen while the rules were written are left out. Of the sentences,
`look` and `kept` were written before the rules, `later` against the finished ones, which were then corrected by it.
"""

import csv
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import yaml

from medim.common.errors import UserError
from tasks.metrics.clinical import chest_labeller, pathology_entities
from tasks.metrics.clinical.chest_labels import BLANK, LABELS, NEGATIVE, POSITIVE, UNCERTAIN, label_counts
from tasks.metrics.statistics.additive import Additive

FOLDER = Path(__file__).parent / "labelling"
PARTS = ("look", "kept", "later")
GIVEN, HUMAN = "openi_metadata_dataset_chexpert_labels.csv", "indiana_reports.csv"
UNINDEXED = "no indexing"
_CODES = {"-": BLANK, "1": POSITIVE, "0": NEGATIVE, "-1": UNCERTAIN}

MESH: dict[str, list[str]] = yaml.safe_load((FOLDER / "mesh.yaml").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Figure:
    """One figure. `what`: of which texts and labels. `metric`: "presence errors" (labels missed or wrongly found), or "micro
    F1". `value`, `low`, `high`: a share, with the 95 % interval over patients where there are patients. `n`: number of labels,
    terms or reports. `version`: of the rules."""

    what: str
    metric: str
    value: float
    n: int
    version: str
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Reading:
    """Figures; problem and text of each sentence read wrongly; reports read per second on one core."""

    figures: tuple[Figure, ...]
    wrong: tuple[tuple[str, str], ...] = ()
    rate: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {"figures": [asdict(figure) for figure in self.figures], "wrong": [list(each) for each in self.wrong]}


def read_own_set() -> Reading:
    """The sentences of `labelling`, each part by itself."""
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
    Raises UserError: the folder does not hold each of the two files once."""
    seen = set((FOLDER / "read_patients.txt").read_text(encoding="utf-8").split())
    given = [row for row in _rows(_one(folder, GIVEN)) if row["subject_id"] not in seen]
    human = [row for row in _rows(_one(folder, HUMAN)) if row["uid"] not in seen and UNINDEXED not in row["MeSH"].lower()]
    codes = [[_CODES[row[label]] for label in LABELS] for row in given], [of_mesh(row["MeSH"]) for row in human]
    reports = [row["FINDINGS"] for row in given], [f"{row['findings']}\n{row['impression']}" for row in human]
    patients = [row["subject_id"] for row in given], [row["uid"] for row in human]
    names = "CheXpert's labels, findings", "MeSH codes, findings and impression"
    labeller = chest_labeller.ChestLabeller()
    figures = []
    start = process_time()
    labeller.codes(reports[0])
    rate = len(given) / (process_time() - start)
    for what, labels, texts, people in zip(names, codes, reports, patients, strict=True):
        counts = label_counts(np.array(labels), labeller.codes(texts))
        for name, chosen in (("14 labels", LABELS), ("13 labels, without No Finding", LABELS[:-1])):
            f1 = Additive(counts.select(chosen).values.sum(axis=2), tuple(people), "micro-f1")
            bounds = f1.interval(seed=0)
            title = f"Indiana, {what}, {name}"
            figure = Figure(title, "micro F1", f1.value(), len(texts), chest_labeller.NAME, bounds.low, bounds.high)
            figures.append(figure)
    return Reading(tuple(figures), rate=rate)


def of_mesh(codes: str) -> list[int]:
    """Codes of labels, in the order of `LABELS`, of the MeSH codes of one report, separated by semicolons."""
    named = [code.strip() for code in codes.lower().split(";")]
    found = {label for label, patterns in MESH.items() if any(re.match("|".join(patterns), code) for code in named)}
    if not found - {chest_labeller.DEVICES}:
        found.add(chest_labeller.NO_FINDING)
    return [POSITIVE if label in found else BLANK for label in LABELS]


def table(reading: Reading) -> str:
    """A line for each figure and each error."""
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
    return len(stated), _differences(should, present)


def _caption_errors(row: dict[str, str]) -> tuple[int, list[str]]:
    stated = set(row["terms"].split("; "))
    found = {("no " if entity.denied else "") + entity.term for entity in pathology_entities.entities(row["caption"])}
    return len(stated), _differences(stated, found)


def _differences(stated: set[str], found: set[str]) -> list[str]:
    return [*(f"missed {term}" for term in stated - found), *(f"found {term} wrongly" for term in found - stated)]


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def _one(folder: Path, name: str) -> Path:
    found = sorted(folder.rglob(name))
    if len(found) != 1:
        raise UserError(f"{folder} holds {len(found)} files '{name}'; one is needed, in it or in a folder below")
    return found[0]
