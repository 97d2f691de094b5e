"""How a set of generated images lies to the cases' own: distances, coverage and variety, in each feature space."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from PIL import Image

from medim.common.errors import UserError
from medim.imaging.images import square
from medim.perception.efficientnet import EfficientNetLite0Features
from medim.perception.hub import Encoder
from medim.perception.inception import InceptionFeatures
from medim.perception.space import Space
from tasks.metrics.image import extrapolation, frechet, inception, kernel
from tasks.metrics.image.coverage import NEIGHBOURS, coverage_of_features
from tasks.metrics.image.features import FeatureBank
from tasks.metrics.image.variety import PAIRS, duplicate_share, ms_ssim_of_pairs, ms_ssim_scales, vendi_score
from tasks.metrics.statistics.bootstrap import Interval, jackknife_error, jackknife_interval, too_few
from tasks.protocols import Cases
from tasks.scoring.context import Context, space_signature
from tasks.scoring.reference import SpaceStatistics
from tasks.scoring.scores import Score, Scorer, because, coverage_of

SHARES = ("precision", "recall", "density", "coverage")
LACKS = "needs the features of the reference images, which the reference statistics do not hold of these cases"


@dataclass(frozen=True)
class Names:
    """What the columns of one feature space are called. FID and Inception Score are names of one network's numbers alone."""

    kernel: str
    frechet: str
    extrapolated: str
    shares: tuple[str, ...]
    score: str
    score_whole: str
    embedding: str
    vendi: str

    @classmethod
    def of(cls, title: str, fid: str | None = None) -> "Names":
        """For a space of this title; `fid`, of the released Inception weights alone: how they are fed, "" as originally."""
        shares = tuple(f"image {share} ({title})" for share in SHARES)
        if fid is None:
            scores = f"IS ({title} logits)", f"IS ({title} logits, whole set)", f"CMMD ({title})", f"Vendi score ({title})"
            return cls(f"KID ({title})", f"Fréchet distance ({title})", f"FD∞ ({title})", shares, *scores)
        feed = f" ({fid})" if fid else ""
        whole = f"Inception Score ({fid}, whole set)" if fid else "Inception Score (whole set)"
        scores = f"Inception Score{feed}", whole, f"CMMD ({title})", f"Vendi score ({title})"
        return cls(f"KID ({title})", f"FID{feed}", f"FID∞{feed}", shares, *scores)

    @classmethod
    def of_space(cls, space: Space) -> "Names":
        if isinstance(space, InceptionFeatures) and space.official:
            return cls.of(space.title, "clean resize" if space.antialias else "")
        return cls.of(space.title)

    @classmethod
    def of_spec(cls, spec: str) -> "Names":
        """For a space that could not be opened: its columns stay, blank."""
        kind, _, argument = spec.partition(":")
        if kind in ("inception", "inception-clean"):
            return cls.of("Inception-v3", "") if kind == "inception" else cls.of("Inception-v3, clean", "clean resize")
        return cls.of(EfficientNetLite0Features.title if kind == EfficientNetLite0Features.name else argument or kind)


@dataclass(frozen=True)
class _Sets:
    """The two sets of images, whose patients they are, and what makes their scores."""

    cases: Cases
    generated: Sequence[Image.Image]
    patients: tuple[list[str], list[str]]
    score: Scorer
    reason: str | None  # why no score can be had, whatever the metric

    @property
    def context(self) -> Context:
        return self.score.context


def distribution_scores(
    cases: Cases, images: Sequence[Image.Image | None], context: Context, population: Cases | None
) -> list[Score]:
    """Scores of generated images as a set against the cases' own, in every feature space of the context, and of their variety.
    Where images are missing all are withheld: a score of the rest would hide it.
    `population`: stands for the generated images, where these are the reference set itself; an empty one withholds.
    Raises ValueError: `images` does not hold one entry per case."""
    if len(images) != len(cases):
        raise ValueError(f"{len(cases)} cases but {len(images)} images: what is missing is None")
    present = [image for image in images if image is not None]
    side = cases[0].image.width
    generated = present if population is None else [square(case.image, side) for case in population]
    reason = None
    if len(present) < len(images):
        reason = f"{len(images) - len(present)} of {len(images)} images are missing"
    elif min(len(generated), len(cases)) < 2:
        reason = f"at least two images a side are needed, here are {len(generated)} against {len(cases)}"
    patients = [case.patient for case in cases]
    owners = patients if population is None else [case.patient for case in population]
    sets = _Sets(cases, generated, (patients, owners), Scorer(context, len(generated), coverage_of(images)), reason)
    scores: list[Score] = []
    for spec in context.features:
        scores += _in_space(spec, sets)
    return scores + _variety(sets)


