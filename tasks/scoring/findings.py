"""Finding F1 of predictions, as the data set's checkers read them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from medim.common.errors import UserError
from medim.data.dataset import Checker, Described
from tasks.metrics.clinical.findings import Counts, sample_f1, supported
from tasks.metrics.statistics.additive import Additive
from tasks.protocols import Cases
from tasks.scoring.context import Context
from tasks.scoring.scores import Score, Scorer, because

MACRO_F1 = "macro finding F1"
PER_SAMPLE_F1 = "finding F1"
CHECKER_MACRO_F1, CHECKER_F1 = "checker macro F1", "checker F1"


def reference_findings(cases: Cases, context: Context) -> tuple[list[frozenset[str]] | None, str]:
    """Returns what the cases show and where that comes from, or None and why nothing is known.
    The data set's labels come first, then what its report checker reads; a checker that was chosen reads the cases that lack
    labels, any other all of them."""
    stated = [case.findings for case in cases]
    missing = [row for row, findings in enumerate(stated) if findings is None]
    if not missing:
        return [findings for findings in stated if findings is not None], "data set"
    checker = context.report_checker
    if checker is None:
        return None, "the data set states no findings and has no report checker"
    rows = missing if isinstance(checker, Described) else range(len(cases))
    reading = Reading.of("report", [cases[row].report for row in rows], context)
    if reading.found is None:
        return None, reading.reason
    read = dict(zip(rows, reading.found, strict=True))
    source = f"report checker {checker.name}"
    if isinstance(checker, Described):
        source = f"{source} ({checker.fingerprint})"
    if len(read) < len(cases):
        source = f"data set; {len(read)} of {len(cases)} cases: {source}"
    return [read.get(row, findings or frozenset()) for row, findings in enumerate(stated)], source


@dataclass(frozen=True)
class Reading:
    """What a checker of the data set read from predictions."""

    # one set per case; None where there is no checker or it failed, and `reason` says so
    found: Sequence[frozenset[str]] | None
    details: dict[str, Any]  # of the checker, for signatures
    reason: str = ""
    labels: tuple[str, ...] | None = None  # what the checker can read; None: whatever the cases show

    @classmethod
    def of(cls, modality: Literal["image", "report"], items: Sequence[Any], context: Context) -> "Reading":
        """Of images or reports; a missing one shows nothing."""
        checker = context.image_checker if modality == "image" else context.report_checker
        if checker is None:
            return cls(None, {}, f"the data set has no {modality} checker")
        details = checker_details(modality, checker)
        try:
            found = context.image_findings(items) if modality == "image" else context.report_findings(items)
            return cls(found, details, labels=checker.labels)
        except UserError as error:
            return cls(None, details | because(error), str(error))


def checker_details(modality: str, checker: Checker) -> dict[str, Any]:
    """Name and hash of a checker, for signatures; of one that was chosen also label map and thresholds."""
    plain = {f"{modality}_checker": checker.name, f"{modality}_checker_weights": checker.fingerprint}
    more = checker.details() if isinstance(checker, Described) else {}
    return plain | {f"{modality}_checker_{name}": value for name, value in more.items()}


def readable(findings: Sequence[frozenset[str]], *checkers: Sequence[str] | None) -> tuple[list[str], dict[str, Any]]:
    """The findings that occur and that each checker has among its labels, and what a signature says of the others."""
    shown = supported(findings)
    read = [finding for finding in shown if all(labels is None or finding in labels for labels in checkers)]
    unread = [finding for finding in shown if finding not in read]
    return read, {"unread_findings": unread} if unread else {}


def finding_scores(cases: Cases, reading: Reading, context: Context, coverage: float) -> tuple[list[Score], list[float] | None]:
    """Finding F1 of what a checker read from the predictions: macro, by domain, micro, precision, recall and by finding.
    Returns scores, and F1 of each sample (None where withheld)."""
    score, found = Scorer(context, len(cases), coverage), reading.found
    references, source = reference_findings(cases, context)
    if found is None:
        return [score(MACRO_F1, None, True, reading.reason, **reading.details)], None
    if references is None:
        return [score(MACRO_F1, None, True, source)], None
    score = score.of(**reading.details, reference_findings=source)
    labels, unread = readable(references, reading.labels)
    if not labels:
        reason = "no case shows any finding" if not unread else "no case shows a finding that the checker reads"
        return [score(MACRO_F1, None, True, reason)], None
    score = score.of(**unread)
    patients = tuple(case.patient for case in cases)
    every = Counts.of(references, found, sorted(set(labels).union(*found)))
    counts = every.select(labels)
    scores = [_macro(MACRO_F1, counts, patients, score)]
    domains = sorted({case.domain for case in cases if case.domain is not None})
    for domain in domains if len(domains) > 1 else ():
        rows = [index for index, case in enumerate(cases) if case.domain == domain]
        theirs = [references[row] for row in rows]
        if shown := readable(theirs, reading.labels)[0]:
            part = Counts.of(theirs, [found[row] for row in rows], shown)
            scores.append(_macro(f"{MACRO_F1}: {domain}", part, tuple(patients[row] for row in rows), score.of(len(rows))))
    scores.append(score("micro finding F1", Additive(every.values.sum(axis=2), patients, "micro-f1"), True))
    for name in ("precision", "recall"):
        macro = _additive(counts, patients, f"macro-{name}")
        scores.append(score(f"macro finding {name}", macro, True, labels=len(labels)))
    support = counts.totals()[[0, 2]].sum(axis=0)
    for column, (label, positives) in enumerate(zip(counts.labels, support, strict=True)):
        additive = Additive(counts.values[:, :, column], patients, "label-f1")
        scores.append(score(f"{PER_SAMPLE_F1}: {label}", additive, True, support=int(positives)))
    return scores, sample_f1(every)


def checker_scores(cases: Cases, context: Context) -> list[Score]:
    """How well the chosen checker of images reads the real ones: F1 macro and by finding, under names of their own."""
    if not isinstance(context.image_checker, Described):
        return []
    reading = Reading.of("image", [case.image for case in cases], context)
    names = {MACRO_F1: CHECKER_MACRO_F1}
    renamed = []
    for score in finding_scores(cases, reading, context, 1.0)[0]:
        name = names.get(score.metric, score.metric.replace(f"{PER_SAMPLE_F1}: ", f"{CHECKER_F1}: "))
        if name != score.metric:
            renamed.append(replace(score, metric=name, signature={**score.signature, "metric": name}))
    return renamed


def _macro(name: str, counts: Counts, patients: tuple[str, ...], score: Scorer) -> Score:
    additive = _additive(counts, patients, "macro-f1")
    return score(name, additive, True, labels=len(counts.labels), averaged="labels that the references show")


def _additive(counts: Counts, patients: tuple[str, ...], combine: str) -> Additive:
    """TP, FP and FN of L labels, (N, 3 L)."""
    return Additive(counts.values.reshape(len(patients), -1), patients, combine, {"labels": len(counts.labels)})
