"""Memorisation: were samples copied from the training split? They are screened for it; a clean screen proves nothing."""

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from medim.common.errors import UserError
from medim.common.files import hash_of
from medim.imaging.images import GEOMETRY
from medim.perception.array import image_key
from tasks.baselines.anchors import COPY, copies_of
from tasks.generation.joint.task import JointGeneration
from tasks.memorisation.screening import PIXELS, PLANTED, ImageScreen, Screen
from tasks.metrics.image.memorisation import ALPHA, SIDE, correlation
from tasks.metrics.statistics.additive import Additive
from tasks.metrics.text.copied_text import ORDER, words
from tasks.protocols import Cases, Generator, Prediction, Predictions, Reconstructs
from tasks.scoring.context import Context, space_signature
from tasks.scoring.scores import Score, Scored, Scorer, aligned, coverage_of, images_of, reports_of
from tasks.task import Anchor, Exhibition, Pairing, Task

FLAGGED, NOMINAL = "flagged images", "flagged images expected of unseen ones"
PLANTED_FOUND, PLANTED_ON_TOP = "planted copies found", f"planted copies in the top {PLANTED}"
DUPLICATES = "training duplicates"
VERBATIM, OVERLAP, FLAGGED_REPORTS = "verbatim reports", f"{ORDER}-gram overlap of reports", "flagged reports"
MOST_DUPLICATES = 0.5
SHOWN = 32
RULE = "nearer to a training image, mirrored or not, than held-out images are, in any space"


class Memorisation(Task):
    """Samples against every training pair: images in two or more spaces, reports by their words.
    Where no samples are given it draws unprompted pairs, as joint generation does.
    `alpha`: share of unseen images, and of unseen reports, that the screen may flag."""

    name = "memorisation"
    title = "Memorisation"
    intro = "Samples are screened for copies of training pairs; others need not be new."
    prompted = False
    headline_metrics = (FLAGGED, NOMINAL, "authenticity (EfficientNet-Lite0)", FLAGGED_REPORTS, VERBATIM, PLANTED_FOUND)
    order = 50

    def __init__(self, alpha: float = ALPHA) -> None:
        self.alpha = alpha

    def generate(self, generator: Generator, cases: Cases, seeds: Sequence[int]) -> list[Prediction]:
        """One unprompted pair per case. Raises UserError: the generator gave another number of pairs."""
        return JointGeneration().generate(generator, cases, seeds)

    def anchors(self, cases: Cases, train: Cases, reconstructs: Reconstructs | None, seed: int) -> list[Anchor]:
        """real (held out: about the nominal rate is flagged), training copy (all is)."""
        anchors = [Anchor("real", [Prediction(case.id, case.image, case.report) for case in cases])]
        if train:
            chosen = copies_of(train, len(cases), np.random.default_rng(seed))
            copies = [Prediction(case.id, copy.image, copy.report) for case, copy in zip(cases, chosen, strict=True)]
            anchors.append(Anchor(COPY, copies))
        return anchors

    def score(self, cases: Cases, predictions: Predictions, context: Context, population: Cases | None = None) -> Scored:
        """Scores and per-sample scores; shares are of the samples that are there. A report without a word is missing."""
        scores, samples, _ = self._screened(cases, predictions, context)
        return scores, samples

    def exhibit(self, cases: Cases, predictions: Predictions, context: Context) -> Exhibition:
        """Each sample's nearest training pairs, the most severe ones as pictures."""
        return self._screened(cases, predictions, context)[2]

    def _screened(
        self, cases: Cases, predictions: Predictions, context: Context
    ) -> tuple[list[Score], list[dict[str, float]], Exhibition]:
        """Scores, per-sample scores and what there is to show, computed once for the same predictions.
        Raises UserError: the data set has no training pairs, or an image of it cannot be read."""
        content = [[p.id, p.image and image_key(p.image), p.report] for p in predictions]
        key = hash_of([self.name, self.alpha, [case.id for case in cases], content])
        if key not in context.cached:
            context.cached[key] = self._screen_all(cases, predictions, context)
        return context.cached[key]

    def _screen_all(
        self, cases: Cases, predictions: Predictions, context: Context
    ) -> tuple[list[Score], list[dict[str, float]], Exhibition]:
        screen = self._screen(cases, context)
        predictions = aligned(cases, predictions)
        images = images_of(cases, predictions)
        reports = [report if report is not None and words(report) else None for report in reports_of(predictions)]
        samples: list[dict[str, float]] = [{} for _ in cases]
        lines: list[dict[str, Any]] = [{"id": case.id} for case in cases]
        scores, pairings = _image_scores(screen, images, samples, lines, context)
        scores += _report_scores(screen, reports, samples, lines, context)
        title = ("Samples (left) and the training image nearest to each (right)", _caption(screen))
        return scores, samples, Exhibition(title, pairings, lines)

    def _screen(self, cases: Cases, context: Context) -> Screen:
        """The screen of these cases, built once for all systems of the run."""
        if context.dataset is None:
            raise UserError("memorisation needs the data set whose training split is searched")
        key = hash_of([self.name, self.alpha, cases[0].image.width, [case.id for case in cases]])
        if key not in context.cached:
            screen = Screen(context.dataset, cases, context, self.alpha)
            if screen.duplicates > MOST_DUPLICATES:
                tqdm.write(f"warning: {_duplicated(screen)}", file=sys.stderr)
            context.cached[key] = screen
        return context.cached[key]


