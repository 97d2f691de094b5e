"""The checks of one perturbation: a metric before and after a change whose effect is known."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

PASS, BLIND, WARN, FAIL, SKIPPED = VERDICTS = ("pass", "blind", "warn", "fail", "skipped")
FALLS = 0.2  # of its value: less is no fall

Item = TypeVar("Item")


@dataclass(frozen=True)
class Check:
    perturbation: str  # what was changed
    metric: str  # as in a record
    # before, after: its values; None where it was withheld
    before: float | None
    after: float | None
    # `pass`: as it should be; `blind`: it does not notice, as documented; `warn`: neither as documented nor wrong; `fail`:
    # wrong; `skipped`: it is not available here
    verdict: str
    meaning: str  # one sentence


@dataclass
class Sheet:
    """Collects the checks of one perturbation."""

    perturbation: str
    checks: list[Check] = field(default_factory=list)

    def add(self, metric: str, before: float | None, after: float | None, verdict: str, meaning: str) -> None:
        self.checks.append(Check(self.perturbation, metric, before, after, verdict, meaning))

    def same(self, metric: str, before: float | None, after: float | None, meaning: str, tolerance: float = 1e-9) -> None:
        """It must not change, but for rounding."""
        self._judge(metric, before, after, meaning, lambda a, b: PASS if abs(b - a) <= tolerance else FAIL)

    def falls(self, metric: str, before: float | None, after: float | None, meaning: str, share: float = FALLS) -> None:
        """It must lose at least this share of its value."""
        self._judge(metric, before, after, meaning, lambda a, b: PASS if b <= a - share * abs(a) else FAIL)

    def rises(self, metric: str, before: float | None, after: float | None, meaning: str) -> None:
        """It must be larger afterwards."""
        self._judge(metric, before, after, meaning, lambda a, b: PASS if b > a else FAIL)

    def blind(self, metric: str, before: float | None, after: float | None, meaning: str, share: float = FALLS) -> None:
        """It is documented not to lose this share of its value; a warning where it does."""
        self._judge(metric, before, after, meaning, lambda a, b: BLIND if b > a - share * abs(a) else WARN)

    def unmoved(self, metric: str, before: float | None, after: float | None, meaning: str) -> None:
        """It is documented not to change; a warning where it does."""
        self._judge(metric, before, after, meaning, lambda a, b: BLIND if abs(b - a) <= 1e-6 else WARN)

    def withheld(self, metric: str, before: float | None, after: float | None, meaning: str) -> None:
        """It must be withheld afterwards."""
        self.add(metric, before, after, PASS if after is None else FAIL, meaning)

    def _judge(
        self, metric: str, before: float | None, after: float | None, meaning: str, verdict: Callable[[float, float], str]
    ) -> None:
        if before is None or after is None:
            self.add(metric, before, after, SKIPPED, "withheld here: `medim-bench doctor` names what it needs")
        else:
            self.add(metric, before, after, verdict(before, after), meaning)


def half_of(items: Sequence[Item]) -> list[Item | None]:
    """Two of four in a row stay, the others are missing: domains, which alternate, lose alike."""
    return [item if index % 4 < 2 else None for index, item in enumerate(items)]
