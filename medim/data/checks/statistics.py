"""Numbers by split: pairs, texts, pictures and findings; and what in them deserves a word."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial
from operator import itemgetter
from typing import Any

import numpy as np

from medim.data.checks import texts
from medim.data.checks.reading import CLIPPED, DARK, FLAT, Tally, is_clipped, is_dark, is_flat
from medim.data.checks.report import LISTED, Issue, Severity, Table
from medim.data.sources.pairs_file import NOT_STATED

_COUNTS = ("pairs", "patients", "studies", "unreadable")
_MOST = 15  # findings, characters and kinds in a table


class Statistics:
    """What each split holds. `rows`: `reading.ROW` of every pair. `tallies`: by split. `lengths`: the model's lengths to hold
    reports against, in tokens where `unit` is "tokens", else in words. `resolution`: the model's; None where none is meant."""

    def __init__(
        self, rows: np.ndarray, tallies: dict[str, Tally], lengths: Sequence[int], unit: str, resolution: int | None
    ) -> None:
        self._tallies, self._lengths, self._unit, self._resolution = tallies, tuple(lengths), unit, resolution
        self._rows = {split: rows[rows["split"] == number] for number, split in enumerate(tallies)}

    @cached_property
    def numbers(self) -> dict[str, dict[str, Any]]:
        """Everything, JSON-able, by split."""
        return {split: self._numbers(self._rows[split], tally) for split, tally in self._tallies.items()}

    def _numbers(self, rows: np.ndarray, tally: Tally) -> dict[str, Any]:
        with_text, seen = rows[rows["report"] != 0], rows[rows["image"] != 0]
        reports, labelled = tally.of["reports"], tally.of["reports"]["labelled"]
        lengths = with_text[self._unit]
        return {
            "pairs": len(rows),
            "patients": len(np.unique(rows["patient"])),
            "studies": len(np.unique(rows["study"])),
            "unreadable": len(tally.failures),
            "reports": {
                "missing": reports["missing"],
                "empty": reports["empty"],
                f"under {texts.VERY_SHORT} words": reports["short"],
                "words": _spread(with_text["words"]),
                "tokens": _spread(with_text["tokens"]) if self._unit == "tokens" else None,
                "vocabulary": len(tally.of["vocabulary"]),
                "longer": {str(most): float(np.mean(lengths > most)) if len(with_text) else 0.0 for most in self._lengths},
                "longer in": self._unit,
                "unusual characters": {texts.named(c): n for c, n in _ranked(tally.of["characters"])},
                "damaged": {kind: len(ids) for kind, ids in sorted(tally.damaged.items())},
            },
            "images": {
                "width": _spread(seen["width"]),
                "height": _spread(seen["height"]),
                "aspect": _spread(seen["width"] / np.maximum(seen["height"], 1)),
                "kinds": dict(_ranked(tally.of["kinds"])),
                "colour": int(seen["colour"].sum()),
                "nearly empty": int(is_flat(seen).sum()),
                "nearly black": int(is_dark(seen).sum()),
                "cut by a DICOM window": int(is_clipped(seen).sum()),
            },
            "labelled": labelled,
            "findings": {name: count / labelled for name, count in _ranked(tally.of["findings"])} if labelled else {},
            "domains": dict(_ranked(tally.of["domains"])),
            "views": dict(_ranked(tally.of["views"])),
            "terms": dict(_ranked(tally.of["terms"])),
        }

    def tables(self) -> Iterator[Table]:
        numbers, unit = list(self.numbers.values()), self._unit

        def table(title: str, cells: dict[str, Callable[[dict[str, Any]], Any]]) -> Table:
            return Table(title, tuple((f"  {name}", tuple(str(cell(n)) for n in numbers)) for name, cell in cells.items()))

        yield table("pairs", {("read" if key == "pairs" else key): itemgetter(key) for key in _COUNTS})
        if any(rows["report"].any() for rows in self._rows.values()):
            cells: dict[str, Callable[[dict[str, Any]], Any]] = {
                "missing or empty": lambda n: n["reports"]["missing"] + n["reports"]["empty"],
                "words: median (5-95 %, most)": lambda n: _laid_out(n["reports"]["words"]),
            }
            if unit == "tokens":
                cells["tokens: median (5-95 %, most)"] = lambda n: _laid_out(n["reports"]["tokens"])
            cells["vocabulary"] = lambda n: n["reports"]["vocabulary"]
            cells |= {f"longer than {most} {unit}": partial(_share_longer, most=most) for most in self._lengths}
            yield table("reports", cells)
        cells = {
            "width: median (5-95 %, most)": lambda n: _laid_out(n["images"]["width"]),
            "height: median (5-95 %, most)": lambda n: _laid_out(n["images"]["height"]),
            "in colour": lambda n: n["images"]["colour"],
        }
        yield table("pictures", cells)
        for title, key in (("file kinds", "kinds"), ("domains", "domains"), ("views", "views"), ("terms", "terms")):
            counts = [n["images"]["kinds"] if key == "kinds" else n[key] for n in numbers]
            names = _most(counts)
            if key == "kinds" or names not in ([], [NOT_STATED]):
                yield Table(title, tuple((f"  {name}", tuple(str(c.get(name, 0)) for c in counts)) for name in names))
        findings = [n["findings"] for n in numbers]
        if names := _most(findings):
            rows = [(f"  {name}", tuple(f"{f.get(name, 0):.1%}" for f in findings)) for name in names]
            labelled = table("", {"pairs with labels": itemgetter("labelled")}).rows
            yield Table("prevalence of findings", (*rows, *labelled))

    def issues(self, named: Callable[[str, int], str]) -> Iterator[Issue]:
        """What deserves a word; `named(split, index)` gives the id of a pair."""

        def flagged(
            severity: Severity, kind: str, message: str, flag: Callable[[np.ndarray], np.ndarray], advice: str = ""
        ) -> Iterator[Issue]:
            """The issue of the pairs whose rows are flagged, where there are any; `{n}` of the message is their number."""
            found = [(split, int(row["index"])) for split, rows in self._rows.items() for row in rows[flag(rows)]]
            if found:
                examples = tuple(f"{split} '{named(split, index)}'" for split, index in found[:LISTED])
                yield Issue(severity, kind, message.format(n=len(found)), examples, advice)

        reports = [n["reports"] for n in self.numbers.values()]
        missing, empty = sum(n["missing"] for n in reports), sum(n["empty"] for n in reports)
        if missing == sum(map(len, self._rows.values())):
            yield Issue("note", "images-only", "no pair has a report: the set serves image tokenizers and image metrics only")
        elif missing + empty:
            message = f"{missing} reports are missing and {empty} are empty"
            advice = "drop these pairs, or give them a text"
            yield from flagged("warning", "empty-reports", message, lambda rows: rows["report"] == 0, advice)
        yield from flagged(
            "note",
            "short-reports",
            f"{{n}} reports have under {texts.VERY_SHORT} words",
            lambda rows: (rows["report"] != 0) & (rows["words"] < texts.VERY_SHORT),
        )
        yield from self._damaged()
        for most in self._lengths if self._unit == "tokens" else ():
            cut = {split: (rows["tokens"] > most).sum() / max(len(rows), 1) for split, rows in self._rows.items()}
            shares = ", ".join(f"{split} {share:.1%}" for split, share in cut.items())
            message = f"longer than the model's {most} tokens, the end included: {shares}"
            advice = "training sees only their beginning; references are never cut"
            yield from flagged("warning", "truncated-reports", message, partial(_is_longer, most=most), advice)
        message = f"{{n}} pictures are nearly empty (standard deviation below {FLAT:g} of 255 levels)"
        yield from flagged("warning", "flat-images", message, is_flat, "drop them")
        message = f"{{n}} pictures are nearly black (99.5 % of the pixels below {DARK} of 255)"
        advice = "12-bit values in a 16-bit file? write them over the full range"
        yield from flagged("warning", "dark-images", message, is_dark, advice)
        message = f"{{n}} DICOM windows cut off over {CLIPPED:.0%} of the pixels"
        yield from flagged("warning", "clipped-images", message, is_clipped, "the files' own choice: look at them")
        if (side := self._resolution) is not None:
            message = f"{{n}} pictures are smaller than {side} pixels and would be enlarged"
            yield from flagged("warning", "small-images", message, partial(_is_smaller, side=side))
        yield from self._of_the_whole()

    def _damaged(self) -> Iterator[Issue]:
        counts = Counter[str]()
        examples: list[str] = []
        for split, tally in self._tallies.items():
            counts.update({kind: len(names) for kind, names in tally.damaged.items()})
            examples += [f"{split} '{name}': {kind}" for kind, names in sorted(tally.damaged.items()) for name in names]
        if counts:
            message = ", ".join(f"{kind} in {count} reports" for kind, count in _ranked(counts))
            yield Issue("warning", "damaged-text", message, tuple(examples[:LISTED]), "mend the encoding at the source")

    def _of_the_whole(self) -> Iterator[Issue]:
        """Findings, characters and terms."""
        train = self.numbers.get("train", {"findings": {}, "labelled": 0})
        held_out = {name for split, n in self.numbers.items() if split != "train" for name in n["findings"]}
        unseen = sorted(held_out - set(train["findings"]))
        if unseen and train["labelled"]:
            message = f"{len(unseen)} findings of held-out splits never occur in training: {', '.join(unseen[:_MOST])}"
            yield Issue("note", "unseen-findings", message)
        characters = sum((tally.of["characters"] for tally in self._tallies.values()), Counter[str]())
        if characters:
            most = ", ".join(f"{texts.named(c)} {n}x" for c, n in _ranked(characters)[:8])
            yield Issue("note", "unusual-characters", f"{len(characters)} kinds beyond printable ASCII: {most}")
        if unstated := sum(tally.of["terms"][NOT_STATED] for tally in self._tallies.values()):
            advice = "write licence or data-use terms into `terms`"
            yield Issue("warning", "terms", f"{unstated} pairs state no terms", advice=advice)


