"""Retrieval within a set of generated pairs: each image looks for its own report, each report for its own image."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from medim.common.errors import UserError
from medim.common.files import hash_of
from tasks.cases import drawn_cases
from tasks.generation.joint.agreement import ANCHORED
from tasks.metrics.pair.consistency import PERMUTATIONS, Scale
from tasks.metrics.pair.retrieval import CUTOFFS, MINIMUM_PAIRS, Alignment, align, ranks
from tasks.metrics.statistics.additive import Additive
from tasks.metrics.statistics.bootstrap import derangement
from tasks.metrics.text.embeddings import TextSpace, text_space
from tasks.protocols import Cases
from tasks.scoring.context import Context, space_signature
from tasks.scoring.scores import Score, Scorer, because

TRAINING_PAIRS = 512
WAYS = ("image to report", "report to image")
METHOD = "Wilson score over samples, the other pairs taken as they are"


@dataclass(frozen=True)
class Common:
    """A space where the images and reports of a data set meet, fitted once for all systems."""

    alignment: Alignment
    text: TextSpace
    training: int  # number of pairs that it was fitted on
    scales: dict[str, Scale]  # of real and shuffled pairs, by metric

    def ranks(self, images: np.ndarray, reports: Sequence[str]) -> dict[str, np.ndarray]:
        """Rank of each pair's own partner, by way; features (N, D) and N reports."""
        similar = self.alignment.similarities(images, self.text.rows(reports))
        return dict(zip(WAYS, (ranks(similar), ranks(similar.T)), strict=True))


def retrieval_scores(
    cases: Cases, images: Sequence[Image.Image | None], reports: Sequence[str | None], score: Scorer
) -> list[Score]:
    """R@1, 5 and 10 both ways, each also as a share of the way from shuffled to real pairs.
    The space is that of the first image features of the context and of texts, fitted on real training pairs: the generator has
    no part in it. Where pairs are missing all are withheld: among fewer pairs each is easier to find."""
    n, context = len(cases), score.context
    score = score.of(pool=n, ties="against")
    names = [f"retrieval R@{cutoff} ({way})" for cutoff in CUTOFFS for way in WAYS]
    directions = {f"{prefix}{name}": True for name in names for prefix in ("", "anchored ")}
    pairs = [(image, report) for image, report in zip(images, reports, strict=True) if image is not None and report is not None]
    if len(pairs) < n:
        return score.withheld(directions, f"{n - len(pairs)} of {n} pairs are missing")
    if n <= CUTOFFS[-1]:
        return score.withheld(directions, f"more than {CUTOFFS[-1]} pairs are needed, here are {n}")
    try:
        bank = context.bank(context.features[0])
    except UserError as error:
        return score.withheld(directions, str(error), **{"unavailable": True} | because(error))
    score = score.of(**space_signature(bank.space))
    try:
        features = bank.features([image for image, _ in pairs])
        common = _common(cases, context)
        found = common.ranks(features, [report for _, report in pairs])
    except UserError as error:
        return score.withheld(directions, str(error), **because(error))
    score = score.of(
        texts=common.text.name,
        texts_weights=common.text.fingerprint,
        map="canonical correlations",
        components=common.alignment.components,
        training_pairs=common.training,
    )
    ids = [case.id for case in cases]
    scores = []
    for cutoff in CUTOFFS:
        for way in WAYS:
            name = f"retrieval R@{cutoff} ({way})"
            hits = Additive.proportion((found[way] <= cutoff).tolist(), ids, paired=False)
            scores += [score(name, hits, True, method=METHOD), _anchored(name, hits, common.scales[name], score)]
    return scores


def _anchored(name: str, hits: Additive, scale: Scale, score: Scorer) -> Score:
    if scale.problem is not None:
        return score(f"anchored {name}", None, True, scale.problem, anchored=ANCHORED)
    put = Additive(hits.sums, hits.patients, "affine-mean", {"zero": scale.shuffled, "one": scale.real}, paired=False)
    method = f"{put.method}, the other pairs taken as they are"
    return score(f"anchored {name}", put, True, method=method, anchored=ANCHORED)


def _common(cases: Cases, context: Context) -> Common:
    """The space of this context, at its first call for these cases.
    Raises UserError: no training pairs, or features that cannot be had; the same error again, without trying again."""
    key = f"joint retrieval of {hash_of([case.id for case in cases])}"
    if key not in context.cached:
        try:
            context.cached[key] = _fitted(cases, context)
        except UserError as error:
            context.cached[key] = error
    common: Common | UserError = context.cached[key]
    if isinstance(common, UserError):
        raise common
    return common


def _fitted(cases: Cases, context: Context) -> Common:
    if context.dataset is None or not context.dataset.size("train"):
        raise UserError("there are no training pairs to fit a common space of images and reports on")
    train = drawn_cases(context.dataset, "train", cases[0].image.width, TRAINING_PAIRS, context.seed)
    if len(train) < MINIMUM_PAIRS:
        raise UserError(f"a common space of images and reports needs {MINIMUM_PAIRS} training pairs, here are {len(train)}")
    bank = context.bank(context.features[0])
    text = text_space([case.report for case in train])
    images = bank.features([case.image for case in train], keep=True)
    alignment = align(images, text.rows([case.report for case in train]), [case.patient for case in train], context.seed)
    common = Common(alignment, text, len(train), {})
    features = bank.features([case.image for case in cases], keep=True)
    return Common(alignment, text, len(train), _scales(common, features, cases, context.seed))


def _scales(common: Common, features: np.ndarray, cases: Cases, seed: int) -> dict[str, Scale]:
    """Of the cases' own pairs, and of permutations of their reports."""
    similar = common.alignment.similarities(features, common.text.rows([case.report for case in cases]))
    generator = np.random.default_rng(seed)
    orders = [derangement(len(cases), generator) for _ in range(PERMUTATIONS)]
    patients = [case.patient for case in cases]
    scales = {}
    for way, side in zip(WAYS, (similar, similar.T), strict=True):
        own, others = ranks(side), [ranks(side, order) for order in orders]
        for cutoff in CUTOFFS:
            real = Additive.proportion((own <= cutoff).tolist(), patients)
            shuffled = [float((other <= cutoff).mean()) for other in others]
            scales[f"retrieval R@{cutoff} ({way})"] = Scale.of(real, shuffled, seed)
    return scales
