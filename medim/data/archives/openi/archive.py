"""Indiana University chest X-rays (Open-i): the reports as XML or as the common CSV files, with a folder of PNG files."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

from PIL import Image
from pydantic import Field

from medim.common.errors import UserError
from medim.data.archives.archive import EntryArchive, Excluded, FractionOptions, Loss, Record, WholeOptions, fewer
from medim.data.archives.fields import inside, one_line, pair_fields
from medim.data.archives.openi.reports import PROJECTIONS, REPORTS, Picture, Report, csv_reports, key_of, views_of, xml_reports

_SECTIONS = {"findings": ("findings",), "impression": ("impression",), "both": ("findings", "impression")}
_WHOLE = {"xml": 3_955, "csv": 3_851}  # reports of the whole archive
_IMAGES = ("NLMCXR_png", "images/images_normalized", "images_normalized", "images", "png")


class OpenIOptions(FractionOptions, WholeOptions):
    form: Literal["auto", "xml", "csv"] = Field("auto", description="Where the reports are read; auto: XML where there is any.")
    section: Literal["findings", "impression", "both"] = Field(
        "both", description="The report: one section, or findings then impression (either, where one is missing)."
    )
    views: Literal["all", "frontal", "lateral"] = Field("all", description="Views taken; they stand in the CSV of projections.")
    study: Literal["all", "first"] = Field("all", description="Every image (of those views) of a study, or its first.")
    xxxx: Literal["keep", "drop", "mask"] = Field(
        "keep", description="The mark of de-identification, XXXX: kept, dropped with the word it is part of, or as [deid]."
    )
    images: str = Field("", description="Folder of the pictures, relative to root; without it the usual names are tried.")
    val: float = Field(0.1, ge=0, le=1, description="Share of the patients in val.")
    test: float = Field(0.2, ge=0, le=1, description="Share of the patients in test.")


class OpenI(EntryArchive):
    """Indiana University's reports and pictures, as Open-i gives them out and as they are passed on.

    * XML: `ecgen-radiology/*.xml` (of NLMCXR_reports.tgz) and `NLMCXR_png/*.png`.
    * CSV: `indiana_reports.csv`, `indiana_projections.csv` and `images/images_normalized/*.dcm.png`.

    Each may lie in `root` or one folder below. Ids, patients (`CXR` and the uid) and so the splits are the same for both.
    The archive has no official split: patients are drawn, by default 7:1:2 as R2Gen's. It has no finding labels:
    what was indexed by hand and by machine stands in `mesh` and `mesh_automatic` (XML) or `mesh` and `problems` (CSV).
    """

    name: ClassVar[str] = "openi"
    terms: ClassVar[str] = "CC BY-NC-ND 4.0 (Open-i, Indiana University)"
    Options: ClassVar[type[OpenIOptions]] = OpenIOptions
    options: OpenIOptions

    def __init__(self, root: Path, options: OpenIOptions) -> None:
        super().__init__(root, options)
        xml, reports, projections = _find(root, "ecgen-radiology"), _find(root, REPORTS), _find(root, PROJECTIONS)
        if xml is None and any(root.glob("*.xml")):
            xml = root
        form = options.form if options.form != "auto" else "xml" if xml is not None or reports is None else "csv"
        if form == "xml" and xml is None:
            raise UserError(f"openi: '{root}' holds neither ecgen-radiology/*.xml nor {REPORTS}")
        if form == "csv" and (reports is None or projections is None):
            raise UserError(f"openi: '{root}' holds no {REPORTS if reports is None else PROJECTIONS}")
        if options.views != "all" and projections is None:
            raise UserError(f"openi: the XML files do not tell views; views={options.views} needs {PROJECTIONS} in '{root}'")
        self.form, self._xml, self._reports, self._projections = form, xml, reports, projections
        self.images = _images(root, options.images)

    def entries(self) -> Iterator[tuple[str, Any] | Loss | Excluded]:
        if self.form == "csv":
            assert self._reports is not None
            assert self._projections is not None
            found = csv_reports(self._reports, self._projections)
        else:
            assert self._xml is not None
            found = xml_reports(self._xml, views_of(self._projections) if self._projections is not None else {})
        for report in found:
            if isinstance(report, Report):
                self.counts["reports"] += 1
                self.counts.update(f"reports with {name}" for name in report.sections)
            yield report if isinstance(report, Loss) else ("", report)

    def image(self, source: Any) -> Image.Image:
        names = _file_names(source)
        return super().image(next((name for name in names if (self.images / name).is_file()), names[0]))

    def shortfall(self) -> list[Loss]:
        """Reports read beside those that Open-i gives out, or that the common CSV files hold."""
        where = f"'{self._xml if self.form == 'xml' else self._reports}'"
        return [] if self.options.part else fewer("reports", self.counts["reports"], _WHOLE[self.form], where)

    def facts(self) -> dict[str, Any]:
        """`form`; `reports` and those with each section; `images`, the folder used; `split`, how it was drawn."""
        below = self.images.is_relative_to(self.root)
        return {
            "form": self.form,
            **{name: count for name, count in self.counts.items() if name != "unstated"},
            "images": str(self.images.relative_to(self.root) if below else self.images),
            "split": self.options.drawn(),
        }

    def pairs(self, value: Report) -> Iterator[Record | Loss | Excluded]:
        sections = {name: text for name, raw in value.sections.items() if (text := self._marked(raw))}
        parts = [sections[name] for name in _SECTIONS[self.options.section] if name in sections]
        if not value.pictures:
            yield Excluded("report without an image")
        taken = 0
        patient = f"CXR{value.uid}"
        for picture in value.pictures:
            identity = self.unique(key_of(picture.name))
            if not parts and value.words:
                words = "', '".join(value.words)
                yield Loss(identity, f"findings and impression hold no more than '{words}', which stands for missing text")
                continue
            if (reason := self._left_out(picture, parts, taken)) is not None:
                yield Excluded(reason)
                continue
            try:
                source = inside(picture.name)
            except UserError as error:
                yield Loss(identity, str(error))
                continue
            taken += 1
            fields = pair_fields(
                id=identity,
                report=" ".join(parts),
                split=self.options.drawn_split(patient),
                patient=patient,
                study=patient,
                domain="chest-xray",
                terms=self.terms,
                view=picture.view,
                sections=sections,
                caption=picture.caption,
                **value.extra,
            )
            yield Record(fields, source)

    def _left_out(self, picture: Picture, parts: list[str], taken: int) -> str | None:
        if not parts:
            wanted = self.options.section
            return "neither findings nor impression" if wanted == "both" else f"no {wanted} section"
        if self.options.views != "all" and picture.view != self.options.views:
            return f"view: {picture.view or 'not known'}"
        return "not the first image of its study" if taken and self.options.study == "first" else None

    def _marked(self, text: str) -> str:
        """A section on one line, after the policy for XXXX."""
        if self.options.xxxx == "drop":
            return without_marks(text)
        return one_line(re.sub("X{4,}", "[deid]", text) if self.options.xxxx == "mask" else text)


def without_marks(text: str) -> str:
    """The text without XXXX, the words that it is part of (`x-XXXX`) and the punctuation that is left alone.

    >>> without_marks("Midline sternotomy XXXX. XXXX XXXX XXXX. Normal chest x-XXXX (XXXX), XXXX/XXXX.")
    'Midline sternotomy. Normal chest.'
    """
    text = re.sub(r"[^\s.,;:()<>/]*X{4,}[^\s.,;:()<>/]*", "\0", one_line(text))
    while "\0" in text:
        text = _GAP.sub(_closed, text, count=1)
    return text.lstrip(" .,;:").rstrip(" ,;:")


_GAP = re.compile(r"([.,;:(]?)\s*[/<>]*\0[\s\0/<>]*([.,;:)]?)")


def _closed(gap: re.Match[str]) -> str:
    """What stays of the punctuation on both sides of a gap; empty brackets become a gap themselves."""
    before, after = gap[1], gap[2]
    if before == "(":
        return "\0" if after == ")" else "("
    if not before or not after:
        return after or before + " "
    return ")" if after == ")" else "." if "." in before + after else after


def _find(root: Path, name: str) -> Path | None:
    """The file or folder of a name in root, or one folder below (the first by name)."""
    return next((path for path in [root / name, *sorted(root.glob(f"*/{name}"))] if path.exists()), None)


def _images(root: Path, given: str) -> Path:
    if given:
        if not (root / given).is_dir():
            raise UserError(f"openi: '{root / given}' is no folder (option images)")
        return root / given
    for folder in (found for name in _IMAGES if (found := _find(root, name)) is not None):
        if any(folder.glob("*.png")):
            return folder
    if any(root.glob("*.png")):
        return root
    raise UserError(f"openi: no folder of PNG files in '{root}' ({', '.join(_IMAGES)}); name it with images=...")


def _file_names(name: str) -> list[str]:
    """The names that a picture may have: as stated, then that of the other form (PNG of Open-i, or of the CSV's source)."""
    key = key_of(name)
    uid, separator, rest = key.removeprefix("CXR").partition("_")
    stated = name if name.lower().endswith(".png") else f"{name}.png"
    others = [f"{key}.png", f"CXR{uid}_{uid}_{rest}.png", f"{uid}_{rest}.dcm.png"] if separator else []
    return list(dict.fromkeys([stated, *others]))
