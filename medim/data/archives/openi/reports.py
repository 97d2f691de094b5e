"""The reports of Indiana University: from Open-i's XML files, or from the two CSV files that are passed on."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

from medim.common.errors import UserError
from medim.data.archives.archive import Loss
from medim.data.archives.fields import missing_word, one_line, written
from medim.data.archives.tables import read_table

REPORTS, PROJECTIONS = "indiana_reports.csv", "indiana_projections.csv"
SECTIONS = ("findings", "impression", "indication", "comparison")


@dataclass(frozen=True)
class Picture:
    """One image of a report: the name that the source gives it, its view (`frontal`, `lateral`) and caption where stated."""

    name: str
    view: str | None = None
    caption: str | None = None


@dataclass(frozen=True)
class Report:
    """One report, which is one study of one patient."""

    uid: str  # Indiana's number, without `CXR`
    sections: dict[str, str]  # those of `SECTIONS` that have text, as the source writes it
    pictures: tuple[Picture, ...]  # in the source's order
    extra: dict[str, list[str]] = field(default_factory=dict)  # indexed terms, as lists of text
    words: tuple[str, ...] = ()  # those that stand for missing text in findings and impression


def key_of(name: str) -> str:
    """One name for a picture in both forms.

    >>> key_of("CXR1_1_IM-0001-3001"), key_of("1_IM-0001-3001.dcm.png"), key_of("CXR2_IM-0652-1001.png")
    ('CXR1_IM-0001-3001', 'CXR1_IM-0001-3001', 'CXR2_IM-0652-1001')
    """
    stem = re.sub(r"(\.dcm)?(\.png)?$", "", name, flags=re.IGNORECASE)
    match = re.fullmatch(r"(?:CXR)?(\d+)_(?:\1_)?(IM-.+)", stem)
    return f"CXR{match[1]}_{match[2]}" if match else stem


def xml_reports(folder: Path, views: Mapping[str, str]) -> Iterator[Report | Loss]:
    """The reports of `folder/*.xml` by growing number; `views` by `key_of`, as the XML does not state them.
    Raises UserError: there is no XML file."""
    files = sorted(folder.glob("*.xml"), key=lambda path: (int(path.stem) if path.stem.isdecimal() else 10**9, path.name))
    if not files:
        raise UserError(f"openi: '{folder}' holds no *.xml")
    seen: dict[str, str] = {}
    for file in files:
        try:
            tree = ElementTree.parse(file).getroot()  # expat resolves no outside entity and refuses explosions of inner ones
        except ElementTree.ParseError as error:
            yield Loss(file.name, f"broken XML: {error}")
            continue
        except (OSError, ValueError, LookupError) as error:
            yield Loss(file.name, f"cannot be read: {error}")
            continue
        report = _of_tree(tree, views)
        if not report.uid:
            yield Loss(file.name, "has no <uId id=...>")
        elif report.uid in seen:
            yield Loss(file.name, f"a second report of uid CXR{report.uid}; the first is {seen[report.uid]}")
        else:
            seen[report.uid] = file.name
            yield report


def csv_reports(reports: Path, projections: Path) -> Iterator[Report | Loss]:
    """The reports of the CSV file in its order, each with its pictures of the other file, in that one's order."""
    pictures: dict[str, list[Picture]] = {}
    named: dict[str, int] = {}  # the line of each picture
    for entry in read_table(projections, ("uid", "filename", "projection")):
        if isinstance(entry, Loss):
            yield entry
            continue
        row = entry.cells
        view, name = written(row["projection"]).lower() or None, row["filename"].strip()
        if (first := named.setdefault(key_of(name), entry.line)) != entry.line:
            yield Loss(f"{projections.name}:{entry.line}", f"picture '{name}' stands on line {first} already")
            continue
        pictures.setdefault(_uid(row["uid"]), []).append(Picture(name, view))
    seen: dict[str, int] = {}
    for entry in read_table(reports, ("uid", "findings", "impression")):
        if isinstance(entry, Loss):
            yield entry
            continue
        row, uid = entry.cells, _uid(entry.cells["uid"])
        if not uid:
            yield Loss(f"{reports.name}:{entry.line}", "column 'uid' is empty")
        elif uid in seen:
            yield Loss(f"{reports.name}:{entry.line}", f"a second report of uid {uid}; the first is on line {seen[uid]}")
        else:
            seen[uid] = entry.line
            caption = one_line(written(row.get("image"))) or None
            shown = tuple(Picture(picture.name, picture.view, caption) for picture in pictures.pop(uid, []))
            sections = {name: text for name in SECTIONS if (text := written(row.get(name)))}
            words = tuple(dict.fromkeys(word for name in SECTIONS[:2] if (word := missing_word(row[name]))))
            extra = {
                field: [item for part in written(row.get(column)).split(";") if (item := one_line(part))]
                for field, column in (("mesh", "MeSH"), ("problems", "Problems"))
            }
            yield Report(uid, sections, shown, {name: items for name, items in extra.items() if items}, words)
    for uid, left in pictures.items():
        for picture in left:
            yield Loss(picture.name, f"{reports.name} has no report of uid '{uid}'")


def views_of(projections: Path) -> dict[str, str]:
    views = {}
    for row in read_table(projections, ("filename", "projection")):
        if isinstance(row, Loss):
            raise UserError(f"{projections.parent / row.item}: {row.reason}")
        views[key_of(row.cells["filename"].strip())] = written(row.cells["projection"]).lower()
    return views


def _of_tree(tree: ElementTree.Element, views: Mapping[str, str]) -> Report:
    """The report of one XML file; its uid is empty where the file has none."""
    sections: dict[str, str] = {}
    words: list[str] = []
    for element in tree.iter("AbstractText"):
        name, text = (element.get("Label") or "").strip().lower(), "".join(element.itertext()).strip()
        if name in SECTIONS and missing_word(text):
            words.append(text)
        elif name in SECTIONS and text:
            sections[name] = f"{sections[name]} {text}" if name in sections else text
    pictures = tuple(
        Picture(name, views.get(key_of(name)), one_line(element.findtext("caption") or "") or None)
        for element in tree.iter("parentImage")
        if (name := (element.get("id") or "").strip())
    )
    extra = {
        field_name: [text for element in tree.iter(tag) if (text := one_line("".join(element.itertext())))]
        for field_name, tag in (("mesh", "major"), ("mesh_automatic", "automatic"))
    }
    identity = tree.find(".//uId")
    uid = _uid(identity.get("id") or "") if identity is not None else ""
    return Report(uid, sections, pictures, {name: terms for name, terms in extra.items() if terms}, tuple(words))


def _uid(text: str) -> str:
    """Indiana's number, whether it is written `CXR12` or `12`."""
    return text.strip().removeprefix("CXR")
