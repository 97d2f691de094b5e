"""Do image and report belong together in the eyes of a chat model that runs here: the paper's consistency score, on a scale."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from medim.common.errors import UserError, foreign
from tasks.generation.joint.agreement import anchored_score
from tasks.metrics.pair.consistency import Scale
from tasks.metrics.pair.judge import NEW_TOKENS, PROMPT, Judge
from tasks.metrics.statistics.additive import Additive
from tasks.metrics.statistics.bootstrap import derangement
from tasks.protocols import Cases
from tasks.scoring.context import Context
from tasks.scoring.scores import Scored, Scorer, because

MOST_REFUSALS = 0.1
ANCHORED = "(x - shuffled) / (real - shuffled), one permutation, real's interval above the shuffled pairs'"


def judge_scores(cases: Cases, images: Sequence[Image.Image | None], reports: Sequence[str | None], score: Scorer) -> Scored:
    """The mean score of the pairs, as it is and on the scale of real and shuffled ones, and the share of refused answers.

    Each judge has columns of its own, since no two measure alike. A pair that lacks its image or report scores 0. A refused
    answer counts in no mean; where more than `MOST_REFUSALS` are refused, the mean is withheld. Without a judge in the context
    there are no such scores; one that fails withholds its own.
    """
    context = score.context
    if context.judge is None:
        return [], [{} for _ in cases]
    folder = context.judge.resolve().name
    mean_name, refusals_name = f"judge score ({folder})", f"judge refusals ({folder})"
    means: dict[str, bool | None] = {mean_name: True, f"anchored {mean_name}": True}
    details: dict[str, Any] = {"judge": folder, "prompt": PROMPT, "decoding": f"greedy, {NEW_TOKENS} tokens"}
    try:
        judge = _judge(context)
        details |= {"judge": judge.name, "judge_weights": judge.fingerprint}
        with foreign(f"judge '{folder}' failed"):
            values = _judged(judge, images, reports)
            reason = _reason(values)
            scale = reason or _scale(judge, cases, context)
    except UserError as error:
        why = details | {"unavailable": True} | because(error)
        return score.withheld(means | {refusals_name: None}, str(error), **why), [{} for _ in cases]
    score = score.of(**details)
    ids = [case.id for case in cases]
    refusals = score(refusals_name, Additive.proportion(np.isnan(values).tolist(), ids, paired=False), None)
    samples: list[dict[str, float]] = [{} if np.isnan(value) else {"judge": float(value)} for value in values]
    if reason is not None:
        return [*score.withheld(means, reason), refusals], samples
    mean = _mean(values, ids)
    anchored = anchored_score(mean_name, mean, scale, score, ANCHORED)
    return [score(mean_name, mean, True), anchored, refusals], samples


def _judge(context: Context) -> Judge:
    """Loaded at its first use. Raises UserError: it cannot be loaded; the same error again, without trying again."""
    key = f"judge {context.judge}"
    if key not in context.cached:
        assert context.judge is not None
        try:
            with foreign(f"judge '{context.judge}' cannot be loaded"):
                context.cached[key] = Judge(context.judge, context.device)
        except UserError as error:
            context.cached[key] = error
    judge: Judge | UserError = context.cached[key]
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
    """Why these values have no mean."""
    share = float(np.isnan(values).mean())
    if share <= MOST_REFUSALS:
        return None
    return f"the judge's answers to {share:.0%} of the pairs are refused, more than {MOST_REFUSALS:.0%}"


def _mean(values: np.ndarray, owners: Sequence[str]) -> Additive:
    """Mean over the answers that were not refused."""
    answered = (~np.isnan(values)).astype(float)
    return Additive(np.stack([np.nan_to_num(values), answered], axis=1), tuple(owners), "mean", paired=False)


def _scale(judge: Judge, cases: Cases, context: Context) -> Scale | str:
    """Of the cases' own pairs and of one permutation of their reports, judged once for all systems; or why there is none."""
    key = f"judge scale {judge.fingerprint} {[case.id for case in cases]}"
    if key not in context.cached:
        context.cached[key] = _measured_scale(judge, cases, context.seed)
    scale: Scale | str = context.cached[key]
    return scale


def _measured_scale(judge: Judge, cases: Cases, seed: int) -> Scale | str:
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
