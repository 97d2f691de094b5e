"""Do the image and the report of a generated pair say the same?

Agreement is the macro F1 between the findings that one checker reads from the images and another reads from the reports of the
same pairs; F1 is symmetric, so neither is the reference. The macro mean runs over a given set of labels (those that the data
shows), and a label that neither modality of any sample shows scores 0: pairs that are all normal agree on nothing.

Alone, agreement has no scale. It is also given as (x - shuffled) / (real - shuffled), with

    real      the agreement of the reference cases' own pairs (below 1, as the checkers err), and
    shuffled  the same with the reports permuted among all of these cases, whatever their domain, without fixed points;
              the mean over `PERMUTATIONS` seeded permutations.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tasks.metrics.additive import Additive, combiner
from tasks.metrics.findings import Counts, Findings, f1, macro_f1, prevalence
from tasks.metrics.statistics import derangement

PERMUTATIONS = 20
MINIMUM_SPAN = 0.05


@dataclass(frozen=True)
class Scale:
    """Agreement of real pairs and of real pairs with their reports shuffled."""

    real: float
    shuffled: float

    @property
    def problem(self) -> str | None:
        """Why no value can be put on this scale; None where it can."""
        if self.real - self.shuffled < MINIMUM_SPAN:
            return (
                f"real pairs agree at {self.real:.3f} and shuffled ones at {self.shuffled:.3f}: "
                f"a span below {MINIMUM_SPAN} is no scale"
            )
        return None

    def anchored(self, value: float) -> float:
        """0 at shuffled, 1 at real; below and above are possible."""
        return (value - self.shuffled) / (self.real - self.shuffled)


def agreement(image_findings: Findings, report_findings: Findings, labels: Sequence[str]) -> Counts:
    """Counts whose `macro_f1` is the agreement; a missing modality shows no findings."""
    return Counts.of(report_findings, image_findings, labels)


def additive_agreement(counts: Counts, ids: Sequence[str]) -> Additive:
    """The agreement of unprompted samples as a function of sums; each sample is independent of the others, and answers no case.

    A label that the samples show but a resample lost is left out of its mean; one that they never show stays, at 0.
    """
    shown = (counts.totals().sum(axis=0) > 0).tolist()
    return Additive(counts.values.reshape(len(ids), -1), tuple(ids), "agreement", {"shown": shown}, paired=False)


def additive_anchored(counts: Counts, ids: Sequence[str], scale: Scale) -> Additive:
    """The agreement on the scale of real and shuffled pairs, which is taken as known."""
    plain = additive_agreement(counts, ids)
    parameters = {**plain.parameters, "zero": scale.shuffled, "one": scale.real}
    return Additive(plain.sums, plain.patients, "anchored-agreement", parameters, paired=False)


@combiner("agreement")
def agreement_of_sums(sums: np.ndarray, *, shown: Sequence[bool]) -> np.ndarray:
    """Agreement of flattened totals (R, 3 L) -> (R,); `shown`: the labels that the whole sample shows."""
    totals = sums.reshape(len(sums), 3, len(shown))
    kept = (totals.sum(axis=1) > 0) | ~np.asarray(shown, dtype=bool)
    return np.divide((f1(totals) * kept).sum(axis=1), kept.sum(axis=1), out=np.full(len(sums), np.nan), where=kept.any(axis=1))


@combiner("anchored-agreement")
def anchored_agreement_of_sums(sums: np.ndarray, *, shown: Sequence[bool], zero: float, one: float) -> np.ndarray:
    """(agreement - zero) / (one - zero) of flattened totals (R, 3 L) -> (R,)."""
    return (agreement_of_sums(sums, shown=shown) - zero) / (one - zero)


def scale_of(image_findings: Findings, report_findings: Findings, labels: Sequence[str], seed: int) -> Scale:
    """The scale from real pairs, of which there must be at least two."""
    generator = np.random.default_rng(seed)
    shuffled = []
    for _ in range(PERMUTATIONS):
        order = derangement(len(report_findings), generator)
        permuted = [report_findings[index] for index in order]
        shuffled.append(macro_f1(agreement(image_findings, permuted, labels).totals()))
    return Scale(float(macro_f1(agreement(image_findings, report_findings, labels).totals())), float(np.mean(shuffled)))


def prevalence_errors(samples: Findings, data: Findings, labels: Sequence[str]) -> np.ndarray:
    """Share of samples that show each label minus that of the data: (L,) in [-1, 1]."""
    return prevalence(samples, labels) - prevalence(data, labels)