def _ranked(counter: Counter[Any]) -> list[tuple[str, Any]]:
    """What occurs most first; what occurs equally by name, so that the order in which parts were read does not show."""
    return sorted(counter.items(), key=lambda item: (-item[1], item[0]))


def _spread(values: np.ndarray) -> dict[str, float] | None:
    """Least, 5 %, median, 95 % and most; None of nothing."""
    if not len(values):
        return None
    names = ("least", "5 %", "median", "95 %", "most")
    return {name: float(v) for name, v in zip(names, np.percentile(values, [0, 5, 50, 95, 100]), strict=True)}


def _laid_out(spread: dict[str, float] | None) -> str:
    return "-" if spread is None else f"{spread['median']:.0f} ({spread['5 %']:.0f}-{spread['95 %']:.0f}, {spread['most']:.0f})"


def _most(counts: list[dict[str, Any]]) -> list[str]:
    """The names that occur most in all splits together."""
    return [name for name, _ in _ranked(sum(map(Counter, counts), Counter[str]()))[:_MOST]]


def _is_smaller(rows: np.ndarray, side: int) -> np.ndarray:
    return (rows["image"] != 0) & (np.maximum(rows["width"], rows["height"]) < side)


def _is_longer(rows: np.ndarray, most: int) -> np.ndarray:
    return rows["tokens"] > most


def _share_longer(numbers: dict[str, Any], most: int) -> str:
    return f"{numbers['reports']['longer'][str(most)]:.1%}"
