"""Do the installed metrics behave as documented? Each is shown pairs before and after a change whose effect is known.

All is done with embedded pairs of phantom version 1 and drawn numbers: nothing is downloaded. A metric that is known not to
notice a change (BLEU a denied finding) is `blind` to it, which is no failure: it is said so that nobody reads more into it.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from time import perf_counter
from typing import Any

from medim.common.errors import UserError

PASS, BLIND, WARN, FAIL, SKIPPED = "pass", "blind", "warn", "fail", "skipped"
VERDICTS = (PASS, BLIND, WARN, FAIL, SKIPPED)
FALLS = 0.2  # of its value: less is no fall


@dataclass(frozen=True)
class Check:
    """One metric and one change.

    Attributes:
        perturbation: what was changed.
        metric: as in a record.
        before, after: its values; None where it was withheld.
        verdict: `pass`: as it should be; `blind`: it does not notice, as documented; `warn`: neither as documented nor wrong;
            `fail`: wrong; `skipped`: it cannot be had here.
        meaning: one sentence.
    """

    perturbation: str
    metric: str
    before: float | None
    after: float | None
    verdict: str
    meaning: str


@dataclass
class Sheet:
    """The checks of one perturbation, in the making."""

    perturbation: str
    checks: list[Check] = field(default_factory=list)

    def add(self, metric: str, before: float | None, after: float | None, verdict: str, meaning: str) -> None:
        """One check with its verdict."""
        self.checks.append(Check(self.perturbation, metric, before, after, verdict, meaning))

    def same(self, metric: str, before: float | None, after: float | None, meaning: str, tolerance: float = 1e-9) -> None:
        """It must not change, but for rounding."""
        if before is None or after is None:
            self._withheld(metric, before, after)
        else:
            self.add(metric, before, after, PASS if abs(after - before) <= tolerance else FAIL, meaning)

    def falls(self, metric: str, before: float | None, after: float | None, meaning: str, share: float = FALLS) -> None:
        """It must lose at least this share of its value."""
        if before is None or after is None:
            self._withheld(metric, before, after)
        else:
            self.add(metric, before, after, PASS if after <= before - share * abs(before) else FAIL, meaning)

    def rises(self, metric: str, before: float | None, after: float | None, meaning: str) -> None:
        """It must be larger afterwards."""
        if before is None or after is None:
            self._withheld(metric, before, after)
        else:
            self.add(metric, before, after, PASS if after > before else FAIL, meaning)

    def blind(self, metric: str, before: float | None, after: float | None, meaning: str, share: float = FALLS) -> None:
        """It is documented not to lose this share of its value; where it does, that is worth a warning."""
        if before is None or after is None:
            self._withheld(metric, before, after)
        else:
            self.add(metric, before, after, BLIND if after > before - share * abs(before) else WARN, meaning)

    def unmoved(self, metric: str, before: float | None, after: float | None, meaning: str, tolerance: float = 1e-6) -> None:
        """It is documented not to change at all; where it does, that is worth a warning."""
        if before is None or after is None:
            self._withheld(metric, before, after)
        else:
            self.add(metric, before, after, BLIND if abs(after - before) <= tolerance else WARN, meaning)

    def withheld(self, metric: str, before: float | None, after: float | None, meaning: str) -> None:
        """It must be withheld afterwards."""
        self.add(metric, before, after, PASS if after is None else FAIL, meaning)

    def _withheld(self, metric: str, before: float | None, after: float | None) -> None:
        self.add(metric, before, after, SKIPPED, "withheld here: `medim-bench doctor` tells what it needs")


Part = Callable[[], Iterable[Sheet]]


@dataclass(frozen=True)
class Outcome:
    """All checks and the seconds that they took."""

    checks: tuple[Check, ...]
    seconds: float

    @property
    def failed(self) -> list[Check]:
        """The checks whose metric is wrong."""
        return [check for check in self.checks if check.verdict == FAIL]

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {"checks": [asdict(check) for check in self.checks], "seconds": self.seconds, "verdicts": self.counts()}

    def counts(self) -> dict[str, int]:
        """How many of each verdict."""
        return {verdict: sum(check.verdict == verdict for check in self.checks) for verdict in VERDICTS}


def selftest(tell: Callable[[str], None], parts: Sequence[tuple[str, Part]] | None = None) -> Outcome:
    """Runs all checks.

    Args:
        tell: is given a line before each part.
        parts: all, by default.

    Raises:
        UserError: there is not one case to check.
    """
    if parts is None:
        from benchmark.selftest import images as selftest_images
        from benchmark.selftest import pairs as selftest_pairs
        from benchmark.selftest import reports as selftest_reports

        parts = [
            ("report metrics", selftest_reports.sheets), ("image metrics", selftest_images.sheets),
            ("pairs and copies", selftest_pairs.sheets),
        ]  # fmt: skip
    start = perf_counter()
    checks: list[Check] = []
    for name, part in parts:
        tell(f"{name} ...")
        for sheet in part():
            checks += sheet.checks
    if not checks:
        raise UserError("the self-test had no case to show to any metric: nothing was tested")
    return Outcome(tuple(checks), perf_counter() - start)


def table(checks: Sequence[Check]) -> str:
    """For reading: a heading for each perturbation, a line for each metric."""
    width = max((len(check.metric) for check in checks), default=0)
    lines: list[str] = []
    heading = None
    for check in checks:
        if check.perturbation != heading:
            heading = check.perturbation
            lines += ["", heading] if lines else [heading]
        values = f"{_value(check.before):>9} -> {_value(check.after):>9}"
        lines.append(f"  {check.verdict:8}{check.metric:{width}}{values}  {check.meaning}")
    return "\n".join(lines)


def _value(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}" if abs(value) < 1000 else f"{value:.0f}"
