"""Galleries as the page shows them, and which of their scores stands behind a metric."""

import json
from collections.abc import Sequence
from typing import Any

from leaderboard.choice import lower_is_better
from leaderboard.compare import Row
from leaderboard.gallery import Card, Gallery


def gallery_views(galleries: Sequence[Gallery], rows: Sequence[Row], anchor: str) -> list[dict[str, Any]]:
    """Models before anchors, in the order of the rows; of anchors that several runs share, the one that the row stands for."""
    order = {(row.first.run, row.first.model): i for i, row in enumerate(rows)}
    shown = sorted(
        (g for g in galleries if (g.run.manifest.run, g.system) in order),
        key=lambda g: order[g.run.manifest.run, g.system],
    )
    return [_view(gallery, f"{anchor}-samples{i}") for i, gallery in enumerate(shown, start=1)]


def _view(gallery: Gallery, anchor: str) -> dict[str, Any]:
    return {
        "id": anchor,
        "run": gallery.run.manifest.run,
        "system": gallery.system,
        "is_model": gallery.is_model,
        "cards": [(card, _scores(card)) for card in gallery.cards],
        "total": gallery.total,
        "withheld": gallery.withheld,
        "sheet": gallery.sheet,
        "scores": gallery.scores,
        "lower": json.dumps([name for name in gallery.scores if lower_is_better(name)]),
        "given_report": gallery.task == "image-generation",
        "given_image": gallery.task == "report-generation",
    }


def _scores(card: Card) -> str:
    return json.dumps({name: float(f"{value:.6g}") for name, value in card.sample.scores.items()})


def score_behind(metric: str, scores: Sequence[str]) -> str:
    """The score of single samples that a metric sums up, by its name: `finding F1` of `macro finding F1`; empty for none.

    >>> score_behind("BLEU-4 (as given)", ["BLEU-1", "BLEU-4"])
    'BLEU-4'
    """
    return max((name for name in scores if name in metric), key=len, default="")
