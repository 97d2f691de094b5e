"""MIMIC-CXR-JPG and MIMIC-CXR (DICOM), as PhysioNet lays them out."""

import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Literal

from PIL import Image
from pydantic import Field, field_validator

from medim.common.errors import UserError, unknown
from medim.data.archives.archive import Archive, Excluded, Loss, Record, WholeOptions, fewer
from medim.data.archives.fields import known_split, pair_fields
from medim.data.archives.mimic import tables
from medim.data.archives.mimic.reports import ReportReader
from medim.imaging.dicom import read_dicom
from medim.imaging.images import read_image

FRONTAL = ("PA", "AP")
EXPECTED = {
    "official": {"train": 368_960, "val": 2_991, "test": 5_159},
    "r2gen": {"train": 270_790, "val": 2_130, "test": 3_858},
}
"""Images of each split: of the archive (377,110 in all), and of R2Gen's annotation as its authors give it."""
RELEASED_OPENING = "The image is a radiograph of the chest, showing the thoracic cavity structures. "
_PROBED = 50
_IMAGE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class MimicOptions(WholeOptions):
    split: Literal["official", "r2gen"] = Field(
        "official", description="The archive's own split, or that of R2Gen's annotation.json (needs `annotation`)."
    )
    annotation: Path | None = Field(None, description="R2Gen's annotation.json: its images, and their splits.")
    views: str = Field("all", description="all, frontal (PA and AP), or view positions with commas (PA,LATERAL).")
    study: Literal["all", "first"] = Field(
        "all", description="All images of a study, or the first that `views` leaves, in the order of the split table."
    )
    section: Literal["findings", "impression", "both", "report"] = Field(
        "both",
        description="The text: findings; impression; both (findings, then impression, or the one there is; else `fallback`); "
        "or report: all of the final report with its headings, but no wet read, addendum, title or examination.",
    )
    fallback: bool = Field(
        True, description="section=both: take the last paragraph of a report that has neither heading; false leaves it out."
    )
    underscores: Literal["keep", "drop", "mask"] = Field(
        "keep", description="The ___ of de-identification, in every text: keep, drop (and tidy what is left), mask ([deid])."
    )
    opening: Literal["none", "released"] = Field(
        "none", description="released: every report begins with the constant sentence of the MeDiM authors' texts."
    )
    labels: Literal["auto", "chexpert", "negbio", "none"] = Field(
        "auto", description="The table that findings come from; auto is chexpert where the table is there, else none."
    )
    uncertain: Literal["positive", "negative", "omit"] = Field(
        "omit", description="A label of -1 goes into findings, into absent_findings, or into neither."
    )
    folders: str = Field("all", description="all, or folders of patients with commas (p10,p11): for a part of the archive.")
    reports: Path | None = Field(None, description="Where the reports lie, if not under the root.")
    exceptions: Path | None = Field(
        None, description="CSV with columns study, section (and start, end): reports whose text is another section or range."
    )

    @field_validator("folders")
    @classmethod
    def _are_folders(cls, value: str) -> str:
        if value != "all" and not all(re.fullmatch(r"\s*p\d\d\s*", name) for name in value.split(",")):
            raise ValueError(f"'{value}' is neither all nor names like p10,p11")
        return value


