"""Do the image and the report of a generated pair say the same?

Agreement is the macro F1 between the findings that one checker reads from the images and another from the reports of the same
pairs; F1 is symmetric, so neither is the reference. The mean runs over given labels (those that the data shows); a label that
no sample shows scores 0: pairs that are all normal agree on nothing.

The Matthews correlation of the two readings (MCC, Matthews 1975) does not rise with prevalence as F1 does,

    MCC = (TP TN - FP FN) / sqrt((TP + FP) (TP + FN) (TN + FP) (TN + FN)),

and is 0 where one modality shows a label in all samples or in none.

Each is also given as (x - shuffled) / (real - shuffled), with

    real      the value of the reference cases (below 1, as the checkers err), and
    shuffled  the mean over `PERMUTATIONS` seeded permutations of the reports among these cases, without fixed points.

Such a scale needs ends that differ: the 95 % interval of `real` over patients has to lie above the highest of the shuffles.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from tasks.metrics.clinical.findings import Counts, Findings, f1, prevalence
from tasks.metrics.statistics.additive import Additive, combine_of, combiner
from tasks.metrics.statistics.bootstrap import derangement

PERMUTATIONS = 20


@dataclass(frozen=True)
class Scale:
    """A metric of real pairs and of real pairs with their reports shuffled."""

    # real, shuffled: 1 and 0 of the scale
    real: float
    shuffled: float
    low: float | None  # lower end of the 95 % interval of `real`; None for the reason `why`
    high: float  # the highest of the shuffles
    why: str | None = None

    @classmethod
    def of(cls, real: Additive, shuffled: Sequence[float], seed: int) -> "Scale":
        """From the sums of the real pairs and the values of the shuffles."""
        interval = real.interval(seed)
        return cls(real.value(), float(np.mean(shuffled)), interval.low, float(max(shuffled)), interval.reason)

    @property
    def problem(self) -> str | None:
        """Why no value can be put on this scale; None where it can."""
        if self.low is None:
            return f"real and shuffled pairs cannot be told apart: {self.why}"
        if self.low <= self.high:
            return (
                f"real and shuffled pairs cannot be told apart: real {self.real:.3f}, at least {self.low:.3f}; "
                f"shuffled {self.shuffled:.3f}, up to {self.high:.3f}"
            )
        return None

    def anchored(self, value: float) -> float:
        """0 at shuffled, 1 at real; below and above are possible."""
        return (value - self.shuffled) / (self.real - self.shuffled)

    def put(self, plain: Additive) -> Additive:
        """A statistic on this scale, whose ends are taken as exact."""
        parameters = {**plain.parameters, "of": plain.combine, "zero": self.shuffled, "one": self.real}
        return Additive(plain.sums, plain.patients, "anchored", parameters, paired=plain.paired)


@combiner("anchored")
def anchored_of_sums(sums: np.ndarray, *, of: str, zero: float, one: float, **parameters: object) -> np.ndarray:
    """(f - zero) / (one - zero) of sums (R, K) -> (R,), f the combiner that `of` names."""
    return (np.asarray(combine_of(of)(sums, **parameters)) - zero) / (one - zero)


def agreement(image_findings: Findings, report_findings: Findings, labels: Sequence[str]) -> Counts:
    """Counts whose `macro_f1` is the agreement; a missing modality shows no findings."""
    return Counts.of(report_findings, image_findings, labels)


def additive_agreement(counts: Counts, ids: Sequence[str]) -> Additive:
    """The agreement of unprompted samples as a function of sums; each sample is independent of the others, and answers no case.
    A label that the samples show but a resample lost is left out of its mean; one that they never show stays, at 0."""
    shown = (counts.totals().sum(axis=0) > 0).tolist()
    return Additive(counts.values.reshape(len(ids), -1), tuple(ids), "agreement", {"shown": shown}, paired=False)


@combiner("agreement", bounds=(0, 1))
def agreement_of_sums(sums: np.ndarray, *, shown: Sequence[bool]) -> np.ndarray:
    """Agreement of flattened totals (R, 3 L) -> (R,); `shown`: the labels that the whole sample shows."""
    totals = sums.reshape(len(sums), 3, len(shown))
    kept = (totals.sum(axis=1) > 0) | ~np.asarray(shown, dtype=bool)
    return np.divide((f1(totals) * kept).sum(axis=1), kept.sum(axis=1), out=np.full(len(sums), np.nan), where=kept.any(axis=1))


def additive_mcc(counts: Counts, ids: Sequence[str]) -> Additive:
    """Macro MCC of unprompted samples; a label undefined on the whole sample counts 0, one that a resample lost is left out."""
    defined = np.isfinite(_mcc(*_tables(_with_size(counts).sum(axis=0, keepdims=True), len(counts.labels))))[0]
    return Additive(_with_size(counts), tuple(ids), "macro-mcc", {"defined": defined.tolist()}, paired=False)


def additive_label_mcc(counts: Counts, label: str, ids: Sequence[str]) -> Additive:
    """MCC of one label; its value is NaN where a modality shows the label in all samples or in none."""
    return Additive(_with_size(counts.select([label])), tuple(ids), "label-mcc", paired=False)


@combiner("macro-mcc", bounds=(-1, 1))
def macro_mcc_of_sums(sums: np.ndarray, *, defined: Sequence[bool]) -> np.ndarray:
    """Macro MCC of TP, FP, FN of L labels each and the number of samples, (R, 3 L + 1) -> (R,)."""
    values = _mcc(*_tables(sums, len(defined)))
    kept = np.isfinite(values) | ~np.asarray(defined, dtype=bool)
    total = np.where(np.isfinite(values), values, 0.0).sum(axis=1)
    return np.divide(total, kept.sum(axis=1), out=np.full(len(sums), np.nan), where=kept.any(axis=1))


@combiner("label-mcc", bounds=(-1, 1))
def label_mcc_of_sums(sums: np.ndarray) -> np.ndarray:
    """MCC of TP, FP, FN and the number of samples, (R, 4) -> (R,); NaN where it is undefined."""
    return _mcc(*_tables(sums, 1))[:, 0]


def _with_size(counts: Counts) -> np.ndarray:
    """TP, FP, FN of each label and 1, (N, 3 L + 1)."""
    flat = counts.values.reshape(len(counts.values), -1)
    return np.concatenate([flat, np.ones((len(flat), 1))], axis=1)


def _tables(sums: np.ndarray, labels: int) -> tuple[np.ndarray, ...]:
    """TP, FP, FN, TN of sums (R, 3 L + 1); (R, L) each."""
    tp, fp, fn = np.moveaxis(sums[:, :-1].reshape(len(sums), 3, labels), 1, 0)
    return tp, fp, fn, sums[:, -1:] - tp - fp - fn


def _mcc(tp: np.ndarray, fp: np.ndarray, fn: np.ndarray, tn: np.ndarray) -> np.ndarray:
    scale = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
    return np.divide(tp * tn - fp * fn, np.sqrt(scale.clip(min=0)), out=np.full(np.shape(tp), np.nan), where=scale > 0)


def scales_of(
    image_findings: Findings, report_findings: Findings, labels: Sequence[str], patients: Sequence[str], seed: int
) -> Mapping[str, Scale]:
    """The scales of agreement and of macro MCC, by the name of their combiner, from at least two real pairs."""
    generator = np.random.default_rng(seed)
    permuted = []
    for _ in range(PERMUTATIONS):
        order = derangement(len(report_findings), generator)
        permuted.append(agreement(image_findings, [report_findings[index] for index in order], labels))
    real = agreement(image_findings, report_findings, labels)
    statistics = {"agreement": additive_agreement, "macro-mcc": additive_mcc}
    return {
        name: Scale.of(additive(real, patients), [additive(one, patients).value() for one in permuted], seed)
        for name, additive in statistics.items()
    }


def prevalence_errors(samples: Findings, data: Findings, labels: Sequence[str]) -> np.ndarray:
    """Share of samples that show each label minus that of the data: (L,) in [-1, 1]."""
    return prevalence(samples, labels) - prevalence(data, labels)


def co_occurrence(findings: Findings, labels: Sequence[str]) -> np.ndarray:
    """Share of samples that show both labels of each pair a < b, in the order of `itertools.combinations`; (L (L - 1) / 2,)."""
    return np.array([np.mean([a in shown and b in shown for shown in findings]) for a, b in combinations(labels, 2)])
