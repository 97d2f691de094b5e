"""Numbers by split: pairs, texts, pictures and findings; and what in them deserves a word."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from medim.data.checks import texts
from medim.data.checks.pictures import CLIPPED, DARK, FLAT, is_clipped, is_dark, is_flat
from medim.data.checks.reading import Tally
from medim.data.checks.report import LISTED, Issue, Table

Cell = Callable[[dict[str, Any]], str]
_MOST = 15  # findings, characters and kinds in a table


class Statistics:
    """What each split holds.

    Args:
        rows: `reading.ROW` of every pair.
        tallies: by split.
        lengths: the model's lengths to hold reports against, in tokens where `unit` is "tokens", else in words.
        resolution: the model's; None where none is meant.
    """

    def __init__(
        self, rows: np.ndarray, tallies: dict[str, Tally], lengths: Sequence[int], unit: str, resolution: int | None
    ) -> None:
        self._tallies, self._lengths, self._unit, self._resolution = tallies, tuple(lengths), unit, resolution
        self._rows = {split: rows[rows["split"] == number] for number, split in enumerate(tallies)}

    def numbers(self) -> dict[str, dict[str, Any]]:
        """Everything, JSON-able, by split."""
        return {split: self._numbers(self._rows[split], tally) for split, tally in self._tallies.items()}

    def _numbers(self, rows: np.ndarray, tally: Tally) -> dict[str, Any]:
        told, seen = rows[rows["report"] != 0], rows[rows["image"] != 0]
        labelled = tally.counts["labelled"]
        lengths = told[self._unit]
        return {
            "pairs": len(rows),
            "patients": len(np.unique(rows["patient"])),
            "studies": len(np.unique(rows["study"])),
            "unreadable": len(tally.failures),
            "reports": {
                "missing": tally.counts["missing"],
                "empty": tally.counts["empty"],
                f"under {texts.VERY_SHORT} words": tally.counts["short"],
                "words": _spread(told["words"]),
                "tokens": _spread(told["tokens"]) if self._unit == "tokens" else None,
                "vocabulary": len(tally.vocabulary),
                "longer": {str(most): float(np.mean(lengths > most)) if len(told) else 0.0 for most in self._lengths},
                "longer in": self._unit,
                "unusual characters": {texts.named(c): n for c, n in _ranked(tally.characters)},
                "damaged": {kind: len(ids) for kind, ids in sorted(tally.damaged.items())},
            },
            "images": {
                "width": _spread(seen["width"]),
                "height": _spread(seen["height"]),
                "aspect": _spread(seen["width"] / np.maximum(seen["height"], 1)),
                "kinds": dict(_ranked(tally.kinds)),
                "colour": int(seen["colour"].sum()),
                "nearly empty": int(is_flat(seen).sum()),
                "nearly black": int(is_dark(seen).sum()),
                "cut by a DICOM window": int(is_clipped(seen).sum()),
            },
            "labelled": labelled,
            "findings": {name: count / labelled for name, count in _ranked(tally.findings)} if labelled else {},
            "domains": dict(_ranked(tally.domains)),
            "views": dict(_ranked(tally.views)),
            "terms": dict(_ranked(tally.terms)),
        }

    def tables(self) -> Iterator[Table]:
        """The numbers, laid out."""
        numbers = list(self.numbers().values())
        yield Table("pairs", _rows(numbers, {
            "read": lambda n: str(n["pairs"]), "patients": lambda n: str(n["patients"]),
            "studies": lambda n: str(n["studies"]), "unreadable": lambda n: str(n["unreadable"]),
        }))  # fmt: skip
        unit = self._unit
        if any(len(rows) and rows["report"].any() for rows in self._rows.values()):
            yield Table("reports", _rows(numbers, {
                "missing or empty": lambda n: str(n["reports"]["missing"] + n["reports"]["empty"]),
                "words: median (5-95 %, most)": lambda n: _told(n["reports"]["words"]),
                **({"tokens: median (5-95 %, most)": lambda n: _told(n["reports"]["tokens"])} if unit == "tokens" else {}),
                "vocabulary": lambda n: str(n["reports"]["vocabulary"]),
                **{f"longer than {most} {unit}": _share_longer(most) for most in self._lengths},
            }))  # fmt: skip
        yield Table("pictures", _rows(numbers, {
            "width: median (5-95 %, most)": lambda n: _told(n["images"]["width"]),
            "height: median (5-95 %, most)": lambda n: _told(n["images"]["height"]),
            "in colour": lambda n: str(n["images"]["colour"]),
        }))  # fmt: skip
        for title, key in (("file kinds", "kinds"), ("domains", "domains"), ("views", "views"), ("terms", "terms")):
            counts = [n["images"]["kinds"] if key == "kinds" else n[key] for n in numbers]
            names = [name for name, _ in _ranked(sum(map(Counter, counts), Counter[str]()))[:_MOST]]
            if key == "kinds" or names not in ([], ["not stated"]):
                yield Table(title, tuple((f"  {name}", tuple(str(c.get(name, 0)) for c in counts)) for name in names))
        findings = [n["findings"] for n in numbers]
        names = [name for name, _ in _ranked(sum(map(Counter, findings), Counter[str]()))[:_MOST]]
        if names:
            rows = [(f"  {name}", tuple(f"{f.get(name, 0):.1%}" for f in findings)) for name in names]
            labelled = _rows(numbers, {"pairs with labels": lambda n: str(n["labelled"])})
            yield Table("prevalence of findings", (*rows, *labelled))

    def issues(self, named: Callable[[str, int], str]) -> Iterator[Issue]:
        """What deserves a word; `named(split, index)` gives the id of a pair."""

        def examples(flags: dict[str, np.ndarray]) -> tuple[str, ...]:
            rows = [(split, int(row["index"])) for split in self._rows for row in self._rows[split][flags[split]][:LISTED]]
            return tuple(f"{split} '{named(split, index)}'" for split, index in rows[:LISTED])

        numbers = self.numbers()
        pairs = sum(n["pairs"] for n in numbers.values())
        missing = sum(n["reports"]["missing"] for n in numbers.values())
        if missing == pairs:
            yield Issue("note", "images-only", "no pair has a report: the set serves image tokenizers and image metrics only")
        elif missing + (empty := sum(n["reports"]["empty"] for n in numbers.values())):
            flags = {split: rows["report"] == 0 for split, rows in self._rows.items()}
            message = f"{missing} reports are missing and {empty} are empty"
            yield Issue("warning", "empty-reports", message, examples(flags), "drop these pairs, or give them a text")
        if short := sum(n["reports"][f"under {texts.VERY_SHORT} words"] for n in numbers.values()):
            flags = {split: (rows["report"] != 0) & (rows["words"] < texts.VERY_SHORT) for split, rows in self._rows.items()}
            yield Issue("note", "short-reports", f"{short} reports have under {texts.VERY_SHORT} words", examples(flags))
        damaged = Counter[str]()
        ids: list[str] = []
        for split, tally in self._tallies.items():
            damaged.update({kind: len(names) for kind, names in tally.damaged.items()})
            ids += [f"{split} '{name}': {kind}" for kind, names in sorted(tally.damaged.items()) for name in names]
        if damaged:
            message = ", ".join(f"{kind} in {count} reports" for kind, count in _ranked(damaged))
            yield Issue("warning", "damaged-text", message, tuple(ids[:LISTED]), "mend the encoding at the source")
        for most in self._lengths if self._unit == "tokens" else ():
            cut = {split: int((rows["tokens"] > most).sum()) for split, rows in self._rows.items()}
            if any(cut.values()):
                shares = ", ".join(f"{split} {n / max(len(self._rows[split]), 1):.1%}" for split, n in cut.items())
                flags = {split: rows["tokens"] > most for split, rows in self._rows.items()}
                yield Issue(
                    "warning", "truncated-reports", f"longer than the model's {most} tokens, the end included: {shares}",
                    examples(flags), "training sees only their beginning; references are never cut",
                )  # fmt: skip
        for kind, message, flags, advice in self._picture_flags():
            count = sum(int(flag.sum()) for flag in flags.values())
            if count:
                yield Issue("warning", kind, f"{count} {message}", examples(flags), advice)
        yield from self._label_issues(numbers)

    def _picture_flags(self) -> Iterator[tuple[str, str, dict[str, np.ndarray], str]]:
        def flags(of: Callable[[np.ndarray], np.ndarray]) -> dict[str, np.ndarray]:
            return {split: of(rows) for split, rows in self._rows.items()}

        message = f"pictures are nearly empty (standard deviation below {FLAT:g} of 255 levels)"
        yield "flat-images", message, flags(is_flat), "drop them"
        message = f"pictures are nearly black (99.5 % of the pixels below {DARK} of 255)"
        yield "dark-images", message, flags(is_dark), "12-bit values in a 16-bit file? write them over the full range"
        message = f"DICOM windows cut off over {CLIPPED:.0%} of the pixels"
        yield "clipped-images", message, flags(is_clipped), "the files' own choice: look at them"
        if self._resolution is not None:
            side = self._resolution
            small = flags(lambda rows: (rows["image"] != 0) & (np.maximum(rows["width"], rows["height"]) < side))
            yield "small-images", f"pictures are smaller than {side} pixels and would be enlarged", small, ""

    def _label_issues(self, numbers: dict[str, dict[str, Any]]) -> Iterator[Issue]:
        train = numbers.get("train", {"findings": {}, "labelled": 0})
        held = {name for split, n in numbers.items() if split != "train" for name in n["findings"]}
        unseen = sorted(held - set(train["findings"]))
        if unseen and train["labelled"]:
            shown = ", ".join(unseen[:_MOST])
            yield Issue(
                "note", "unseen-findings", f"{len(unseen)} findings of held-out splits never occur in training: {shown}"
            )
        characters = sum((tally.characters for tally in self._tallies.values()), Counter[str]())
        if characters:
            most = ", ".join(f"{texts.named(c)} {n}x" for c, n in _ranked(characters)[:8])
            yield Issue("note", "unusual-characters", f"{len(characters)} kinds beyond printable ASCII: {most}")
        terms = sum((tally.terms for tally in self._tallies.values()), Counter[str]())
        if unstated := terms["not stated"]:
            yield Issue(
                "warning", "terms", f"{unstated} pairs state no terms", advice="write licence or data-use terms into `terms`"
            )


def _ranked(counter: Counter[Any]) -> list[tuple[str, Any]]:
    """What occurs most first; what occurs equally by name, so that the order in which parts were read does not show."""
    return sorted(counter.items(), key=lambda item: (-item[1], item[0]))


def _spread(values: np.ndarray) -> dict[str, float] | None:
    """Least, 5 %, median, 95 % and most; None of nothing."""
    if not len(values):
        return None
    names = ("least", "5 %", "median", "95 %", "most")
    return {name: float(v) for name, v in zip(names, np.percentile(values, [0, 5, 50, 95, 100]), strict=True)}


def _told(spread: dict[str, float] | None) -> str:
    return "-" if spread is None else f"{spread['median']:.0f} ({spread['5 %']:.0f}-{spread['95 %']:.0f}, {spread['most']:.0f})"


def _share_longer(most: int) -> Cell:
    return lambda n: f"{n['reports']['longer'][str(most)]:.1%}"


def _rows(
    numbers: list[dict[str, Any]], cells: dict[str, Callable[[dict[str, Any]], str]]
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return tuple((f"  {name}", tuple(cell(n) for n in numbers)) for name, cell in cells.items())
