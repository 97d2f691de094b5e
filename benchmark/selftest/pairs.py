"""The metrics of generated pairs, and the screen for copies, under changes whose effect is known."""

from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image

from benchmark.selftest.sheet import Sheet
from medim.data.loading import load_dataset
from medim.data.phantom import DEFAULT
from tasks.cases import cases_of
from tasks.generation.joint.task import JointGeneration
from tasks.memorisation.task import FLAGGED, PLANTED_FOUND, PLANTED_ON_TOP, VERBATIM, Memorisation
from tasks.metrics.statistics.bootstrap import derangement
from tasks.protocols import Cases, Prediction
from tasks.scoring.context import Context
from tasks.scoring.scores import Score

DATA = f"{DEFAULT}:train=0.5%"  # some 250 training pairs
COUNT, SIDE = 64, 64
Pairs = Sequence[tuple[Image.Image, str]]


def sheets() -> Iterator[Sheet]:
    """All perturbations of pairs."""
    dataset = load_dataset(DATA)
    cases = cases_of(dataset, "test", SIDE, COUNT)
    context = Context.for_dataset(dataset)
    real = [(case.image, case.report) for case in cases]
    scores = _scored(cases, real, context)
    yield _strangers(cases, real, scores, context)
    yield _one_pair(cases, real, scores, context)
    yield _copies(cases, cases_of(dataset, "train", SIDE, COUNT), Context.for_dataset(dataset, features=()))


def _predictions(cases: Cases, pairs: Pairs) -> list[Prediction]:
    return [Prediction(case.id, image, report) for case, (image, report) in zip(cases, pairs, strict=True)]


def _scored(cases: Cases, pairs: Pairs, context: Context) -> dict[str, Score]:
    scores, _ = JointGeneration().score(cases, _predictions(cases, pairs), context)
    return {score.metric: score for score in scores}


def _of_pairs(scores: dict[str, Score]) -> list[str]:
    """Metrics of which more is better and that look at both sides of a pair; none of one finding, none of images alone."""
    return [
        name for name, score in scores.items() if score.higher_is_better and ":" not in name and not name.startswith("image ")
    ]


def _strangers(cases: Cases, real: Pairs, before: dict[str, Score], context: Context) -> Sheet:
    sheet = Sheet("image and report of two pairs (before: real pairs)")
    order = derangement(len(real), np.random.default_rng(0))
    after = _scored(cases, [(image, real[index][1]) for (image, _), index in zip(real, order, strict=True)], context)
    for metric in _of_pairs(before):
        sheet.falls(metric, before[metric].value, after[metric].value, "they do not belong together", share=0.5)
    for metric in [name for name in before if name.startswith("max prevalence error")]:
        sheet.same(metric, before[metric].value, after[metric].value, "of each side alone: it does not ask what goes with what")
    return sheet


def _one_pair(cases: Cases, real: Pairs, before: dict[str, Score], context: Context) -> Sheet:
    sheet = Sheet("one real pair for all (before: real pairs)")
    one = max(zip(real, cases, strict=True), key=lambda each: len(each[1].findings or ()))[0]
    after = _scored(cases, [one] * len(cases), context)
    for metric in _of_pairs(before):
        if metric == "domain agreement":
            meaning = "one pair agrees with itself: see the prevalence errors"
            sheet.blind(metric, before[metric].value, after[metric].value, meaning)
            continue
        meaning = "ties count against it" if "retrieval" in metric else "findings that no pair shows score 0"
        sheet.falls(metric, before[metric].value, after[metric].value, meaning)
    for metric in [name for name in before if name.startswith("max prevalence error")]:
        sheet.rises(metric, before[metric].value, after[metric].value, "collapse shows here")
    sheet.falls("distinct reports", before["distinct reports"].value, after["distinct reports"].value, "collapse shows here")
    return sheet


def _copies(cases: Cases, training: Cases, context: Context) -> Sheet:
    sheet = Sheet("training pairs in place of new ones (before: held-out real ones)")

    def screened(pairs: Pairs) -> dict[str, float | None]:
        return {score.metric: score.value for score in Memorisation().score(cases, _predictions(cases, pairs), context)[0]}

    before = screened([(case.image, case.report) for case in cases])
    after = screened([(case.image, case.report) for case in training])
    sheet.rises(FLAGGED, before[FLAGGED], after[FLAGGED], "copies are nearer to training images than unseen ones are")
    sheet.same(f"{FLAGGED} (training copies)", 1.0, after[FLAGGED], "each is found")
    sheet.rises(VERBATIM, before[VERBATIM], after[VERBATIM], "word for word")
    sheet.same(f"{VERBATIM} (training copies)", 1.0, after[VERBATIM], "each is found")
    sheet.same(PLANTED_FOUND, 1.0, before[PLANTED_FOUND], "half as they are, half mirrored, brighter or darker")
    sheet.same(PLANTED_ON_TOP, 1.0, before[PLANTED_ON_TOP], "and they are the most severe ones")
    return sheet
