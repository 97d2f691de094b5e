"""What a change of the recipe is worth: arms of an ablation against the arm that each is compared with.

Primary endpoint, stated before anything runs: the bound on -log p(image, report) of held-out pairs in nats, under noise that is
the same for all arms (`medim.likelihood.bound`). An arm's value is the mean over its seeds of training.

Trainings of one seed share the order of the data and the noise, so that differences are taken by seed, d_1 .. d_S, and compared
by the one rule of `tasks.metrics.statistics.estimate`: over patients and over trainings. Where the interval holds 0 the sign is
not resolved. One training of each leaves open what another seed would give: no verdict.
No correction is made for the number of arms: each row answers a separate question.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from scipy.stats import ttest_1samp

from medim.canvas import MODALITIES
from tasks.metrics.statistics.additive import Additive
from tasks.metrics.statistics.bootstrap import CONFIDENCE, Interval
from tasks.metrics.statistics.paired import TRAININGS, Difference, System, compare_all, interval_of, value_of

Verdict = Literal["better", "worse", "not resolved"]
Sign = Literal["agrees", "disagrees", "not resolved"]
SEED = 0  # of every resampling: the same arms give the same intervals
OVER_SEEDS = "Student's t over seeds"
OVER_BOTH = TRAININGS
ONE_TRAINING = "one training of each: how much another seed would change is not known"


@dataclass(frozen=True)
class Endpoint:
    """A figure of the likelihood; lower is better."""

    metric: str  # as `tasks.likelihood` names it
    condition: str  # of `medim.likelihood.bound.CONDITIONS`
    # what the nats are set against: pairs, tokens of the report, or tokens of the image (in bits)
    per: Literal["pair", "report token", "image token"]
    same: tuple[str, ...]  # which tokenizers two arms must share for their figures to be of the same thing

    def additive(self, evaluation: Mapping[str, Any]) -> Additive:
        """The endpoint of one training, from its `evaluation.json`: nats by condition (n, 2), report tokens, patients."""
        nats = np.asarray(evaluation["nats"][self.condition], np.float64)
        image, report = (nats[:, MODALITIES.index(name)] for name in ("image", "report"))
        ones = np.ones(len(nats))
        if self.per == "pair":
            sums = [image + report, ones]
        elif self.per == "report token":
            sums = [report, np.asarray(evaluation["report_tokens"], np.float64)]
        else:
            sums = [image / math.log(2), ones * evaluation["canvas"]["image_tokens"]]
        return Additive(np.stack(sums, axis=1), tuple(map(str, evaluation["patients"])), "mean")


PRIMARY = Endpoint("nats per pair (joint)", "joint", "pair", ("image_tokenizer", "report_tokenizer"))
ENDPOINTS = (
    PRIMARY,
    Endpoint("report nats per token (report|image)", "report|image", "report token", ("report_tokenizer",)),
    Endpoint("image bits per token (image|report)", "image|report", "image token", ("image_tokenizer",)),
)


@dataclass(frozen=True)
class Value:
    """An arm by one metric: the mean over seeds, its 95 % interval, and the values of single trainings."""

    value: float
    interval: Interval
    by_seed: Mapping[int, float]


@dataclass(frozen=True)
class Change:
    """An arm's value less its base's, by one metric, over the seeds that both have."""

    difference: float
    interval: Interval  # 95 %; of one training, with the reason why its verdict is open
    p: float | None  # two-sided, of no difference; None where it is not known. `test` says how it was computed
    test: str
    units: int  # patients behind the value; 0 where the interval is over seeds alone
    seeds: tuple[int, ...]
    verdict: Verdict


def value_over_seeds(by_seed: Mapping[int, Additive]) -> Value:
    """The mean over seeds of a metric that is a function of sums over patients."""
    entries = list(by_seed.values())
    return Value(value_of(entries), interval_of(System(entries), SEED), {seed: one.value() for seed, one in by_seed.items()})


def change(names: tuple[str, str], one: Additive, other: Additive, higher_is_better: bool) -> Change:
    """Compares one model under two settings, where patients are all that varies.
    Raises ValueError: they were not measured on the same patients, or are different metrics."""
    return _by_patients(names, [one], [other], (0,), higher_is_better)


def change_of_trainings(
    names: tuple[str, str], arm: Mapping[int, Additive], base: Mapping[int, Additive], higher_is_better: bool
) -> Change | None:
    """Compares arm and base by seed of training; None where no seed is common to both. Raises as `change`."""
    seeds = tuple(sorted(arm.keys() & base.keys()))
    if not seeds:
        return None
    found = _by_patients(names, [arm[seed] for seed in seeds], [base[seed] for seed in seeds], seeds, higher_is_better)
    if len(seeds) == 1 and found.p is not None and found.interval.low is not None:
        open_interval = replace(found.interval, reason=ONE_TRAINING)
        return replace(found, interval=open_interval, p=None, test="", verdict="not resolved")
    return found


def _by_patients(
    names: tuple[str, str], arm: list[Additive], base: list[Additive], seeds: tuple[int, ...], higher_is_better: bool
) -> Change:
    difference = value_of(arm) - value_of(base)
    few = next((few for entry in (*arm, *base) if (few := entry.few()) is not None), None)
    if few is not None or not math.isfinite(difference):
        interval = few or Interval(reason="no interval: the metric is undefined for one of the arms")
        return Change(difference, interval, None, "", len(set(arm[0].patients)), seeds, "not resolved")
    found: Difference = compare_all({names[0]: System(arm), names[1]: System(base)}, SEED, matched=True)[names]
    resolved = verdict(found.value, found.interval, higher_is_better)
    return Change(found.value, found.interval, found.p, found.test, found.patients, seeds, resolved)


def change_of_values(arm: Mapping[int, float], base: Mapping[int, float], higher_is_better: bool) -> Change | None:
    """Compares a metric that is no function of sums (a Fréchet distance) by Student's t over its values by seed.
    None where no seed is common to both."""
    seeds = tuple(sorted(arm.keys() & base.keys()))
    if not seeds:
        return None
    differences = np.array([arm[seed] - base[seed] for seed in seeds])
    difference = float(differences.mean())
    if len(seeds) < 2:
        interval = Interval(reason="no interval: the spread of this metric is known over seeds alone, and here is one")
        return Change(difference, interval, None, "", 0, seeds, "not resolved")
    if differences.std() > 0:
        test = ttest_1samp(differences, 0)
        bounds, p = test.confidence_interval(CONFIDENCE), float(test.pvalue)
        interval = Interval(float(bounds.low), float(bounds.high))
    else:
        interval, p = Interval(difference, difference), float(difference == 0)
    return Change(difference, interval, p, OVER_SEEDS, 0, seeds, verdict(difference, interval, higher_is_better))


def verdict(difference: float, interval: Interval, higher_is_better: bool) -> Verdict:
    """`better` or `worse` where the interval lies on one side of 0."""
    if interval.low is None or interval.high is None or interval.low <= 0 <= interval.high:
        return "not resolved"
    return "better" if (difference > 0) == higher_is_better else "worse"


def sign(ours: Verdict, theirs: Verdict) -> Sign:
    """Whether a change here has the sign of a published one; a published change of 0 has none."""
    if "not resolved" in (ours, theirs):
        return "not resolved"
    return "agrees" if ours == theirs else "disagrees"


def comparable(endpoint: Endpoint, one: Mapping[str, Any], other: Mapping[str, Any]) -> str | None:
    """Why two evaluations cannot be held against each other by this endpoint; None where they can."""
    for part in endpoint.same:
        if one[part] != other[part]:
            return f"another {part.replace('_', ' ')}: its nats are of other tokens"
    for part in ("data_fingerprint", "settings", "patients"):
        if one[part] != other[part]:
            return f"measured with other {part.replace('_', ' ')}"
    if one["truncated"] != other["truncated"]:
        return f"its canvas cuts {one['truncated']} reports short, the other's {other['truncated']}"
    return None
