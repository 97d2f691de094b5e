"""Which values are ranked, and how: places and groups from what can be told apart, never from values alone.
Two systems can be told apart where a paired comparison says so (Holm-adjusted over the column). Without one, since the metric
is no function of sums over patients or the sums are missing, their 95 % intervals must not overlap, which asks for more."""

import json
import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations

from leaderboard.record import Record
from leaderboard.tables.pairwise import Comparison

MINIMUM_N = 100
MOST_LETTERS = 6  # of a cell: more says nothing at a glance, and the comparisons say it all
_EACH = re.compile(r"[a-z][0-9]*")
# A feature space that a model was trained against flatters it. EfficientNet-Lite0 is the perceptual loss of the image
# tokenizer, so its columns are shown and never ranked.
TRAINED_AGAINST = ("EfficientNet-Lite0",)
# What a signature says of the system itself or of the interval; the rest must be equal for two values to be compared.
# `overrides` are what an ablation's arm changes; the tokenizers and the steps stand in its signature beside them, and are not.
OF_THE_SYSTEM = {
    *("generated_by", "interval", "model", "overrides", "scored", "settings"),
    *("standard_error_of_draws", "statistics", "tokenizer_of"),
}
CHANGE = "change of "  # of a metric, by an arm against its base
NO_INTERVAL = "no interval: nothing says how sure the value is"


@dataclass(frozen=True)
class Standing:
    """Where a cell stands in its column."""

    place: int  # 1 + the number of systems that are better and can be told apart
    # best, alone: cannot be told apart from the best value (or is it), and no other cell is
    best: bool
    alone: bool
    letters: str = ""  # cells that share one cannot be told apart. Empty where there is one group


def trained_against(metric: str) -> bool:
    """Whether a metric uses a feature space that models are trained against."""
    return any(name in metric for name in TRAINED_AGAINST)


def unranked_because(record: Record) -> str | None:
    """Why a record may not be ranked, in words; None where it may."""
    if record.kind == "reported":
        return "reported by the paper, not measured here"
    if record.kind == "anchor":
        return "an anchor, not a model"
    if record.value is None:
        return record.reason
    if record.higher_is_better is None:
        return "descriptive: neither high nor low is better"
    if record.coverage is not None and record.coverage < 1:
        return f"coverage {record.coverage:.1%}: ranking needs every case"
    if record.n is not None and record.n < MINIMUM_N:
        return f"{record.n} cases: ranking needs {MINIMUM_N}"
    if trained_against(record.metric):
        return "a feature space that image tokenizers are trained against: shown, not ranked"
    if record.metric.startswith(CHANGE):
        return "a change against a base, which has none itself: shown, not ranked"
    return NO_INTERVAL if record.ci_low is None else None


def measure(record: Record) -> str:
    """What two values must share to be compared: `n`, the direction, the signature without what describes the system."""
    shared = {name: value for name, value in record.signature.items() if name not in OF_THE_SYSTEM}
    return json.dumps([record.n, record.higher_is_better, shared], sort_keys=True, ensure_ascii=False)


def comparable(column: Mapping[str, Record]) -> dict[str, Record]:
    """The cells of a column that are ranked against each other: those that may be, of the most common `measure`."""
    able = {label: record for label, record in column.items() if unranked_because(record) is None}
    measures = [(measure(record), record.n or 0) for record in able.values()]
    common = max(measures, key=lambda m: (measures.count(m), m[1], m[0]), default=("", 0))[0]
    return {label: record for label, record in able.items() if measure(record) == common}


def standings(column: Mapping[str, Record], comparisons: Sequence[Comparison] = ()) -> dict[str, Standing]:
    """Places and groups within one column (one metric of one board); none where fewer than two cells are `comparable`.
    `column`: records by row label.
    `comparisons`: of this metric. Rows of one compared system (its seeds) are never told apart."""
    able = comparable(column)
    if len(able) < 2:
        return {}
    sign = -1 if next(iter(able.values())).higher_is_better else 1
    order = sorted(able, key=lambda label: (sign * (able[label].value or 0.0), label))
    known = _Known(comparisons)
    apart = {(one, other) for one, other in permutations(order, 2) if known.separable(able[one], able[other])}
    best = {label for label in order if (order[0], label) not in apart}
    letters = groups(order, apart)
    result = {}
    for index, label in enumerate(order):
        ahead = {known.system(other, able[other]) for other in order[:index] if (other, label) in apart}
        result[label] = Standing(1 + len(ahead), label in best, best == {label}, shortened(letters[label]))
    return result


def groups(order: Sequence[str], apart: set[tuple[str, str]]) -> dict[str, str]:
    """Letters for labels: two share one exactly where they are not `apart` (a symmetric relation).
    The compact letter display by insertion and absorption (Piepho 2004), letters in the order of the labels. Where nothing is
    apart there is nothing to show, and no letter."""
    columns: list[frozenset[str]] = [frozenset(order)]
    for pair in combinations(order, 2):
        if pair not in apart:
            continue
        split = [part for c in columns for part in ([c - {one} for one in pair] if c.issuperset(pair) else [c])]
        columns = [part for part in dict.fromkeys(split) if not any(part < another for another in split)]
    if len(columns) == 1:
        return dict.fromkeys(order, "")
    columns.sort(key=lambda column: [label not in column for label in order])
    return {label: "".join(_letter(i) for i, column in enumerate(columns) if label in column) for label in order}


class _Known:
    """The comparisons by the runs of their two sides."""

    def __init__(self, comparisons: Sequence[Comparison]) -> None:
        self.by_runs: dict[tuple[str, str], bool] = {}
        self.systems: dict[str, str] = {}
        for pair in comparisons:
            for run in pair.runs:
                self.systems[run] = pair.model
                self.by_runs.update(((run, against), pair.separable) for against in pair.against_runs)

    def system(self, label: str, record: Record) -> str:
        """What rows of one system share; a row that was never compared stands for itself."""
        return f"system {self.systems[record.run]}" if record.run in self.systems else f"row {label}"

    def separable(self, one: Record, other: Record) -> bool:
        if one.run in self.systems and self.systems[one.run] == self.systems.get(other.run):
            return False
        found = self.by_runs.get((one.run, other.run))
        if found is not None or one.ci_low is None or other.ci_low is None:
            return found is True
        return max(one.ci_low, other.ci_low) > min(one.ci_high or 0.0, other.ci_high or 0.0)


def shortened(letters: str) -> str:
    """Letters of groups as a cell shows them: of more than `MOST_LETTERS`, the first of them, how many more, and the last.

    >>> shortened("abc"), shortened("abcdefghijk")
    ('abc', 'abcd…k (11)')
    """
    each = _EACH.findall(letters)
    if len(each) <= MOST_LETTERS:
        return letters
    return f"{''.join(each[:4])}\N{HORIZONTAL ELLIPSIS}{each[-1]} ({len(each)})"


def _letter(index: int) -> str:
    """a ... z, then a1, b1, ..."""
    turn, place = divmod(index, len(string.ascii_lowercase))
    return string.ascii_lowercase[place] + (str(turn) if turn else "")
