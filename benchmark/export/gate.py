"""The gate: what is measured of every pair before it leaves, and which pairs do not.

    near      min over spaces S of  d_S(x) / threshold_S      (`tasks.memorisation.screening`); below 1 a near-copy
    agreement |F(image) & F(report)| / |F(image) | F(report)|  of the findings that the checkers read; 1 where neither sees any
    nats      upper bound on -log p(image, report) under the model

The checker of images is the one that steers: the one that scores never decides what is scored.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
from PIL import Image

from benchmark.export.sources import Candidate
from medim.common.errors import UserError
from medim.data.dataset import Checker, Described, PairDataset
from medim.imaging.images import square
from tasks.cases import cases_of
from tasks.memorisation.screening import Screen
from tasks.metrics.image.features import FeatureBank
from tasks.metrics.image.memorisation import Nearest, Rows, nearest, nearest_of_views, severity
from tasks.protocols import Scorable
from tasks.scoring.context import Context

GATE_MEASURES = ("agreement", "nats", "distance")
_IN_MEMORY = 1 << 30  # bytes of a space's training rows that stay in memory between batches; larger sets are read again


@dataclass(frozen=True)
class Rules:
    """What a pair has to reach; None is no rule."""

    min_agreement: float | None = None  # in [0, 1]
    max_nats: float | None = None  # of image and report together
    min_distance: float | None = None  # in units of the threshold; 1 keeps all that is no near-copy
    allow_near_copies: bool = False  # forced by name


class NeighbourSearch:
    """How near the closest training image lies, in the spaces of a screen, in units of its thresholds.
    `dataset`: whose training split is searched, and whose other splits give the thresholds.
    `side`: of the images compared, in pixels.
    `context`: feature spaces, device, seed and where the index is stored.
    `alpha`: share of unseen images that may be taken for copies.
    Raises UserError: at the first use: no training pairs, no held-out pairs, an unreadable image."""

    def __init__(self, dataset: PairDataset, side: int, context: Context, alpha: float) -> None:
        self.dataset, self.side, self.context, self.alpha = dataset, side, context, alpha
        self._blocks: dict[str, list[Rows]] = {}

    @cached_property
    def screen(self) -> Screen:
        """Built at its first use, when the training split is read."""
        return Screen(self.dataset, cases_of(self.dataset, "train", self.side, 1), self.context, self.alpha)

    def configuration(self) -> dict[str, Any]:
        """JSON-able: what distances and thresholds depend on, known without reading an image."""
        return {
            "data": self.dataset.fingerprint,
            "side": self.side,
            "alpha": self.alpha,
            "features": list(self.context.features),
            "seed": self.context.seed,
        }

    def __call__(self, images: Sequence[Image.Image]) -> list[dict[str, Any]]:
        """For each image: `distance` (in units of the threshold, over all spaces), `nearest` and, by space, the distances."""
        shown = [image if image.size == (self.side, self.side) else square(image, self.side) for image in images]
        spaces = self.screen.spaces
        found = [nearest_of_views(space.views(shown), partial(self._nearest, space.bank))[0] for space in spaces]
        table = np.stack([one.distances for one in found])
        limits = np.array([threshold.distance for threshold in self.screen.thresholds])
        severe = severity(table, limits.tolist())
        where = (table / np.maximum(limits, np.finfo(np.float32).tiny)[:, None]).argmin(axis=0)
        names = self.screen.index.ids([int(found[space].rows[number]) for number, space in enumerate(where)])
        return [
            {
                "distance": float(severe[number]),
                "nearest": names[number],
                "distances": {space.title: float(table[place, number]) for place, space in enumerate(spaces)},
            }
            for number in range(len(shown))
        ]

    def _nearest(self, bank: FeatureBank | None, queries: np.ndarray) -> Nearest:
        key, index = "pixels" if bank is None else bank.space.fingerprint, self.screen.index
        if key not in self._blocks:
            first = next(iter(index.rows(bank)))
            if first.values.shape[1] * 4 * index.size > _IN_MEMORY:
                return nearest(queries, index.rows(bank))
            self._blocks[key] = list(index.rows(bank))
        return nearest(queries, self._blocks[key])

    def prepare(self) -> None:
        """Reads the training split and measures the thresholds, or finds what another command stored of them."""
        _ = self.screen.thresholds

    def report(self) -> dict[str, Any]:
        """JSON-able: what was searched, and the thresholds."""
        screen = self.screen
        return {
            "training": screen.index.fingerprint,
            "training_pairs": screen.index.size,
            "alpha": screen.alpha,
            "thresholds": {space.title: one.distance for space, one in zip(screen.spaces, screen.thresholds, strict=True)},
            "unusable_spaces": dict(screen.problems),
            "held_out": int(screen.null.distances.shape[1]),
        }


@dataclass
class Gate:
    """Measures and judges. Any of its three instruments may be missing; a rule that needs one is then refused.
    Raises UserError: a rule without its instrument."""

    rules: Rules
    search: NeighbourSearch | None = None  # None where the pairs leave unscreened, by name
    image_checker: Checker | None = None  # one that steers
    report_checker: Checker | None = None  # reads findings from reports
    model: Scorable | None = None  # gives the likelihood; `model_hash` is that of its weights
    model_hash: str | None = None
    draws: int = 8  # of its noise, for each pair; 0 for none
    ready: bool = field(default=False, init=False)  # the training split was read

    def __post_init__(self) -> None:
        rules = self.rules
        if rules.min_agreement is not None and (self.image_checker is None or self.report_checker is None):
            raise UserError("--min-agreement needs checkers of reports and of images that steer: --checker steer=KIND:FILE")
        if rules.max_nats is not None and not self._scores:
            raise UserError("--max-nats needs a --model that gives likelihoods, and --draws above 0")
        if rules.min_distance is not None:
            if self.search is None:
                raise UserError("--min-distance needs --data, whose training split is searched")
            if rules.min_distance < 1 and not rules.allow_near_copies:
                raise UserError(f"--min-distance {rules.min_distance:g} lets near-copies out: --allow near-copies says so")

    @property
    def _scores(self) -> bool:
        return self.model is not None and self.draws > 0

    def measure(self, candidates: Sequence[Candidate]) -> list[dict[str, Any]]:
        """What the metadata of each pair say of it: `agreement` and the findings, `nats`, `distance`; None where unknown."""
        measures: list[dict[str, Any]] = [{"agreement": None, "nats": None, "distance": None} for _ in candidates]
        if not candidates:
            return measures
        images, reports = [one.image for one in candidates], [one.report for one in candidates]
        if self.search is not None:
            for line, found in zip(measures, self.search(images), strict=True):
                line.update(found)
        if self.image_checker is not None and self.report_checker is not None:
            seen, read = self.image_checker(images), self.report_checker(reports)
            for line, shown, stated in zip(measures, seen, read, strict=True):
                line.update(agreement=agreement(shown, stated), image_findings=sorted(shown), report_findings=sorted(stated))
        if self.model is not None and self.draws > 0:
            seeds = [int(one.content[:12], 16) for one in candidates]  # no result depends on slot or batch
            bound = self.model.log_likelihood(images, reports, "joint", draws=self.draws, seeds=seeds)
            totals = np.asarray(bound.nats, dtype=np.float64).sum(axis=1)
            for line, total in zip(measures, totals, strict=True):
                line["nats"] = float(total) if np.isfinite(total) else None
        return measures

    def reason(self, report: str, measures: dict[str, Any]) -> str | None:
        """Why a pair of these measures does not leave; None where it does."""
        rules = self.rules
        if not report.strip():
            return "empty report"
        if self.search is not None and measures["distance"] < 1 and not rules.allow_near_copies:
            return "near-copy of a training image"
        if rules.min_distance is not None and measures["distance"] < rules.min_distance:
            return "below --min-distance"
        if rules.min_agreement is not None and measures["agreement"] < rules.min_agreement:
            return "below --min-agreement"
        if rules.max_nats is not None and measures["nats"] is None:
            return "no likelihood: the report does not fit the model"
        if rules.max_nats is not None and measures["nats"] > rules.max_nats:
            return "above --max-nats"
        return None

    def prepare(self) -> None:
        """Reads the training split where that is still to be done."""
        if self.search is not None and not self.ready:
            self.search.prepare()
        self.ready = True

    def report(self) -> dict[str, Any]:
        """JSON-able: the rules and the instruments, with what the search found of the training split."""
        return self.configuration() | {"search": None if self.search is None else self.search.report()}

    def configuration(self) -> dict[str, Any]:
        """JSON-able: all that a judgement depends on beside the pair."""
        images, reports = self.image_checker, self.report_checker
        return {
            "rules": asdict(self.rules),
            "search": None if self.search is None else self.search.configuration(),
            "image_checker": images and _named(images),
            "report_checker": reports and _named(reports),
            "likelihood": {"model_hash": self.model_hash, "condition": "joint", "draws": self.draws} if self._scores else None,
        }


def _named(checker: Checker) -> dict[str, Any]:
    more = checker.details() if isinstance(checker, Described) else {}
    return {"name": checker.name, "hash": checker.fingerprint, **more}


def agreement(image: frozenset[str], report: frozenset[str]) -> float:
    """Findings that both state, over those that either does (Jaccard); 1 where there are none.

    >>> agreement(frozenset({"a", "b"}), frozenset({"b"}))
    0.5
    """
    return len(image & report) / len(image | report) if image | report else 1.0
