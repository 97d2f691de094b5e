"""A report with one finding more or less, in sentences that other reports of its kind use."""

from collections import Counter
from collections.abc import Sequence

from medim.common.errors import UserError, unknown
from medim.data.dataset import Checker
from medim.tokenizers.sentences import sentences

SELDOM = 3  # a sentence seen so often without a finding, and never with it, is taken to deny it


def with_finding(report: str, finding: str, present: bool, checker: Checker, donors: Sequence[str]) -> str:
    """The report, changed so that the checker reads the finding in it, or does not. All others are read as before, except for
    those that exclude an added one among the donors (high and low cellularity).

    To add: denials, which others use and no donor with the finding does, go, and the commonest sentence that states the finding
    alone comes in. To remove: sentences that state it go; what else they stated is stated again.

    Args:
        checker: reads findings from reports and single sentences.
        donors: reports of the same kind, of a training split.

    Raises UserError: an unknown finding, or no sentence of the donors says it.
    """
    if finding not in checker.labels:
        raise unknown("finding", finding, checker.labels)
    before = frozenset(checker([report])[0])
    if (finding in before) == present:
        return report
    gone = _rivals(donors, checker, finding) & before if present else {finding}
    wanted = (before | {finding} if present else before) - gone
    stating = _sentences_by_finding(donors, checker)
    parts = [report[part].strip() for part in sentences(report)]
    denials = _denials(donors, checker, finding) if present else set()
    out = [
        bool(gone & found) or (not found and part.lower() in denials) for part, found in zip(parts, checker(parts), strict=True)
    ]
    rest = [part for part, goes in zip(parts, out, strict=True) if not goes]
    place = out.index(True) if True in out else len(rest)
    missing = sorted(wanted - frozenset().union(*checker(rest)) if rest else wanted)
    for rank in range(max((len(stating.get(label, ())) for label in missing), default=1)):
        added = [stating[label][min(rank, len(stating[label]) - 1)] for label in missing if stating.get(label)]
        result = " ".join([*rest[:place], *added, *rest[place:]])
        if frozenset(checker([result])[0]) == wanted:
            return result
    raise UserError(f"no sentence of {len(donors)} reports {'adds' if present else 'takes out'} '{finding}': {report!r}")


def _sentences_by_finding(donors: Sequence[str], checker: Checker) -> dict[str, list[str]]:
    """Sentences that state one finding alone, by finding, the commonest first."""
    counts = Counter(part.strip() for donor in donors for part in _parts(donor))
    result: dict[str, list[str]] = {}
    ordered = [text for text, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]
    for text, findings in zip(ordered, checker(ordered), strict=True):
        if len(findings) == 1:
            result.setdefault(next(iter(findings)), []).append(text)
    return result


def _denials(donors: Sequence[str], checker: Checker, finding: str) -> set[str]:
    """Sentences, in lower case, that no donor with the finding uses and others do."""
    beside: set[str] = set()
    without: Counter[str] = Counter()
    for donor, findings in zip(donors, checker(list(donors)), strict=True):
        used = {part.strip().lower() for part in _parts(donor)}
        if finding in findings:
            beside |= used
        else:
            without.update(used)
    return {text for text, count in without.items() if count >= SELDOM and text not in beside}


def _rivals(donors: Sequence[str], checker: Checker, finding: str) -> set[str]:
    """Findings that no donor shows beside this one, though five would by chance."""
    shown = checker(list(donors))
    alone: Counter[str] = Counter()
    both: Counter[str] = Counter()
    for findings in shown:
        alone.update(findings)
        if finding in findings:
            both.update(findings)
    return {label for label in alone if both[label] == 0 and alone[label] * alone[finding] >= 5 * len(shown)}


def _parts(report: str) -> list[str]:
    return [report[part] for part in sentences(report)]
