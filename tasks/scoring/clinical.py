"""Whether reports say the right things: labels and entities of chest reports and pathology captions, each on its own domain.
A data set that brings a report checker (phantoms) is scored by that one alone; these stand beside one that was chosen. What
needs weights that are not here is withheld, and says which file would provide them."""

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from tasks.metrics.clinical import pathology_entities
from tasks.metrics.clinical.chest_labeller import ChestLabeller
from tasks.metrics.clinical.chest_labels import label_scores
from tasks.metrics.weights import find_weights
from tasks.protocols import Cases
from tasks.scoring.context import Context
from tasks.scoring.scores import Score, Scorer, coverage_of

if TYPE_CHECKING:
    from tasks.metrics.clinical.chexbert import CheXbert

CHEST, PATHOLOGY = "chest-xray", "pathology"
CHEXBERT = "CheXbert"


class _Labeller(Protocol):
    name: str

    @property
    def fingerprint(self) -> str: ...

    def codes(self, reports: Sequence[str | None]) -> np.ndarray: ...


class _Part(NamedTuple):
    """The cases of one domain with their reports."""

    references: list[str]
    reports: list[str | None]
    patients: list[str]
    score: Scorer


def clinical_scores(cases: Cases, reports: Sequence[str | None], context: Context) -> list[Score]:
    """Label F1 of chest reports (rules; CheXbert where it is installed), entity F1 of pathology captions.
    `cases`, `reports`: N each; None for a missing report, which states nothing."""
    if context.brings_report_checker:
        return []
    scores: list[Score] = []
    chest, pathology = (_part(cases, reports, context, domain) for domain in (CHEST, PATHOLOGY))
    if chest is not None:
        scores += _labels(chest, ChestLabeller())
        name = f"{CHEXBERT}, micro-F1-14, uncertain positive"
        scores += chest.score.attempt(name, lambda: _labels(chest, _chexbert(context.device)))
    if pathology is not None:
        scores.append(_entities(pathology))
    return scores


def _part(cases: Cases, reports: Sequence[str | None], context: Context, domain: str) -> _Part | None:
    rows = [index for index, case in enumerate(cases) if case.domain == domain]
    if not rows:
        return None
    ours = [reports[row] for row in rows]
    score = Scorer(context, len(rows), coverage_of(ours))
    return _Part([cases[row].report for row in rows], ours, [cases[row].patient for row in rows], score)


def _labels(part: _Part, labeller: _Labeller) -> list[Score]:
    references, predictions = labeller.codes(part.references), labeller.codes(part.reports)
    score = part.score.of(labeller=labeller.name, labeller_hash=labeller.fingerprint)
    scores = []
    for one in label_scores(references, predictions, part.patients):
        reason = None if one.value is not None else "no reference shows any label"
        scores.append(score(f"{labeller.name}, {one.metric}", one.value, True, reason, additive=one.additive, **one.details))
    return scores


def _entities(part: _Part) -> Score:
    additive = pathology_entities.entity_f1(part.references, part.reports, part.patients)
    reason = None if additive is not None else "no reference names a term of the list"
    score = part.score.of(terms=pathology_entities.fingerprint(), aggregation="micro")
    return score(pathology_entities.NAME, additive, True, reason)


@lru_cache(maxsize=1)
def _chexbert_at(folder: str, device: str) -> "CheXbert":
    from tasks.metrics.clinical.chexbert import CheXbert  # lazy: start-up

    return CheXbert(folder, device)


def _chexbert(device: str) -> "CheXbert":
    return _chexbert_at(str(find_weights("chexbert")), device)
