"""Finding F1 of predictions, as the data set's checkers read them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from medim.common.errors import UserError
from medim.data.dataset import Checker
from tasks.metrics.clinical.findings import Counts, f1, macro_f1, sample_f1, supported
from tasks.metrics.statistics.additive import Additive
from tasks.protocols import Case
from tasks.scoring.context import Context
from tasks.scoring.scores import Score, because, make_score

MACRO_F1 = "macro finding F1"
PER_SAMPLE_F1 = "finding F1"


def reference_findings(cases: Sequence[Case], context: Context) -> tuple[list[frozenset[str]] | None, str]:
    """What the cases show: the data set's own labels, else what its report checker reads; None where there is neither.

    Returns:
        The findings (or None), and where they come from (or why there are none).
    """
    if all(case.findings is not None for case in cases):
        return [case.findings for case in cases if case.findings is not None], "data set"
    if context.report_checker is not None:
        reading = Reading.of("report", [case.report for case in cases], context)
        source = f"report checker {context.report_checker.name}"
        return (None, reading.reason) if reading.found is None else (list(reading.found), source)
    return None, "the data set states no findings and has no report checker"


@dataclass(frozen=True)
class Reading:
    """What a checker of the data set read from predictions.

    Attributes:
        found: one set per case; None where there is no checker or it failed, and `reason` says so.
        details: of the checker, for signatures.
    """

    found: Sequence[frozenset[str]] | None
    details: dict[str, Any]
    reason: str = ""

    @classmethod
    def of(cls, modality: Literal["image", "report"], items: Sequence[Any], context: Context) -> "Reading":
        """Of images or reports; a missing one shows nothing."""
        checker = context.image_checker if modality == "image" else context.report_checker
        if checker is None:
            return cls(None, {}, f"the data set has no {modality} checker")
        details = checker_details(modality, checker)
        try:
            return cls(context.image_findings(items) if modality == "image" else context.report_findings(items), details)
        except UserError as error:
            return cls(None, details | because(error), str(error))


def checker_details(modality: str, checker: Checker) -> dict[str, Any]:
    """Name and hash of a checker, for signatures."""
    return {f"{modality}_checker": checker.name, f"{modality}_checker_weights": checker.fingerprint}


def finding_scores(
    cases: Sequence[Case], reading: Reading, context: Context, coverage: float
) -> tuple[list[Score], list[float] | None]:
    """Finding F1 of what a checker read from the predictions: macro, by domain, micro, precision, recall and by finding.

    Returns:
        Scores, and F1 of each sample (None where withheld).
    """
    n, found, details = len(cases), reading.found, reading.details
    references, source = reference_findings(cases, context)
    if found is None or references is None:
        reason = reading.reason if found is None else source
        withheld = details if found is None else {}
        return [make_score(MACRO_F1, None, context, n, coverage, True, reason=reason, **withheld)], None
    details = details | {"reference_findings": source}
    labels = supported(references)
    if not labels:
        reason = "no case shows any finding"
        return [make_score(MACRO_F1, None, context, n, coverage, True, reason=reason, **details)], None
    patients = [case.patient for case in cases]
    every = Counts.of(references, found, sorted(set(labels).union(*found)))
    counts = every.select(labels)
    scores = [_macro(MACRO_F1, counts, patients, context, coverage, details)]
    domains = sorted({case.domain for case in cases if case.domain is not None})
    if len(domains) > 1:
        for domain in domains:
            scores += _domain_macro(domain, cases, references, found, context, coverage, details)
    pooled = Additive(every.values.sum(axis=2), tuple(patients), "micro-f1")
    scores.append(make_score("micro finding F1", pooled.value(), context, n, coverage, True, additive=pooled, **details))
    for name in ("precision", "recall"):
        macro = _additive(counts, patients, f"macro-{name}")
        scores.append(
            make_score(
                f"macro finding {name}",
                macro.value(),
                context,
                n,
                coverage,
                True,
                additive=macro,
                labels=len(labels),
                **details,
            )
        )
    scores += _by_finding(counts, patients, context, coverage, details)
    return scores, sample_f1(every)


def _macro(
    name: str, counts: Counts, patients: Sequence[str], context: Context, coverage: float, details: dict[str, Any]
) -> Score:
    extra = details | {"labels": len(counts.labels), "averaged": "labels that the references show"}
    value, additive = float(macro_f1(counts.totals())), _additive(counts, patients, "macro-f1")
    return make_score(name, value, context, len(patients), coverage, True, additive=additive, **extra)


def _additive(counts: Counts, patients: Sequence[str], combine: str) -> Additive:
    """TP, FP and FN of L labels, (N, 3 L)."""
    return Additive(counts.values.reshape(len(patients), -1), tuple(patients), combine, {"labels": len(counts.labels)})


def _domain_macro(
    domain: str,
    cases: Sequence[Case],
    references: Sequence[frozenset[str]],
    found: Sequence[frozenset[str]],
    context: Context,
    coverage: float,
    details: dict[str, Any],
) -> list[Score]:
    rows = [index for index, case in enumerate(cases) if case.domain == domain]
    labels = supported([references[row] for row in rows])
    if not labels:
        return []
    counts = Counts.of([references[row] for row in rows], [found[row] for row in rows], labels)
    patients = [cases[row].patient for row in rows]
    return [_macro(f"{MACRO_F1}: {domain}", counts, patients, context, coverage, details)]


def _by_finding(
    counts: Counts, patients: Sequence[str], context: Context, coverage: float, details: dict[str, Any]
) -> list[Score]:
    support = counts.totals()[[0, 2]].sum(axis=0)
    return [
        make_score(
            f"{PER_SAMPLE_F1}: {label}", float(value), context, len(patients), coverage, True,
            additive=Additive(counts.values[:, :, column], tuple(patients), "label-f1"),
            support=int(positives), **details,
        )
        for column, (label, value, positives) in enumerate(
            zip(counts.labels, f1(counts.totals()), support, strict=True)
        )
    ]  # fmt: skip
