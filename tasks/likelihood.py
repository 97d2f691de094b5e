"""Likelihood: how many nats a model needs for the pairs of a test set, and what each modality tells it of the other."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from medim.canvas import MODALITIES
from medim.data.dataset import PairDataset, pairs
from medim.data.tokens.cache import unigram_costs
from tasks.metrics.statistics.additive import Additive
from tasks.protocols import Answered, Case, Cases, Generator, Prediction, Predictions, Scorable
from tasks.scoring.context import Context
from tasks.scoring.scores import Score, Scored, Scorer, aligned
from tasks.task import Task, check_seeds, timed_batch

JOINT, GIVEN, IMAGE_GIVEN, ALONE = "joint", "report|image", "image|report", "report"
OTHER, UNIGRAM = "image of another case", "unigram code"
SIZES = ("report_tokens", "image_tokens", "text_bytes")
BITS = 1 / math.log(2)
NO_OTHER = "a case is alone in its domain"
NO_TRAINING = "there is no training report to count"


class LikelihoodScores:
    """The scores of a set of cases. A case without an answer withholds every score: the others would flatter the system. A
    report that does not fit the model's canvas is left out, and the coverage says so."""

    def __init__(self, cases: Cases, predictions: Predictions, context: Context) -> None:
        self.patients = tuple(case.patient for case in cases)
        self.details = [prediction.details for prediction in predictions]
        self.fits = [bool(details) and details["nats"] is not None for details in self.details]
        self.problem = self._problem()
        self.any = next((details for details in self.details if details), {})
        self.sizes = {name: self._by_case(lambda details, name=name: details[name]) for name in SIZES}
        self.sizes["cases"] = self._by_case(lambda details: 1)
        details = {"estimator": self.any.get("estimator"), "draws": self.any.get("draws")}
        self.score = Scorer(context, len(self.details), sum(self.fits) / len(self.details), details)

    def all(self) -> list[Score]:
        """Every score, in the order of the table."""
        given, alone, other = (self._nats(condition, "report") for condition in (GIVEN, ALONE, OTHER))
        unigram = self._by_case(lambda details: details[UNIGRAM])
        joint = self._nats(JOINT, "image") + self._nats(JOINT, "report")
        scores = [
            self._ratio("nats per pair (joint)", joint, "cases", False, condition=JOINT, tokenizers=MODALITIES),
            *self._report(given, GIVEN, False),
            *self._report(alone, ALONE, False),
            *self._report(self._nats(JOINT, "report"), JOINT, None),
            self._image(IMAGE_GIVEN, False),
            self._image(JOINT, None),
            *self._report(unigram, UNIGRAM, None, NO_TRAINING),
            *self._report(other, OTHER, None, NO_OTHER),
            self._ratio("image tells (nats per report)", alone - given, "cases", None, condition=f"{ALONE} - {GIVEN}"),
        ]
        gap, against = other - given, f"{OTHER} - {GIVEN}"
        own = np.where(np.isnan(gap), gap, gap > 0)
        return [
            *scores,
            self._ratio("own image over another's (nats per report)", gap, "cases", None, NO_OTHER, condition=against),
            self._ratio("own image preferred", own, "cases", True, NO_OTHER, "proportion", condition=f"{against} > 0"),
        ]

    def samples(self) -> list[dict[str, float]]:
        """Nats per token of each case; nothing of one that was left out."""
        columns = {condition: self._nats(condition, "report") for condition in (GIVEN, ALONE, OTHER)}
        return [
            {
                f"nats per token ({condition})": float(values[row] / self.sizes["report_tokens"][row])
                for condition, values in columns.items()
                if math.isfinite(values[row])
            }
            if fits
            else {}
            for row, fits in enumerate(self.fits)
        ]

    def _problem(self) -> str | None:
        missing = sum(not details for details in self.details)
        if missing:
            return f"{missing} of {len(self.details)} cases have no likelihood"
        return None if any(self.fits) else "no report fits the model's canvas"

    def _by_case(self, value: Any) -> np.ndarray:
        """`value(details)` of each case, (n,) float64: 0 where it is left out, NaN where there is none."""
        rows = zip(self.details, self.fits, strict=True)
        return np.array([value(details) if fits else 0.0 for details, fits in rows], dtype=float)

    def _nats(self, condition: str, modality: str, what: str = "nats") -> np.ndarray:
        column = ("image", "report").index(modality)
        return self._by_case(lambda details: details["nats"][condition][what][column] if condition in details["nats"] else None)

    def _report(self, nats: np.ndarray, condition: str, better: bool | None, why: str = "") -> list[Score]:
        """By token, comparable within one report tokenizer, and by byte of the text, comparable with any."""
        details: dict[str, Any] = {"condition": condition}
        if condition != UNIGRAM:
            details["padding"] = "counted"
            details["error"] = None if condition == OTHER else self._nats(condition, "report", "standard_error")
        by_token = details | {"tokenizers": ("report",), "per": "real tokens and the end"}
        return [
            self._ratio(f"report nats per token ({condition})", nats, "report_tokens", better, why, **by_token),
            self._ratio(f"report bits per byte ({condition})", nats, "text_bytes", better, why, scale=BITS, **details),
        ]

    def _image(self, condition: str, better: bool | None) -> Score:
        nats, error = (self._nats(condition, "image", what) for what in ("nats", "standard_error"))
        name = f"image bits per token ({condition})"
        details: dict[str, Any] = {"condition": condition, "error": error}
        return self._ratio(name, nats, "image_tokens", better, scale=BITS, tokenizers=("image",), **details)

    def _ratio(
        self,
        metric: str,
        values: np.ndarray,
        size: str,
        better: bool | None,
        why: str = "",
        combine: str = "mean",
        *,
        scale: float = 1.0,
        tokenizers: Sequence[str] = (),
        error: np.ndarray | None = None,
        **details: Any,
    ) -> Score:
        """sum of values * scale / sum of sizes over the cases that fit; withheld, for the reason `why`, where one has no value.
        `error`: standard errors of the values over the draws; that of the score stands in its signature."""
        details |= {f"{modality}_tokenizer": self.any.get(f"{modality}_tokenizer") for modality in tokenizers}
        problem = self.problem or (why if np.isnan(values).any() else None)
        if problem is not None:
            return self.score(metric, None, better, problem, **details)
        total = self.sizes[size].sum()
        if error is not None and np.isfinite(error).all():
            details["standard_error_of_draws"] = float(f"{math.sqrt((error**2).sum()) * scale / total:.3g}")
        additive = Additive(np.stack([values * scale, self.sizes[size]], axis=1), self.patients, combine)
        left_out = len(self.fits) - sum(self.fits)
        note = f"{left_out} reports do not fit the model's canvas and are left out" if left_out else None
        return self.score(metric, additive, better, note, **details)


