"""From the nats of each case to the scores of the likelihood task: sums over cases against sums of tokens, bytes or cases."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from medim.canvas import MODALITIES
from tasks.metrics.statistics.additive import Additive
from tasks.protocols import Case, Prediction
from tasks.scoring.context import Context
from tasks.scoring.scores import Score, Scorer

JOINT, GIVEN, IMAGE_GIVEN, ALONE = "joint", "report|image", "image|report", "report"
OTHER, UNIGRAM = "image of another case", "unigram code"
SIZES = ("report_tokens", "image_tokens", "text_bytes")
BITS = 1 / math.log(2)
NO_OTHER = "a case is alone in its domain"
NO_TRAINING = "there is no training report to count"


class LikelihoodScores:
    """The scores of a set of cases. A case without an answer withholds every score: the others would flatter the system. A
    report that does not fit the model's canvas is left out, and the coverage says so."""

    def __init__(self, cases: Sequence[Case], predictions: Sequence[Prediction], context: Context) -> None:
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