def _image_scores(
    screen: Screen,
    images: Sequence[Image.Image | None],
    samples: list[dict[str, float]],
    lines: list[dict[str, Any]],
    context: Context,
) -> tuple[list[Score], list[Pairing]]:
    """Scores, and the most severe samples beside their neighbours; adds to `samples` and `lines` what is known of each."""
    places = [place for place, image in enumerate(images) if image is not None]
    present = [image for image in images if image is not None]
    score = Scorer(context, len(present), coverage_of(images), _details(screen))
    if not present:
        names = [PLANTED_FOUND, *(f"authenticity ({space.title})" for space in screen.spaces)]
        return score.withheld({FLAGGED: False} | dict.fromkeys(names, True), "there are no images"), []
    found = screen.images(present)
    ids = [lines[place]["id"] for place in places]

    def share(metric: str, hits: np.ndarray, better: bool | None, reason: str | None, **details: Any) -> Score:
        additive = Additive.proportion(hits.tolist(), ids, paired=False) if reason is None else None
        return score(metric, additive, better, reason, **details)

    scores = [share(FLAGGED, found.any_flagged, False, _unusable(screen))]
    scores.append(score(NOMINAL, sum(threshold.nominal for threshold in screen.thresholds), None))
    duplicated = _duplicated(screen) if screen.duplicates > MOST_DUPLICATES else None
    for number, space in enumerate(screen.spaces):
        title, nominal = space.title, screen.thresholds[number].nominal
        more: dict[str, Any] = {"space": title, "nominal": nominal}
        scores.append(share(f"{FLAGGED} ({title})", found.flagged[number], False, _unusable(screen, [number]), **more))
        scores.append(share(f"authenticity ({title})", found.authentic[number], None, duplicated, **more))
        held_out = float(np.median(screen.null.distances[number]))
        reason = None if held_out else "half of the held-out images are copies of training images"
        ratio = float(np.median(found.distances[number])) / held_out if held_out else None
        more |= {"compared": "medians"} if held_out else {}
        scores.append(score(f"nearest distance / held-out ({title})", ratio, None, reason, **more))
    for spec, problem in screen.problems.items():
        scores.append(score(f"{FLAGGED} ({spec})", None, False, problem, unavailable=True))
    planted: dict[str, Any] = {"planted": "half as they are, half mirrored, brighter, darker"}
    scores.append(score(PLANTED_FOUND, float(found.planted_found.mean()), True, **planted))
    among = "the planted copies and the samples that are not flagged"
    scores.append(score(PLANTED_ON_TOP, found.planted_on_top / len(found.planted_found), True, among=among, **planted))
    scores.append(score(DUPLICATES, screen.duplicates, None, compared=f"{SIDE} x {SIDE} grey levels"))
    for number, space in enumerate(screen.spaces):
        rows, distances = found.rows[number], found.distances[number]
        for place, distance, row, nearest_id in zip(places, distances, rows, screen.index.ids(rows), strict=True):
            samples[place][f"distance ({space.title})"] = float(distance)
            nearest = {"id": nearest_id, "row": int(row), "distance": float(distance)}
            lines[place][f"nearest ({space.title})"] = nearest
    for place, flagged, severe in zip(places, found.any_flagged, found.severity, strict=True):
        samples[place] |= {"flagged image": float(flagged), "distance / threshold": float(severe)}
    return scores, _pairings(screen, found, present, ids)


