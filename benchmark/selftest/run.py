"""Do the installed metrics behave as documented? Each is computed before and after a change whose effect is known.
Pairs are those of the default world: nothing is downloaded. A metric that is known not to notice a change (BLEU a denied
finding) is `blind` to it, which is no failure."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any

from benchmark.selftest import images, pairs, reports
from benchmark.selftest.sheet import FAIL, VERDICTS, Check, Sheet
from medim.common.errors import UserError

Part = Callable[[], Iterable[Sheet]]
PARTS: tuple[tuple[str, Part], ...] = (
    ("report metrics", reports.sheets),
    ("image metrics", images.sheets),
    ("pairs and copies", pairs.sheets),
)


@dataclass(frozen=True)
class Outcome:
    """All checks and the seconds that they took."""

    checks: tuple[Check, ...]
    seconds: float

    @property
    def failed(self) -> list[Check]:
        return [check for check in self.checks if check.verdict == FAIL]

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {"checks": [asdict(check) for check in self.checks], "seconds": self.seconds, "verdicts": self.counts()}

    def counts(self) -> dict[str, int]:
        """Number of checks by verdict."""
        return {verdict: sum(check.verdict == verdict for check in self.checks) for verdict in VERDICTS}


def selftest(progress: Callable[[str], None], parts: Sequence[tuple[str, Part]] = PARTS) -> Outcome:
    """Runs all checks; `progress` gets a line before each part. Raises UserError: there is not one case to check."""
    start = perf_counter()
    checks: list[Check] = []
    for name, part in parts:
        progress(f"{name} ...")
        for sheet in part():
            checks += sheet.checks
    if not checks:
        raise UserError("the self-test had no case to show to any metric: nothing was tested")
    return Outcome(tuple(checks), perf_counter() - start)


def table(checks: Sequence[Check]) -> str:
    """A heading for each perturbation, a line for each metric."""
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
