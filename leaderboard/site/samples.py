"""Galleries as the page shows them, and which of their scores stands behind a metric."""

import json
from collections.abc import Sequence
from typing import Any

from leaderboard.cards import TaskCard
from leaderboard.site.choice import higher_is_better
from leaderboard.site.gallery import Card, Gallery
from leaderboard.tables.boards import Row, Table
from medim.common.files import file_name


def gallery_views(galleries: Sequence[Gallery], table: Table, anchor: str) -> list[dict[str, Any]]:
    """Models before anchors, in the order of the rows; of anchors that several runs share, the one that the row stands for."""
    known = {(gallery.run.manifest.run, gallery.system): gallery for gallery in galleries}
    places = {(row.first.run, file_name(row.first.model)): row for row in table.rows}
    shown = [(known[place], row) for place, row in places.items() if place in known]
    return [_view(gallery, row, table.card, f"{anchor}-samples{i}") for i, (gallery, row) in enumerate(shown, start=1)]


def _view(gallery: Gallery, row: Row, card: TaskCard, anchor: str) -> dict[str, Any]:
    return {
        "id": anchor,
        "run": gallery.run.manifest.run,
        "system": row.first.model,
        "is_model": row.kind == "measured",
        "cards": [(one, _scores(one)) for one in gallery.cards],
        "total": gallery.total,
        "withheld": gallery.withheld,
        "sheet": gallery.sheet,
        "scores": gallery.scores,
        "better": json.dumps({name: higher_is_better(name) for name in gallery.scores}),
        "given_report": card.prompted and card.needs == ["image"],
        "given_image": card.prompted and card.needs == ["report"],
    }


def _scores(card: Card) -> str:
    return json.dumps({name: float(f"{value:.6g}") for name, value in card.sample.scores.items()})


def score_behind(metric: str, scores: Sequence[str]) -> str:
    """The score of single samples that a metric sums up, by its name: `finding F1` of `macro finding F1`; empty for none.

    >>> score_behind("BLEU-4 (as given)", ["BLEU-1", "BLEU-4"])
    'BLEU-4'
    """
    return max((name for name in scores if name in metric), key=len, default="")
