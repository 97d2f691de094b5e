"""Scores of edits: is the finding there (or gone), are all others as they were, did anything outside the region change."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from medim.common.errors import UserError
from tasks.editing.reports import Change
from tasks.metrics.statistics.additive import Additive
from tasks.protocols import Cases
from tasks.scoring.context import Context
from tasks.scoring.findings import checker_details
from tasks.scoring.scores import Score, Scored, Scorer, because, coverage_of

HITS, KEPT, BOTH = "edit hit rate", "other findings kept", "hit and others kept"
OUTSIDE, REGION = "tokens changed outside the region", "share of tokens redrawn"
DIRECTIONS = {HITS: True, KEPT: True, BOTH: True, OUTSIDE: False, REGION: None}


def editing_scores(
    cases: Cases,
    changes: Mapping[str, Change],
    images: Sequence[Image.Image | None],
    accounts: Sequence[Mapping[str, Any]],
    context: Context,
) -> Scored:
    """Scores over the cases with an edit, and the per-sample scores of all (empty for the others).
    A missing image shows no hit and keeps nothing. Other findings are those that neither the edit nor its report concerns, as
    the checker reads them in the image before and after.
    `changes`: the requested edit, by a case's id.
    `images`: edited ones.
    `accounts`: of the tokens of each prediction, as `Editing.generate` writes them; empty where unknown."""
    rows = [row for row, case in enumerate(cases) if case.id in changes]
    edited = [images[row] for row in rows]
    samples: list[dict[str, float]] = [{} for _ in cases]
    if not rows or context.image_checker is None or context.report_checker is None:
        reason = "no case could be edited" if context.image_checker and context.report_checker else "the data has no checkers"
        return Scorer(context, len(rows), 0.0).withheld(DIRECTIONS, reason), samples
    requested = [changes[cases[row].id] for row in rows]
    score = Scorer(context, len(rows), coverage_of(edited))
    try:
        before = context.image_findings([cases[row].image for row in rows])
        after = context.image_findings(edited)
        old_reports = context.report_findings([cases[row].report for row in rows])
        new_reports = context.report_findings([one.report for one in requested])
    except UserError as error:
        return score.withheld(DIRECTIONS, str(error), **because(error)), samples
    present = np.array([image is not None for image in edited])
    hits = np.array([(one.finding in found) == one.present for one, found in zip(requested, after, strict=True)]) & present
    concerned = [(old ^ new) | {one.finding} for one, old, new in zip(requested, old_reports, new_reports, strict=True)]
    kept = np.array([b - c == a - c for b, a, c in zip(before, after, concerned, strict=True)]) & present
    for place, row in enumerate(rows):
        samples[row] = {"hit": float(hits[place]), "kept": float(kept[place])}

    patients = [cases[row].patient for row in rows]
    score = score.of(**checker_details("image", context.image_checker), **checker_details("report", context.report_checker))
    scores = [
        score(metric, Additive.proportion(values.tolist(), patients), True)
        for metric, values in ((HITS, hits), (KEPT, kept), (BOTH, hits & kept))
    ]
    domains, findings = [cases[row].domain or "" for row in rows], [one.finding for one in requested]
    for groups in (domains, findings):
        for name in sorted(set(groups) - {""}):
            places = [place for place, group in enumerate(groups) if group == name]
            share = Additive.proportion(hits[places].tolist(), [patients[place] for place in places])
            scores.append(score.of(len(places))(f"{HITS}: {name}", share, True))
    return scores + _token_scores([accounts[row] for row in rows], patients, context), samples


def _token_scores(accounts: Sequence[Mapping[str, Any]], patients: Sequence[str], context: Context) -> list[Score]:
    """How much of the image was redrawn, and how much of the rest changed: shares of tokens."""
    rows = [row for row, one in enumerate(accounts) if "redrawn" in one]
    score = Scorer(context, len(rows), len(rows) / len(accounts))
    if not rows:
        return score.withheld({name: DIRECTIONS[name] for name in (OUTSIDE, REGION)}, "nothing is known of its tokens")
    redrawn = np.array([len(accounts[row]["redrawn"]) for row in rows], float)
    tokens = np.array([accounts[row]["tokens"] for row in rows], float)
    changed = np.array([accounts[row]["changed_outside"] for row in rows], float)
    names = tuple(patients[row] for row in rows)
    outside = Additive(np.stack([changed, tokens - redrawn], axis=1), names, "mean")
    region = Additive(np.stack([redrawn, tokens], axis=1), names, "mean")
    return [score(metric, one, DIRECTIONS[metric]) for metric, one in ((OUTSIDE, outside), (REGION, region))]