def _in_space(spec: str, sets: _Sets) -> list[Score]:
    """The scores in one feature space; withheld where it cannot be opened or lacks an image: the other metrics go on."""
    details: dict[str, Any] = {"n_reference": len(sets.cases)}
    try:
        bank = sets.context.bank(spec)
    except UserError as error:
        return _withheld(Names.of_spec(spec), sets, str(error), details | {"unavailable": True} | because(error))
    names = Names.of_space(bank.space)
    details = space_signature(bank.space) | details
    if sets.reason is not None:
        return _withheld(names, sets, sets.reason, details, bank)
    stored, stated = sets.context.reference, None
    try:
        if stored is not None:
            stated = stored.of_space(bank.space, sets.cases)
            details |= {"n_reference": stated.n}
            reference = stated.features
        else:
            reference = bank.features([case.image for case in sets.cases], keep=True)
        generated = bank.features(sets.generated)
        logits = bank.logits(generated)
    except UserError as error:
        return _withheld(names, sets, str(error), details | because(error), bank)
    details["dimension"] = generated.shape[1]
    alone = [*_vendi(names, sets, generated, details), *_class_scores(names, sets, logits, details)]
    if stated is not None and reference is None:
        blank = _withheld(names, sets, LACKS, details, bank)
        filled = [*blank, _by_moments(names, sets, stated, generated, details), *alone]
        return list({one.metric: one for one in filled}.values())
    assert reference is not None
    return [
        *_distances(names, sets, reference, generated, details),
        *_shares(names, sets, reference, generated, details),
        *alone,
        *_embedding_score(names, sets, bank, reference, generated, details),
    ]


def _withheld(names: Names, sets: _Sets, reason: str, details: dict[str, Any], bank: FeatureBank | None = None) -> list[Score]:
    """The columns that the space would have, blank; of one that could not be opened (`bank` None), those of most."""
    down = [names.kernel, names.frechet, names.extrapolated]
    neither = [names.score, names.score_whole] if bank is None or bank.classifies else []
    directions: dict[str, bool | None] = {**dict.fromkeys(down, False), **dict.fromkeys(names.shares, True)}
    directions |= dict.fromkeys([names.vendi, *neither])
    if bank is not None and _embeds(bank.space):
        directions[names.embedding] = False
    return sets.score.withheld(directions, reason, **details)


def _distances(names: Names, sets: _Sets, reference: np.ndarray, generated: np.ndarray, details: dict[str, Any]) -> list[Score]:
    seed = sets.context.seed
    kid = kernel.kernel_distance(reference, generated)
    moments = map(frechet.Moments.of_features, (reference, generated))
    value = max(frechet.frechet_distance(*moments), 0.0)
    sides = reference, generated, *sets.patients
    few = too_few(sets.patients[0]) or too_few(sets.patients[1])
    error = None if few is not None else jackknife_error(frechet.frechet_jackknife(*sides, seed))
    n, dimension = min(len(reference), len(generated)), reference.shape[1]
    by_patients: dict[str, Any] = {"interval": kernel.kernel_interval(*sides, seed), "method": kernel.METHOD}
    cubic: dict[str, Any] = {"estimator": "unbiased, full sample", "kernel": "(x.y/d+1)^3"}
    around: dict[str, Any] = {
        "interval": few if error is None else jackknife_interval(value, error),
        "method": frechet.INTERVAL,
    }
    exact = _exact(len(reference), generated)
    scores = [
        sets.score(names.kernel, kid, False, **by_patients, **cubic, **details),
        sets.score(names.frechet, value, False, **around, **exact, **details),
    ]
    limit = partial(sets.score, names.extrapolated, better=False, estimator=extrapolation.ESTIMATOR, **details)
    if (problem := extrapolation.too_few_samples(n, dimension)) is not None:
        return [*scores, limit(value=None, reason=problem)]
    line = extrapolation.frechet_infinity(*sides, seed)
    interval = few if error is None else jackknife_interval(line.value, float(np.hypot(error, line.error)))
    return [*scores, limit(value=line.value, interval=interval, method=extrapolation.INTERVAL)]


