"""Do image and report belong together in the eyes of a chat model that runs here: the paper's consistency score, on a scale."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from medim.common.errors import UserError, foreign
from tasks.metrics.pair.consistency import Scale
from tasks.metrics.pair.judge import NEW_TOKENS, PROMPT, Judge
from tasks.metrics.statistics.additive import Additive
from tasks.metrics.statistics.bootstrap import derangement
from tasks.protocols import Case
from tasks.scoring.context import Context
from tasks.scoring.scores import Score, because, make_score

MOST_REFUSALS = 0.1
ANCHORED = "(x - shuffled) / (real - shuffled), one permutation, real's interval above the shuffled pairs'"


@dataclass(frozen=True)
class Names:
    """What the columns of a judge are called: each judge has its own, since no two measure alike."""

    judge: str
    score: str
    anchored: str
    refusals: str

    @classmethod
    def of(cls, folder: Path) -> "Names":
        judge = folder.resolve().name
        score = f"judge score ({judge})"
        return cls(judge, score, f"anchored {score}", f"judge refusals ({judge})")


def judge_scores(
    cases: Sequence[Case],
    images: Sequence[Image.Image | None],
    reports: Sequence[str | None],
    coverage: float,
    context: Context,
) -> tuple[list[Score], list[dict[str, float]]]:
    """The mean score of the pairs, as it is and on the scale of real and shuffled ones, and the share of refused answers.

    A pair that lacks its image or report scores 0. A refused answer counts in no mean; where more than `MOST_REFUSALS` are
    refused, the mean is withheld. Without a judge in the context there are no such scores; one that fails withholds its own.

    Args:
        coverage: share of the pairs that are there, answered or refused.
    """
    if context.judge is None:
        return [], [{} for _ in cases]
    names = Names.of(context.judge)
    details: dict[str, Any] = {"judge": names.judge, "prompt": PROMPT, "decoding": f"greedy, {NEW_TOKENS} tokens"}
    make = partial(make_score, context=context, n=len(cases), coverage=coverage)
    try:
        judge = _judge(context)
        details |= {"judge": judge.name, "judge_weights": judge.fingerprint}
        with foreign(f"judge '{names.judge}' failed"):
            values = _judged(judge, images, reports)
            reason = _reason(values)
            scale = reason or _scale(judge, cases, context)
    except UserError as error:
        why = details | {"unavailable": True} | because(error)
        return [
            make(metric=name, value=None, higher_is_better=up, reason=str(error), **why)
            for name, up in ((names.score, True), (names.anchored, True), (names.refusals, None))
        ], [{} for _ in cases]
    make = partial(make, **details)
    ids = [case.id for case in cases]
    refused = np.isnan(values)
    share = Additive.proportion(refused.tolist(), ids, paired=False)
    refusals = make(metric=names.refusals, value=share.value(), higher_is_better=None, additive=share)
    if reason is not None:
        withheld = [
            make(metric=name, value=None, higher_is_better=True, reason=reason) for name in (names.score, names.anchored)
        ]
        return [*withheld, refusals], _samples(values)
    mean = _mean(values, ids)
    scores = [make(metric=names.score, value=mean.value(), higher_is_better=True, additive=mean)]
    anchored = partial(make, metric=names.anchored, higher_is_better=True, anchored=ANCHORED)
    problem = scale if isinstance(scale, str) else scale.problem
    if isinstance(scale, str) or problem is not None:
        scores.append(anchored(value=None, reason=problem))
    else:
        put = scale.put(mean)
        scores.append(anchored(value=put.value(), additive=put))
    return [*scores, refusals], _samples(values)


def _judge(context: Context) -> Judge:
    """Loaded at its first use.

    Raises:
        UserError: it cannot be loaded; the same error again, without trying again.
    """
    key = f"judge {context.judge}"
    if key not in context.made:
        assert context.judge is not None
        try:
            with foreign(f"judge '{context.judge}' cannot be loaded"):
                context.made[key] = Judge(context.judge, context.device)
        except UserError as error:
            context.made[key] = error
    judge: Judge | UserError = context.made[key]
    if isinstance(judge, UserError):
        raise judge
    return judge


def _judged(judge: Judge, images: Sequence[Image.Image | None], reports: Sequence[str | None]) -> np.ndarray:
    """Score of each pair: NaN where refused, 0 where the image or the report is missing; (N,)."""
    there = [(image, report) for image, report in zip(images, reports, strict=True) if image is not None and report is not None]
    verdicts = iter(judge([image for image, _ in there], [report for _, report in there]))
    values = []
    for image, report in zip(images, reports, strict=True):
        score = 0.0 if image is None or report is None else next(verdicts).score
        values.append(np.nan if score is None else score)
    return np.array(values)


def _reason(values: np.ndarray) -> str | None:
    """Why no mean can be told of these values."""
    share = float(np.isnan(values).mean())
    if share <= MOST_REFUSALS:
        return None
    return f"the judge's answers to {share:.0%} of the pairs are refused, more than {MOST_REFUSALS:.0%}"


def _mean(values: np.ndarray, owners: Sequence[str]) -> Additive:
    """Mean over the answers that were not refused."""
    told = (~np.isnan(values)).astype(float)
    return Additive(np.stack([np.nan_to_num(values), told], axis=1), tuple(owners), "mean", paired=False)


def _scale(judge: Judge, cases: Sequence[Case], context: Context) -> Scale | str:
    """Of the cases' own pairs and of one permutation of their reports, judged once for all systems; or why there is none."""
    key = f"judge scale {judge.fingerprint} {[case.id for case in cases]}"
    if key not in context.made:
        context.made[key] = _make_scale(judge, cases, context.seed)
    made: Scale | str = context.made[key]
    return made


def _make_scale(judge: Judge, cases: Sequence[Case], seed: int) -> Scale | str:
    if len(cases) < 2:
        return "a single case cannot be shuffled"
    images, reports = [case.image for case in cases], [case.report for case in cases]
    order = derangement(len(cases), np.random.default_rng(seed))
    own, other = _judged(judge, images, reports), _judged(judge, images, [reports[index] for index in order])
    for values, name in ((own, "real"), (other, "shuffled")):
        if (reason := _reason(values)) is not None:
            return f"{name} pairs: {reason}"
    patients = [case.patient for case in cases]
    real, shuffled = _mean(own, patients), _mean(other, patients)
    low, high = real.interval(seed), shuffled.interval(seed)
    return Scale(real.value(), shuffled.value(), low.low, shuffled.value() if high.high is None else high.high, low.reason)


def _samples(values: np.ndarray) -> list[dict[str, float]]:
    return [{} if np.isnan(value) else {"judge": float(value)} for value in values]
