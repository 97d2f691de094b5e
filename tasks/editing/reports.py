"""What a report becomes when one finding is added or removed: in the sentences that training reports of its domain use."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from PIL import Image

from medim.common.errors import UserError, unknown
from medim.data.dataset import Checker, PairDataset
from medim.sampling.editing.rewriting import with_finding
from medim.tokenizers.sentences import sentences

DONORS = 400  # reports of each domain that lend their sentences: the first of the training split


@dataclass(frozen=True)
class Change:
    """One finding more or less."""

    finding: str  # its label
    present: bool  # True where it is added
    report: str  # the report that says so


class _Remembering:
    """A checker of reports that reads no text twice."""

    def __init__(self, checker: Checker) -> None:
        self.checker, self.name, self.fingerprint, self.labels = checker, checker.name, checker.fingerprint, checker.labels
        self._known: dict[str, frozenset[str]] = {}

    def __call__(self, items: Sequence[Image.Image] | Sequence[str]) -> list[frozenset[str]]:
        texts = [item for item in items if isinstance(item, str)]
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        self._known.update(zip(new, self.checker(new) if new else [], strict=True))
        return [self._known[text] for text in texts]


class Rewriter:
    """Rewrites reports of a data set. `checker`: reads findings from reports. Raises UserError: the data set has no report
    checker."""

    def __init__(self, dataset: PairDataset) -> None:
        checker = dataset.report_checker()
        if checker is None:
            raise UserError(f"data set '{dataset.name}' has no report checker: which findings a report tells of is not known")
        self.dataset, self.checker = dataset, _Remembering(checker)

    @cached_property
    def donors(self) -> dict[str | None, list[str]]:
        """Training reports by domain. Raises UserError: there are none."""
        found: dict[str | None, list[str]] = {}
        domains = max(1, len(self.dataset.domains))
        for index in range(self.dataset.size("train")):
            pair = self.dataset.pair("train", index)
            reports = found.setdefault(pair.domain, [])
            if pair.report and len(reports) < DONORS:
                reports.append(pair.report)
            if len(found) >= domains and all(len(reports) == DONORS for reports in found.values()):
                break
        if not any(found.values()):
            raise UserError(f"data set '{self.dataset.name}' has no training reports whose sentences could tell of a finding")
        return found

    @cached_property
    def findings(self) -> dict[str | None, tuple[str, ...]]:
        """The findings that reports of each domain tell of, in the checker's order."""
        stated = {domain: frozenset[str]().union(*self.checker(reports)) for domain, reports in self.donors.items()}
        return {domain: tuple(label for label in self.checker.labels if label in labels) for domain, labels in stated.items()}

    def goes_with(self, finding: str, others: frozenset[str], domain: str | None) -> bool:
        """Whether training reports of the domain tell of the finding beside each of the others: not all can occur together."""
        return others <= self._beside[domain].get(finding, set())

    @cached_property
    def _beside(self) -> dict[str | None, dict[str, set[str]]]:
        result: dict[str | None, dict[str, set[str]]] = {domain: {} for domain in self.donors}
        for domain, reports in self.donors.items():
            for findings in self.checker(reports):
                for finding in findings:
                    result[domain].setdefault(finding, set()).update(findings)
        return result

    def read(self, report: str) -> frozenset[str]:
        """The findings that a report tells of."""
        return self.checker([report])[0]

    def domain_of(self, finding: str) -> str | None:
        """The domain whose reports tell of the finding most often.
        Raises UserError: an unknown finding; the message names the nearest."""
        self.check(finding)
        counts = {
            domain: sum(finding in findings for findings in self.checker(reports)) for domain, reports in self.donors.items()
        }
        return max(counts, key=lambda domain: counts[domain])

    def domain_like(self, report: str) -> str | None:
        """The domain whose training reports use most of this report's sentences."""
        parts = {report[part].strip().lower() for part in sentences(report)}
        return max(self.donors, key=lambda domain: len(parts & self._sentences[domain]))

    @cached_property
    def _sentences(self) -> dict[str | None, set[str]]:
        return {
            domain: {report[part].strip().lower() for report in reports for part in sentences(report)}
            for domain, reports in self.donors.items()
        }

    def check(self, finding: str) -> None:
        """Raises a UserError for a label that the checker does not know."""
        if finding not in self.checker.labels:
            raise unknown("finding", finding, self.checker.labels)

    def change(self, report: str, domain: str | None, finding: str, present: bool) -> Change | None:
        """The report with the finding added (`present`) or removed; None where it is so already, or no sentence says it.
        Raises UserError: an unknown finding, or a domain without training reports."""
        self.check(finding)
        if domain not in self.donors:
            raise unknown("domain", str(domain), [str(known) for known in self.donors])
        if (finding in self.read(report)) == present:
            return None
        try:
            new = with_finding(report, finding, present, self.checker, self.donors[domain])
        except UserError:  # the one other reason: no sentence says it
            return None
        return Change(finding, present, new)