def _by_moments(names: Names, sets: _Sets, stated: SpaceStatistics, generated: np.ndarray, details: dict[str, Any]) -> Score:
    """The Fréchet distance, without an interval: all that moments of the reference images give."""
    moments = frechet.Moments.of_covariance(stated.mean, stated.covariance)
    value = max(frechet.frechet_distance(moments, frechet.Moments.of_features(generated)), 0.0)
    exact = _exact(stated.n, generated)
    return sets.score(names.frechet, value, False, interval=Interval(reason=LACKS), **exact, **details)


def _exact(n_reference: int, generated: np.ndarray) -> dict[str, Any]:
    """How the Fréchet distance is computed, for the signature."""
    full = min(n_reference, len(generated)) > generated.shape[1]
    return {"estimator": "float64, exact trace", "covariance": "full rank possible" if full else "singular: n <= d"}


def _shares(names: Names, sets: _Sets, reference: np.ndarray, generated: np.ndarray, details: dict[str, Any]) -> list[Score]:
    details = details | {"neighbours": NEIGHBOURS, "balls": "closed"}
    n = min(len(reference), len(generated))
    if n <= NEIGHBOURS:
        reason = f"more than {NEIGHBOURS} images a side are needed, here are {n}"
        return sets.score.withheld(dict.fromkeys(names.shares, True), reason, **details)
    values = vars(coverage_of_features(reference, generated))
    return [sets.score(name, values[share], True, **details) for name, share in zip(names.shares, SHARES, strict=True)]


def _class_scores(names: Names, sets: _Sets, logits: np.ndarray | None, details: dict[str, Any]) -> list[Score]:
    """Descriptive: the classes are those of photographs, so neither high nor low is good for a medical image."""
    if logits is None:
        return []
    details = {key: value for key, value in details.items() if key != "n_reference"} | {"classes": logits.shape[1]}
    whole = sets.score(names.score_whole, inception.inception_score(logits), None, splits=1, **details)
    split = partial(
        sets.score, names.score, better=None, splits=inception.SPLITS, shuffled=f"seed {sets.context.seed}", **details
    )
    needed = inception.SPLITS * inception.MINIMUM_SPLIT
    if len(logits) < needed:
        reason = f"{inception.SPLITS} splits need {needed:,} images, here are {len(logits):,}: see the score of the whole set"
        return [split(value=None, reason=reason), whole]
    scores = inception.split_score(logits, sets.context.seed)
    spread = Interval(reason=f"no interval: standard deviation over splits {scores.deviation:.4g}")
    return [split(value=scores.mean, interval=spread), whole]


def _embeds(space: Space) -> bool:
    return isinstance(space, Encoder) and space.embeds


def _embedding_score(
    names: Names, sets: _Sets, bank: FeatureBank, reference: np.ndarray, generated: np.ndarray, details: dict[str, Any]
) -> list[Score]:
    """CMMD, in the spaces that it is meant for; its own is that of CLIP ViT-L/14 at 336 px."""
    if not _embeds(bank.space):
        return []
    formula: dict[str, Any] = {
        "estimator": f"biased, x {kernel.CMMD_SCALE}",
        "kernel": f"Gaussian, sigma {kernel.CMMD_SIGMA}, unit vectors",
    }
    return [sets.score(names.embedding, kernel.cmmd(reference, generated), False, **formula, **details)]


def _vendi(names: Names, sets: _Sets, generated: np.ndarray, details: dict[str, Any]) -> list[Score]:
    """Descriptive: noise is varied, too. It grows with the number of images, which is in the signature."""
    details = {key: value for key, value in details.items() if key != "n_reference"} | {"kernel": "cosine", "order": 1}
    try:
        return [sets.score(names.vendi, vendi_score(generated), None, **details)]
    except ValueError as error:
        return [sets.score(names.vendi, None, None, str(error), **details)]


def _variety(sets: _Sets) -> list[Score]:
    """Of the generated images alone, whatever a network sees in them."""
    side = sets.cases[0].image.width
    scales = ms_ssim_scales(side)
    name = f"MS-SSIM of pairs ({side} px{f', {scales} scales' if 1 < scales < 5 else ''})"
    similarity = partial(sets.score, name, better=None, pairs=PAIRS, scales=scales, drawn=f"seed {sets.context.seed}")
    duplicates = partial(sets.score, "duplicate images", better=None, compared="every pixel")
    if sets.reason is not None:
        return [similarity(value=None, reason=sets.reason), duplicates(value=None, reason=sets.reason)]
    share = duplicates(value=duplicate_share(sets.generated))
    if scales < 2:
        return [similarity(value=None, reason=f"images of {side} px are too small for two scales of 11 px windows"), share]
    return [similarity(value=ms_ssim_of_pairs(sets.generated, sets.context.seed)), share]
