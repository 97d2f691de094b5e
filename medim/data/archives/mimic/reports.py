"""The report of a MIMIC-CXR study: found at its place, taken apart, one text chosen; and counts of how that went."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medim.common.errors import UserError
from medim.data.archives.archive import Excluded, Loss
from medim.data.archives.fields import report_in
from medim.data.archives.mimic.tables import read_exceptions
from medim.data.archives.sections import HOWS, deidentified, parse
from medim.data.archives.tables import decoded

EXCEPTION = "exception"
_OFTEN = 10  # a heading that stands in so many reports is a form's, not a patient's: it may be named in a manifest


@dataclass(frozen=True)
class Report:
    """What a study's report gives each of its images: the text chosen, all sections, and how it parsed (`Parsed.how`)."""

    text: str
    sections: dict[str, str]
    how: str


class ReportReader:
    """Reads the reports of studies, and counts each study once. `bases`: folders with `p10/p10000032/s50414267.txt`. `section`,
    `fallback`: see `Parsed.text`. `underscores`: see `deidentified`. `exceptions`: a file for `read_exceptions`, or None."""

    def __init__(self, bases: list[Path], section: str, fallback: bool, underscores: str, exceptions: Path | None) -> None:
        self.bases, self.section, self.fallback, self.underscores = bases, section, fallback, underscores
        self.exceptions = exceptions
        self._by_hand = read_exceptions(exceptions) if exceptions else {}
        self._last: tuple[int, Report | Loss | Excluded] | None = None
        self._seen: set[int] = set()
        self._how, self._sections, self._unknown = Counter[str](), Counter[str](), Counter[str]()
        self._partly = 0

    def report(self, study: int, folder: str) -> Report | Loss | Excluded:
        """The report of a study that lies in `folder` (`p10/p10000032/s50414267`); read once for images in a row."""
        if self._last is None or self._last[0] != study:
            self._last = (study, self._read(study, folder))
            self._seen.add(study)
        return self._last[1]

    def facts(self) -> dict[str, Any]:
        """Studies by how their reports parsed, by section, and what the tables did not know."""
        studies = sum(self._how.values())
        return {
            "studies": studies,
            "by": {how: self._how[how] for how in (*HOWS, EXCEPTION)},
            "share": {how: round(self._how[how] / max(studies, 1), 6) for how in (*HOWS, EXCEPTION)},
            "sections": dict(self._sections.most_common()),
            "headed_with_unheaded_paragraphs": self._partly,
            "headings_without_canonical_name": {name: n for name, n in self._unknown.most_common(20) if n >= _OFTEN},
            "exceptions_unused": sorted(f"s{study}" for study in self._by_hand.keys() - self._seen),
        }

    def _read(self, study: int, folder: str) -> Report | Loss | Excluded:
        paths = [base / f"{folder}.txt" for base in self.bases]
        path = next((path for path in paths if path.exists()), None)
        if path is None:
            return Loss(f"s{study}", f"report '{paths[0]}' does not exist")
        try:
            text = decoded(path.read_bytes(), f"report '{path}' cannot be read: ")
            report_in(text, f"report '{path}'")
        except OSError as error:
            return Loss(f"s{study}", f"report '{path}' cannot be read: {error}")
        except UserError as error:
            return Loss(f"s{study}", str(error))
        parsed = parse(text)
        sections, how = dict(parsed.sections), parsed.how
        wanted = parsed.text(self.section, self.fallback)
        if study in self._by_hand:
            how = EXCEPTION
            section, span = self._by_hand[study]
            wanted = " ".join(text[slice(*span)].split()) if span else parsed.text(section)
            if span and wanted:
                sections[section] = wanted
        if study not in self._seen:
            self._how[how] += 1
            self._sections.update(sections.keys())
            self._unknown.update(set(parsed.unknown))
            self._partly += parsed.how == "heading" and parsed.unheaded > 0
        if not wanted and how == EXCEPTION:
            return Loss(f"s{study}", f"{self.exceptions} takes '{self._by_hand[study][0]}', which '{path}' does not have")
        if not wanted:
            missing = {"both": "findings or impression section", "report": "text"}
            return Excluded(f"no {missing.get(self.section, f'{self.section} section')}")
        wanted = deidentified(wanted, self.underscores)
        if not wanted:
            return Excluded("nothing but de-identification marks")
        texts = {name: deidentified(section, self.underscores) for name, section in sections.items()}
        return Report(wanted, {name: section for name, section in texts.items() if section}, how)
