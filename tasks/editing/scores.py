"""Scores of edits: is the finding there (or gone), are all others as they were, did anything outside the region change."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from medim.common.errors import UserError
from tasks.editing.reports import Change
from tasks.metrics.statistics.additive import Additive
from tasks.protocols import Case
from tasks.scoring.context import Context
from tasks.scoring.findings import checker_details
from tasks.scoring.scores import Score, because, coverage_of, make_score

HITS, KEPT, BOTH = "edit hit rate", "other findings kept", "hit and others kept"
OUTSIDE, REGION = "tokens changed outside the region", "share of tokens redrawn"
DIRECTIONS = {HITS: True, KEPT: True, BOTH: True, OUTSIDE: False, REGION: None}


def editing_scores(
    cases: Sequence[Case],
    changes: Mapping[str, Change],
    images: Sequence[Image.Image | None],
    told: Sequence[Mapping[str, Any]],
    context: Context,
) -> tuple[list[Score], list[dict[str, float]]]:
    """Scores over the cases that were asked, and the per-sample scores of all (empty where a case was not asked).

    A missing image shows no hit and keeps nothing. Other findings are those that neither the edit nor its report concerns,
    as the checker reads them in the image before and after.

    Args:
        changes: what was asked, by id.
        images: edited ones.
        told: of each prediction, as `Editing.generate` writes it; without it nothing is said of tokens.
    """
    rows = [row for row, case in enumerate(cases) if case.id in changes]
    samples: list[dict[str, float]] = [{} for _ in cases]
    if not rows or context.image_checker is None or context.report_checker is None:
        reason = "no case could be asked" if context.image_checker and context.report_checker else "the data has no checkers"
        return [make_score(m, None, context, len(rows), 0.0, up, reason=reason) for m, up in DIRECTIONS.items()], samples
    asked = [changes[cases[row].id] for row in rows]
    try:
        before = context.image_findings([cases[row].image for row in rows])
        after = context.image_findings([images[row] for row in rows])
        said = [
            context.report_findings(reports) for reports in ([cases[row].report for row in rows], [one.report for one in asked])
        ]
    except UserError as error:
        there, why = coverage_of([images[row] for row in rows]), because(error)
        withheld = [
            make_score(m, None, context, len(rows), there, up, reason=str(error), **why) for m, up in DIRECTIONS.items()
        ]
        return withheld, samples
    present = np.array([images[row] is not None for row in rows])
    hits = np.array([(one.finding in found) == one.present for one, found in zip(asked, after, strict=True)]) & present
    concerned = [(old ^ new) | {one.finding} for one, old, new in zip(asked, *said, strict=True)]
    kept = np.array([b - c == a - c for b, a, c in zip(before, after, concerned, strict=True)]) & present
    for place, row in enumerate(rows):
        samples[row] = {"hit": float(hits[place]), "kept": float(kept[place])}

    details = checker_details("image", context.image_checker) | checker_details("report", context.report_checker)
    coverage = coverage_of([images[row] for row in rows])
    patients = [cases[row].patient for row in rows]

    def share(metric: str, values: np.ndarray, better: bool | None, among: Sequence[int] | None = None) -> Score:
        places = range(len(rows)) if among is None else among
        additive = Additive.proportion([bool(values[place]) for place in places], [patients[place] for place in places])
        value = additive.value()
        return make_score(metric, value, context, len(places), coverage, better, additive=additive, **details)

    scores = [share(HITS, hits, True), share(KEPT, kept, True), share(BOTH, hits & kept, True)]
    groups = {f"{HITS}: {domain}": [p for p, row in enumerate(rows) if cases[row].domain == domain]
              for domain in sorted({cases[row].domain or "" for row in rows} - {""})}  # fmt: skip
    groups |= {f"{HITS}: {finding}": [p for p, one in enumerate(asked) if one.finding == finding]
               for finding in sorted({one.finding for one in asked})}  # fmt: skip
    scores += [share(metric, hits, True, among) for metric, among in groups.items()]
    return scores + _token_scores([told[row] for row in rows], patients, context), samples


def _token_scores(told: Sequence[Mapping[str, Any]], patients: Sequence[str], context: Context) -> list[Score]:
    """How much of the image was redrawn, and how much of the rest changed: shares of tokens."""
    rows = [row for row, one in enumerate(told) if "redrawn" in one]
    coverage = len(rows) / len(told)
    if not rows:
        reason = "nothing is told of its tokens"
        return [make_score(metric, None, context, 0, 0.0, DIRECTIONS[metric], reason=reason) for metric in (OUTSIDE, REGION)]
    redrawn = np.array([len(told[row]["redrawn"]) for row in rows], float)
    tokens = np.array([told[row]["tokens"] for row in rows], float)
    changed = np.array([told[row]["changed_outside"] for row in rows], float)
    names = tuple(patients[row] for row in rows)
    outside = Additive(np.stack([changed, tokens - redrawn], axis=1), names, "mean")
    region = Additive(np.stack([redrawn, tokens], axis=1), names, "mean")
    return [
        make_score(metric, one.value(), context, len(rows), coverage, DIRECTIONS[metric], additive=one)
        for metric, one in ((OUTSIDE, outside), (REGION, region))
    ]