class MimicCxr(Archive):
    """MIMIC-CXR: chest radiographs of 65,379 patients with their reports.

    `root` holds MIMIC-CXR-JPG, MIMIC-CXR or both, up to four levels below it: pictures
    `files/p10/p10000032/s50414267/<dicom_id>.jpg` (or `.dcm`, where there is no `.jpg`), reports
    `files/p10/p10000032/s50414267.txt`, and the tables `mimic-cxr*-split.csv`, `-metadata.csv` (needed to choose views) and
    `-chexpert.csv` or `-negbio.csv` (for findings), gzipped or not, of any version. Johnson et al., arXiv:1901.07042.

    Presets: `paper` is MeDiM's set, the official split with every view and every image. `r2gen` is the set of R2Gen's
    annotation with the findings as text (it lists images, not studies; `study=first` leaves the first of each study).
    `facts()` has the numbers listed beside those of `EXPECTED`.

    Each pair: `id` (dicom_id), `study`, `patient`, `view`, `sections` (all that the report has), `findings` (positive labels
    but "no finding", lower-case; absent where the study has no labels), `absent_findings` (negative ones), `labels` (all 14
    values as the table has them), `parsed_by` (`heading`, `last paragraph`, `none` or `exception`), `procedure`, `study_date`.
    """

    name = "mimic-cxr"
    terms = "PhysioNet Credentialed Health Data License 1.5.0 (MIMIC-CXR)"
    Options = MimicOptions
    options: MimicOptions
    presets: ClassVar = {
        "paper": {"split": "official", "views": "all", "study": "all", "section": "both"},
        "r2gen": {"split": "r2gen", "views": "all", "study": "all", "section": "findings"},
    }

    def __init__(self, root: Path, options: MimicOptions) -> None:
        super().__init__(root, options)
        places = tables.folders(root)
        self._bases = [place for place in places if tables.has_patients(place)]
        if not self._bases:
            raise UserError(f"mimic-cxr: '{root}' holds no folder of patients (files/p10/p10000032/s50414267/...)")
        self._report_bases = self._find_reports(root, places)
        if (split := tables.find_table(places, "split")) is None:
            raise UserError(f"mimic-cxr: no table mimic-cxr*-split.csv(.gz) under '{root}'; it is part of MIMIC-CXR-JPG")
        self._split = split
        self._metadata = tables.find_table(places, "metadata")
        if self._metadata is None and options.views != "all":
            raise UserError(f"mimic-cxr: views={options.views} needs a table mimic-cxr*-metadata.csv(.gz) under '{root}'")
        kind = "chexpert" if options.labels == "auto" else options.labels
        self._labels = None if kind == "none" else tables.find_table(places, kind)
        if self._labels is None and options.labels in ("chexpert", "negbio"):
            raise UserError(f"mimic-cxr: labels={kind} needs a table mimic-cxr*-{kind}.csv(.gz) under '{root}'")
        if options.split == "r2gen" and options.annotation is None:
            raise UserError("mimic-cxr: split=r2gen needs annotation=FILE, R2Gen's annotation.json of MIMIC-CXR")
        self._listed: Counter[str] = Counter()
        self._found: Counter[str] = Counter()
        self._reader: ReportReader | None = None

    def records(self) -> Iterator[Record | Loss | Excluded]:
        """In the order of the split table; images of the annotation that it does not know come last, as losses."""
        self._listed.clear()
        self._found.clear()
        options = self.options
        reader = ReportReader(self._report_bases, options.section, options.fallback, options.underscores, options.exceptions)
        self._reader = reader
        labels = tables.read_labels(self._labels) if self._labels else {}
        metadata = self._read_metadata()
        views = self._views({view for view, *_ in metadata.values()})
        annotation = tables.read_annotation(options.annotation) if options.split == "r2gen" and options.annotation else None
        annotated = len(annotation) if annotation is not None else 0
        taken: set[int] = set()  # studies of which an image is taken
        for image, study, subject, split in self._listing(annotation):
            view, procedure, date = metadata.get(image, ("", "", ""))
            group = f"p{str(subject)[:2]}"
            if split is None:
                yield Excluded("not in the annotation")
                continue
            if options.folders != "all" and group not in options.folders.replace(" ", "").split(","):
                yield Excluded("folder not requested")
                continue
            self._listed[split] += 1
            if views is not None and image not in metadata:
                yield Loss(image, f"not in {self._metadata}, so its view is not known")
                continue
            if views is not None and view not in views:
                yield Excluded(f"view {view or 'not stated'}")
                continue
            if options.study == "first" and study in taken:
                yield Excluded("not the first image of its study")
                continue
            taken.add(study)
            folder = f"{group}/p{subject}/s{study}"
            report = reader.report(study, folder)
            if isinstance(report, Loss | Excluded):
                yield Loss(image, report.reason) if isinstance(report, Loss) else report
                continue
            self._found[split] += 1
            fields = {
                "id": image,
                "report": (RELEASED_OPENING if options.opening == "released" else "") + report.text,
                "split": split,
                "patient": f"p{subject}",
                "study": f"s{study}",
                "domain": "chest-xray",
                "terms": self.terms,
                "sections": report.sections,
                "parsed_by": report.how,
                **pair_fields(view=view or None, procedure=procedure or None, study_date=date or None),
                **(self._findings(labels[study]) if study in labels else {}),
            }
            yield Record(fields, f"{folder}/{image}")
        if annotation:
            if len(annotation) == annotated:
                raise UserError(f"{options.annotation}: none of its images is in {self._split}: is it of another archive?")
            for image in annotation:
                yield Loss(image, f"in {options.annotation}, but not in {self._split}")

    def image(self, source: str) -> Image.Image:
        """The picture at `p10/p10000032/s50414267/<dicom_id>`: the JPEG, or where there is none the DICOM file."""
        for suffix, read in ((".jpg", read_image), (".dcm", read_dicom)):
            for base in self._bases:
                if (path := base / f"{source}{suffix}").exists():
                    return read(path)
        raise UserError(f"image '{self._bases[0] / source}.jpg' does not exist, nor does a .dcm")

    def shortfall(self) -> list[Loss]:
        """Images of the split table beside those of the whole archive, where the options leave none out."""
        expected = {} if self.options.part else self._expected() or {}
        table = self.options.annotation if self.options.split == "r2gen" else self._split
        lines = (fewer(f"images of {split}", self._listed[split], n, f"'{table}'") for split, n in expected.items())
        return [loss for line in lines for loss in line]

    def _expected(self) -> dict[str, int] | None:
        options = self.options
        whole = options.views == "all" and options.study == "all" and options.folders == "all"
        return EXPECTED[options.split] if whole else None

    def facts(self) -> dict[str, Any]:
        """Tables, images listed (beside the figures that the options lead one to expect) and found, how reports parsed."""
        return {
            "tables": {
                kind: path.name if path else None
                for kind, path in (("split", self._split), ("metadata", self._metadata), ("labels", self._labels))
            },
            "listed": dict(self._listed),
            "found": dict(self._found),
            "expected": self._expected(),
            "reports": self._reader.facts() if self._reader else None,
        }

    def __getstate__(self) -> dict[str, Any]:
        """Without what was counted: workers only read pictures, and get a copy with every piece of work."""
        return {**self.__dict__, "_reader": None}

    def _find_reports(self, root: Path, places: list[Path]) -> list[Path]:
        where = self.options.reports or root
        if self.options.reports is not None:
            if not where.is_dir():
                raise UserError(f"mimic-cxr: option 'reports': folder '{where}' does not exist")
            places = tables.folders(where)
        bases = [place for place in places if tables.has_patients(place) and _has_reports(place)]
        if not bases:
            packed = next((path for place in places for path in sorted(place.glob("mimic-cxr-reports*.zip"))), None)
            hint = f"unpack '{packed}'" if packed else "they are mimic-cxr-reports.zip of MIMIC-CXR; say where by reports=DIR"
            raise UserError(f"mimic-cxr: no reports (files/p10/p10000032/s50414267.txt) under '{where}': {hint}")
        return bases

    def _listing(self, annotation: dict[str, str] | None) -> Iterator[tuple[str, int, int, str | None]]:
        """(image, study, subject, split) of each row of the split table; an annotation's split instead, where there is one.
        Images found are taken out of the annotation; what it does not list has split None."""
        path = self._split
        for line, (image, study, subject, name) in tables.read_rows(path, ("dicom_id", "study_id", "subject_id", "split")):
            if not _IMAGE_ID.fullmatch(image):
                raise UserError(f"{path}:{line}: column 'dicom_id': '{image}' is no id of an image")
            split = known_split(name) if annotation is None else annotation.pop(image, None)
            if split is None and annotation is None:
                raise UserError(f"{path}:{line}: {unknown('split', name, ('train', 'validate', 'test'))}")
            numbers = tables.number(path, line, "study_id", study), tables.number(path, line, "subject_id", subject)
            yield image, *numbers, split

    def _read_metadata(self) -> dict[str, tuple[str, ...]]:
        """Image id -> view position, procedure, date of the study (shifted by the archive)."""
        if self._metadata is None:
            return {}
        optional = ("PerformedProcedureStepDescription", "StudyDate")
        rows = tables.read_rows(self._metadata, ("dicom_id", "ViewPosition"), optional)
        return {image: tuple(map(sys.intern, values)) for _, (image, *values) in rows}

    def _views(self, there: set[str]) -> set[str] | None:
        """The views that the options name; None for all. A UserError for one that the archive does not have."""
        if self.options.views in ("all", "frontal"):
            return set(FRONTAL) if self.options.views == "frontal" else None
        views = {view.strip().upper() for view in self.options.views.split(",")}
        for view in sorted(views - there):
            raise unknown("view", view, sorted(name for name in there if name))
        return views

    def _findings(self, values: Sequence[float | None]) -> dict[str, Any]:
        """`findings`, `absent_findings` and `labels` of one study; see `tables.read_labels`."""
        labels = dict(zip((name.lower() for name in tables.LABELS), values, strict=True))
        uncertain = {"positive": 1, "negative": 0, "omit": None}[self.options.uncertain]
        read = {name: uncertain if value == -1 else value for name, value in labels.items() if name != "no finding"}
        return {
            "findings": [name for name, value in read.items() if value == 1],
            "absent_findings": [name for name, value in read.items() if value == 0],
            "labels": labels,
        }


def _has_reports(base: Path) -> bool:
    """Whether one of the first patients' folders holds a report."""
    patients = (patient for group in sorted(base.glob("p[0-9][0-9]")) for patient in group.iterdir() if patient.is_dir())
    return any(path.suffix == ".txt" for patient in islice(patients, _PROBED) for path in patient.iterdir())
