"""What `speed metrics` found, as JSON and for reading."""

from dataclasses import asdict, dataclass, field
from typing import Any

EQUAL = 1e-9


@dataclass(frozen=True)
class Compared:
    """One way of scoring against another.

    Attributes:
        what: is computed; of how many samples `n`.
        ours, reference: median seconds of a turn; None where it was not measured, and `reason` says why.
        against: what the reference is.
        target: of `ratio` = reference / ours.
        difference: largest difference in value between the two, at most `tolerance`.
        how: how the seconds were come by, where that is not one turn each.
    """

    what: str
    n: int
    against: str
    target: float
    ours: float | None = None
    reference: float | None = None
    difference: float | None = None
    tolerance: float = EQUAL
    how: str = ""
    reason: str = ""

    @property
    def ratio(self) -> float | None:
        """How many times as fast; None where it was not measured."""
        return None if not self.ours or self.reference is None else self.reference / self.ours

    @property
    def agrees(self) -> bool:
        """Whether the two gave the same value (or were not measured)."""
        return self.difference is None or self.difference <= self.tolerance

    @property
    def verdict(self) -> str:
        """In a word or two."""
        if self.ratio is None:
            return "not measured"
        if not self.agrees:
            return "VALUES DIFFER"
        return "reached" if self.ratio >= self.target else "below target"


@dataclass(frozen=True)
class SecondModel:
    """What references cost the first system on them, and the second.

    Attributes:
        first, second: seconds of all report metrics of one system.
        references: seconds to tokenise and count the references alone.
        made: how often that was done for the first system, and then for the second.
        starts: how often METEOR's process was started for each.
    """

    n: int
    first: float
    second: float
    references: float
    made: tuple[int, int]
    starts: tuple[int, int]


@dataclass(frozen=True)
class MetricsSpeed:
    """All that was measured."""

    data: str
    compared: tuple[Compared, ...]
    second_model: SecondModel | None
    index_seconds: float | None = None
    failures: tuple[str, ...] = field(default=())

    def as_dict(self) -> dict[str, Any]:
        """JSON-able, with the ratios."""
        rows = [asdict(row) | {"ratio": row.ratio, "verdict": row.verdict} for row in self.compared]
        return asdict(self) | {"compared": rows}

    def table(self) -> str:
        """For reading."""
        lines = [f"{'':44}{'ours':>9}{'theirs':>11}{'ratio':>9}{'target':>8}"]
        for row in self.compared:
            head = f"{row.what}, n = {row.n:,}"
            if row.ratio is None:
                lines += [f"{head:44}not measured: {row.reason}"]
                continue
            assert row.ours is not None
            assert row.reference is not None
            lines.append(
                f"{head:44}{_seconds(row.ours):>9}{_seconds(row.reference):>11}{row.ratio:>8.1f}x{row.target:>7.0f}x  "
                f"{row.verdict}"
            )
            lines.append(f"  against {row.against}; values differ by {row.difference:.1e}{'; ' + row.how if row.how else ''}")
        if self.index_seconds is not None:
            lines.append(f"METEOR's paraphrases were indexed first, once on this machine: {_seconds(self.index_seconds)}")
        if self.second_model is not None:
            two = self.second_model
            lines.append(f"a second system on the same {two.n:,} references")
            lines.append(
                f"  all report metrics: first {_seconds(two.first)}, second {_seconds(two.second)}; references tokenised and "
                f"counted {two.made[0]} time(s) for the first ({_seconds(two.references)}), {two.made[1]} for the second"
            )
            lines.append(f"  METEOR's process started {two.starts[0]} time(s) for the first, {two.starts[1]} for the second")
        return "\n".join(lines)


def _seconds(value: float) -> str:
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:,.1f} s"