DRAWS = 8
TRAIN_REPORTS = 4096  # training reports that the unigram code counts, at most


@dataclass(frozen=True)
class Around:
    """What a likelihood is read against."""

    # by a case's id, the case whose image stands in for its own; no entry where its domain has no other
    others: dict[str, Case]
    reports: dict[str, str]  # of all cases, by id
    train: tuple[str, ...]  # reports of training
    # nats of each case's report in the unigram code, by the hash of a report tokenizer; filled when needed
    codes: dict[str, dict[str, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Likelihood(Task):
    """Nats of each test pair: joint, each modality given the other, the report alone, and the report given another's image.

    All are totals over a canvas, padding included, per real token and the end (report), token (image) or byte of text. They are
    upper bounds where a model diffuses, each under noise of its own seed, equal for every model. A unigram code of the reports
    in the model's own tokens and shuffled pairs give the scale.
    """

    name = "likelihood"
    title = "Likelihood"
    intro = "Held-out pairs are given; the model tells how many nats they cost it."
    headline_metrics = (
        "nats per pair (joint)",
        "report nats per token (report|image)",
        "report nats per token (unigram code)",
        "report bits per byte (report|image)",
        "image bits per token (image|report)",
        "own image preferred",
    )
    order = 40
    draws: int = DRAWS  # of the noise, for each case and condition
    around: Around | None = None  # filled by `prepared`

    def refuses(self, generator: Generator | Answered) -> str | None:
        """Why this system has no likelihood; None where it has one."""
        if isinstance(generator, Scorable):
            return None
        return "it tells no likelihood (a system with log_likelihood, tokenizers, report_vocabulary and report_ids does)"

    def prepared(self, cases: Cases, dataset: PairDataset) -> "Likelihood":
        """The task with another case's image for each case, and with the training reports."""
        train = tuple(pair.report for pair in pairs(dataset, "train", TRAIN_REPORTS) if pair.report)
        return replace(self, around=Around(other_cases(cases), {case.id: case.report for case in cases}, train))

    def generate(self, generator: Generator, cases: Cases, seeds: Sequence[int]) -> list[Prediction]:
        """The likelihoods of each case of a batch, in `details`; no image and no report.
        Raises ValueError: the task was not `prepared`, or the system is not `Scorable`."""
        if self.around is None or not isinstance(generator, Scorable):
            raise ValueError("prepare the task with all cases, and take a system with a likelihood")
        check_seeds(cases, seeds)
        around, model = self.around, generator
        found, cost = timed_batch(lambda: self._nats(model, around, cases, seeds), generator.name, "likelihoods", len(cases))
        return [Prediction(case.id, cost=cost, details=one) for case, one in zip(cases, found, strict=True)]

    def _nats(self, model: Scorable, around: Around, cases: Cases, seeds: Sequence[int]) -> list[dict[str, Any]]:
        images, reports = [case.image for case in cases], [case.report for case in cases]
        ask = partial(model.log_likelihood, draws=self.draws, seeds=seeds)
        said = {condition: ask(images, reports, condition) for condition in (JOINT, GIVEN, IMAGE_GIVEN, ALONE)}
        # Where a domain has no other case its own image stands in, so that the batch is whole; its numbers are dropped.
        said[OTHER] = ask([around.others.get(case.id, case).image for case in cases], reports, GIVEN)
        unigram = self._unigram(model, around)
        common = {**model.tokenizers(), "draws": self.draws, "estimator": said[GIVEN].estimator}
        result = []
        for row, case in enumerate(cases):
            nats = {
                condition: {"nats": _plain(one.nats[row]), "standard_error": _plain(one.standard_error[row])}
                for condition, one in said.items()
                if condition != OTHER or case.id in around.others
            }
            fits = all(None not in one["nats"] for one in nats.values())
            sizes = {name: int(getattr(said[GIVEN], name)[row]) for name in SIZES}
            result.append({**common, **sizes, "nats": nats if fits else None, UNIGRAM: unigram.get(case.id)})
        return result

    @staticmethod
    def _unigram(model: Scorable, around: Around) -> dict[str, float]:
        """Nats of each case's report in the unigram code of the model's own tokens; none without training reports."""
        tokenizer = model.tokenizers()["report_tokenizer"]
        if tokenizer not in around.codes:
            costs: dict[str, float] = {}
            if around.train:
                train, ids = (np.asarray(model.report_ids(texts)) for texts in (around.train, list(around.reports.values())))
                _, each = unigram_costs([train], ids, model.report_vocabulary)
                costs = dict(zip(around.reports, map(float, each), strict=True))
            around.codes[tokenizer] = costs
        return around.codes[tokenizer]

    def score(self, cases: Cases, predictions: Predictions, context: Context, population: Cases | None = None) -> Scored:
        """Scores, and nats per token of each case."""
        scores = LikelihoodScores(cases, aligned(cases, predictions), context)
        return scores.all(), scores.samples()


def other_cases(cases: Cases) -> dict[str, Case]:
    """For each case another one of its domain, of another patient where there is one: in a random order, the next. Within the
    domain, since what tells the domains apart tells nothing of a patient. A case alone in its domain has no entry."""
    result: dict[str, Case] = {}
    order = np.random.default_rng(0).permutation(len(cases))
    for domain in sorted({case.domain or "" for case in cases}):
        group = [cases[index] for index in order if (cases[index].domain or "") == domain]
        for place, case in enumerate(group):
            following = [*group[place + 1 :], *group[:place]]
            strangers = (other for other in following if other.patient != case.patient)
            if following:
                result[case.id] = next(strangers, following[0])
    return result


def _plain(values: Any) -> list[float | None]:
    """Numbers as JSON has them: None for what is none."""
    return [float(value) if math.isfinite(value) else None for value in values]