def _report_scores(
    screen: Screen,
    reports: Sequence[str | None],
    samples: list[dict[str, float]],
    lines: list[dict[str, Any]],
    context: Context,
) -> list[Score]:
    """Scores; adds to `samples` and `lines` what is known of each report."""
    places = [place for place, report in enumerate(reports) if report is not None]
    limit, null = screen.text_threshold, screen.null
    details = {
        "training": screen.index.fingerprint,
        "training_pairs": screen.index.size,
        "compared": "words, case and punctuation apart",
        "held_out": 0 if limit is None else limit.held_out,
        "held_out_verbatim": float(null.verbatim.mean()) if limit else None,
        "held_out_overlap": float(null.shares.mean()) if limit else None,
    }
    score = Scorer(context, len(places), coverage_of(reports), details)
    if not places:
        return score.withheld({VERBATIM: False, FLAGGED_REPORTS: False}, "there are no reports")
    found = screen.reports([report for report in reports if report is not None])
    ids = [lines[place]["id"] for place in places]
    scores = [
        score(VERBATIM, Additive.proportion(found.verbatim.tolist(), ids, paired=False), None),
        score(OVERLAP, Additive.mean(found.share.tolist(), ids, paired=False), None),
    ]
    if limit is None:
        reason = "held-out pairs have no reports"
    elif limit.distance <= 0:
        reason = f"{(null.shares == 1).mean():.1%} of held-out reports too are made of training {ORDER}-grams wholly"
    else:
        reason = None
    flagged = 1 - found.share < (limit.distance if limit else 0)
    more: dict[str, Any] = {}
    if limit is not None:
        more = {"alpha": screen.alpha, "nominal": limit.nominal, "threshold": 1 - limit.distance}
    share = Additive.proportion(flagged.tolist(), ids, paired=False)
    scores.append(score(FLAGGED_REPORTS, None if reason else share, False, reason, **more))
    for number, (place, nearest_id) in enumerate(zip(places, screen.index.ids(found.rows), strict=True)):
        samples[place] |= {
            "verbatim report": float(found.verbatim[number]),
            f"{ORDER}-gram overlap": float(found.share[number]),
            "longest copied run": float(found.longest[number]),
            "flagged report": float(flagged[number]),
        }
        lines[place]["nearest (report)"] = {"id": nearest_id, "verbatim": bool(found.verbatim[number])}
    return scores


def _pairings(screen: Screen, found: ImageScreen, images: Sequence[Image.Image], ids: Sequence[str]) -> list[Pairing]:
    """The most severe samples, each beside its neighbour in the space where it is most severe."""
    limits = np.array([max(threshold.distance, np.finfo(np.float32).tiny) for threshold in screen.thresholds])
    where = (found.distances / limits[:, None]).argmin(axis=0)
    order = np.argsort(found.severity, kind="stable")[:SHOWN]
    rows = [int(found.rows[where[number], number]) for number in order]
    pairings = []
    for number, other, name in zip(order, screen.index.images(rows), screen.index.ids(rows), strict=True):
        title, distance = screen.spaces[where[number]].title, found.distances[where[number], number]
        near = f"r {float(correlation(distance)):.3f}" if title == PIXELS else f"distance {distance:.3g}"
        flagged = "FLAGGED" if found.flagged[:, number].any() else "not flagged"
        severity = f"{flagged}: {found.severity[number]:.2f} of the threshold in {title}, {near}"
        pairings.append(Pairing(images[number], other, (f"{ids[number]} | {name}", severity)))
    return pairings


def _caption(screen: Screen) -> str:
    held_out = screen.null.distances.shape[1]
    return (
        f"Screened against {screen.index.size:,} training pairs; flagged below the {screen.alpha:g} quantile of {held_out:,} "
        "held-out images. The most severe come first. A sample that is not flagged is not thereby new."
    )


def _details(screen: Screen) -> dict[str, Any]:
    pixels = f"{SIDE} x {SIDE} grey, correlation, {GEOMETRY}"
    return {
        "training": screen.index.fingerprint,
        "training_pairs": screen.index.size,
        "alpha": screen.alpha,
        "rule": RULE,
        "spaces": {one.title: pixels if one.bank is None else space_signature(one.bank.space) for one in screen.spaces},
        "thresholds": {space.title: limit.distance for space, limit in zip(screen.spaces, screen.thresholds, strict=True)},
        "nominal": sum(limit.nominal for limit in screen.thresholds),
        "held_out": screen.null.distances.shape[1],
        "held_out_are_cases": screen.null.overlaps,
    }


def _unusable(screen: Screen, numbers: Sequence[int] | None = None) -> str | None:
    """Why nothing can be flagged in any of these spaces: held-out images that are copies themselves."""
    chosen = range(len(screen.spaces)) if numbers is None else numbers
    if any(screen.thresholds[number].distance > 0 for number in chosen):
        return None
    share = (screen.null.distances[list(chosen)] == 0).any(axis=0).mean()
    return f"{share:.1%} of held-out images too equal a training image of another patient: copies cannot be told"


def _duplicated(screen: Screen) -> str:
    return (
        f"{screen.duplicates:.0%} of the {screen.index.size} training images equal another one: authenticity cannot be read, "
        "as a copied point's own neighbour is at distance 0"
    )
