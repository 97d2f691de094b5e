"""Reports without images: a folder with `reports.jsonl`, to score what other systems wrote where the images cannot be had."""

from functools import cached_property
from pathlib import Path
from typing import Any

from PIL import Image

from medim.common.errors import UserError, unknown
from medim.common.files import hash_of
from medim.common.json_lines import numbered_lines, parse_line
from medim.data.dataset import Checker, Keys
from medim.data.sources.pairs_file import NOT_STATED
from medim.pair import SPLITS, ImageReportPair

FILE = "reports.jsonl"
REQUIRED = ("id", "report", "split")
OPTIONAL = ("patient", "study", "domain", "terms", "view")


def holds_reports_only(path: Path) -> bool:
    """Whether a path is a `reports.jsonl`, or a folder with one and without pairs."""
    return path.name == FILE or ((path / FILE).is_file() and not (path / "pairs.jsonl").exists())


class ReportsOnly:
    """Reports of a folder, in the order of the file's lines. Their pairs bear a single black pixel in an image's place.

    Each line of `reports.jsonl` is a JSON object as in `pairs.jsonl`, without `image`: `id` (unique), `report` and `split`;
    optional `study` (default: the id), `patient` (default: the study), `domain`, `view`, `terms`, `findings`. It serves report
    generation alone, scored from a folder of predictions. The file is kept in memory.

    Args:
        path: the folder, or the file in it.

    Raises:
        UserError: a mistake in the file, by line and field, or a patient in two splits.
    """

    synthetic = False

    def __init__(self, path: str | Path) -> None:
        path = Path(path)
        self.file = path if path.name == FILE else path / FILE
        self.name = self.file.parent.resolve().name
        self._rows: dict[str, list[dict[str, Any]]] = {split: [] for split in SPLITS}
        every = _rows(self.file)
        for row in every:
            self._rows[row["split"]].append(row)
        self.terms = "; ".join(dict.fromkeys(row.get("terms") or NOT_STATED for row in every))
        self.domains = tuple(dict.fromkeys(row["domain"] for row in every if row.get("domain")))

    @cached_property
    def fingerprint(self) -> str:
        """Hash over every line's content."""
        return hash_of(self._rows)

    def size(self, split: str) -> int:
        """Number of reports of a split; a UserError where there is no such split."""
        if split not in self._rows:
            raise unknown("split", split, SPLITS)
        return len(self._rows[split])

    def pair(self, split: str, index: int) -> ImageReportPair:
        """The report at `index` (0-based) of a split; an IndexError outside it."""
        row, keys = self._row(split, index), self.keys(split, index)
        return ImageReportPair(
            id=keys.id,
            image=Image.new("RGB", (1, 1)),
            report=row["report"],
            split=split,
            study=keys.study,
            patient=keys.patient,
            view=row.get("view"),
            domain=row.get("domain"),
            findings=None if row.get("findings") is None else tuple(row["findings"]),
            terms=row.get("terms"),
        )

    def keys(self, split: str, index: int) -> Keys:
        """Id, study and patient of `pair(split, index)`."""
        row = self._row(split, index)
        study = row.get("study") or row["id"]
        return Keys(row["id"], study, row.get("patient") or study)

    def image_checker(self) -> Checker | None:
        """None: there are no images."""
        return None

    def report_checker(self) -> Checker | None:
        """None: nothing reads findings from the reports of an arbitrary folder."""
        return None

    def _row(self, split: str, index: int) -> dict[str, Any]:
        if not 0 <= index < self.size(split):
            raise IndexError(f"'{self.name}' has {self.size(split)} reports in split '{split}': there is no number {index}")
        return self._rows[split][index]


def _rows(file: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    first: dict[str, int] = {}
    split_of: dict[str, tuple[str, int]] = {}
    for number, data in numbered_lines(file):
        where = f"{file}:{number}"
        row = _parsed(where, data)
        if row["id"] in first:
            raise UserError(f"{where}: id '{row['id']}' stands in line {first[row['id']]} already")
        first[row["id"]] = number
        patient = row.get("patient") or row.get("study") or row["id"]
        split, line = split_of.setdefault(patient, (row["split"], number))
        if split != row["split"]:
            raise UserError(f"{where}: patient '{patient}' is in split '{row['split']}' here and in '{split}' in line {line}")
        rows.append(row)
    if not rows:
        raise UserError(f"{file}: holds no reports")
    return rows


def _parsed(where: str, data: bytes) -> dict[str, Any]:
    try:
        row = parse_line(data)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    if not isinstance(row, dict):
        raise UserError(f"{where}: a JSON object is needed")
    if row.get("image") is not None:
        raise UserError(f"{where}: field 'image' belongs into pairs.jsonl; {FILE} is for reports whose images are not here")
    for field in (*REQUIRED, *OPTIONAL):
        value = row.get(field)
        if field in REQUIRED and (not isinstance(value, str) or not value.strip()):
            raise UserError(f"{where}: field '{field}' " + ("is missing" if field not in row else "must be a text, not empty"))
        if value is not None and not isinstance(value, str):
            raise UserError(f"{where}: field '{field}' must be a string")
    findings = row.get("findings")
    if findings is not None and not (isinstance(findings, list) and all(isinstance(item, str) for item in findings)):
        raise UserError(f"{where}: field 'findings' must be a list of strings")
    if row["split"] not in SPLITS:
        raise UserError(f"{where}: {unknown('split', row['split'], SPLITS)}")
    return row
