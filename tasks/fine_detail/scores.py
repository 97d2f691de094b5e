"""What the checker said of every probe, as scores: the smallest lesion seen, and how well any is told from its twin."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from medim.common.csv_text import csv_text
from medim.common.errors import UserError
from medim.data.phantom.probes import Lesion
from tasks.fine_detail.limits import LEVEL, area_under_curve, crossing
from tasks.metrics.statistics.additive import Additive
from tasks.metrics.statistics.bootstrap import MINIMUM_PATIENTS, RESAMPLES, Interval, percentile_interval
from tasks.protocols import Case, Prediction
from tasks.scoring.context import Context
from tasks.scoring.scores import Score, make_score

DRAWN, TOKENS, GENERATED = "drawn", "tokens", "generated"
NONE = "without"
STAGES = {DRAWN: "as drawn", TOKENS: "through the tokenizer", GENERATED: "generated"}
APART = 0.9
"""AUC against the twins from which a lesion counts as told apart."""
AREAS = RESAMPLES // 10  # of an AUC, which is no function of sums
BY_ROWS = f"percentile bootstrap over patients, {AREAS} resamples"


@dataclass(frozen=True)
class Answers:
    """What the checker said of one lesion's probes in one stage.

    Attributes:
        present: probabilities (N, ...): contrasts and sizes of a grid (N, C, S), or grades (N, G).
        absent: of the twins, (N,).
        threshold: of the checker, (N,): that of each probe's label.
        patients: N.
    """

    present: np.ndarray
    absent: np.ndarray
    threshold: np.ndarray
    patients: tuple[str, ...]

    @property
    def seen(self) -> np.ndarray:
        """Whether each lesion is read, of the shape of `present`."""
        return self.present >= self.threshold.reshape(-1, *[1] * (self.present.ndim - 1))


class DetailScores:
    """The scores of one system."""

    def __init__(
        self, cases: Sequence[Case], predictions: Sequence[Prediction], probed: frozenset[str], context: Context
    ) -> None:
        """
        Args:
            predictions: one per case, `told` as `FineDetail.generate` tells.
            probed: ids of the cases that carry a probe.

        Raises:
            UserError: the predictions were read by another checker than the data set now has.
        """
        self.cases, self.predictions, self.context = cases, predictions, context
        self.rows = [row for row, case in enumerate(cases) if case.id in probed]
        self.told = [row for row in self.rows if predictions[row].told]
        checker = context.image_checker
        self.checker = None if checker is None else checker.fingerprint
        for row in self.told:
            if predictions[row].told["checker"] != self.checker:
                raise UserError("fine-detail: these probes were read by another image checker: run it anew with --overwrite")

    def lesions(self) -> list[Lesion]:
        """Those that were probed, in order of appearance."""
        return list({self._name(row): self._lesion(row) for row in self.told}.values())

    def _name(self, row: int) -> str:
        return str(self.predictions[row].told["lesion"]["name"])

    def _lesion(self, row: int) -> Lesion:
        told = dict(self.predictions[row].told["lesion"])
        return Lesion(**told | {"sizes": tuple(told["sizes"]), "contrasts": tuple(told["contrasts"])})

    def _answers(self, lesion: Lesion, stage: str) -> Answers | None:
        rows = [row for row in self.told if self._name(row) == lesion.name]
        told = [self.predictions[row].told for row in rows]
        if not told or stage not in told[0]:
            return None
        values = np.array([one[stage] for one in told])
        shape = (len(lesion.grades),) if stage == GENERATED else (len(lesion.contrasts), len(lesion.sizes))
        return Answers(
            values[:, 1:].reshape(len(rows), *shape), values[:, 0], np.array([one["threshold"] for one in told]),
            tuple(self.cases[row].patient for row in rows),
        )  # fmt: skip

    def all(self) -> list[Score]:
        """Every score; where nothing was probed, one that says so."""
        scores: list[Score] = []
        for lesion in self.lesions():
            for stage in STAGES:
                answers = self._answers(lesion, stage)
                if answers is None:
                    continue
                scores += self._any(lesion, stage, answers)
                if stage == GENERATED:
                    scores += self._grades(lesion, answers)
                else:
                    scores += self._limits(lesion, stage, answers) + self._told_apart(lesion, stage, answers)
            if lesion.solid:
                scores += self._measured(lesion)
        if not scores:
            return [self._score("smallest lesion seen", None, False, 0, lesion=None, reason="no case has room for a probe")]
        return scores

    def samples(self) -> list[dict[str, float]]:
        """Of each probed case the share of its lesions that is seen, by stage."""
        result: list[dict[str, float]] = [{} for _ in self.cases]
        for row in self.told:
            told = self.predictions[row].told
            for stage in STAGES:
                if stage in told:
                    result[row][f"lesions seen {STAGES[stage]}"] = float(
                        np.mean(np.array(told[stage][1:]) >= told["threshold"])
                    )
        return result

    def _score(
        self, metric: str, value: float | None, better: bool | None, n: int, lesion: Lesion | None, **details: Any
    ) -> Score:
        coverage = len(self.told) / len(self.rows) if self.rows else 0.0
        if lesion is not None:
            details |= {"lesion": lesion.name, "unit": lesion.unit, "width_of_picture": lesion.width}
        return make_score(metric, value, self.context, n, coverage, better, image_checker=self.checker, **details)

    def _limits(self, lesion: Lesion, stage: str, answers: Answers) -> list[Score]:
        """The smallest size seen, for each contrast."""
        scores = []
        for column, contrast in enumerate(lesion.contrasts):
            hits = answers.seen[:, column].astype(np.float64)  # (N, S)
            name = f"smallest {lesion.name} seen {STAGES[stage]} ({lesion.unit}), contrast {contrast:g}"
            details: dict[str, Any] = {"sizes": list(lesion.sizes), "sensitivity": LEVEL, "contrast": contrast}
            value = float(crossing(hits.mean(axis=0, keepdims=True), lesion.sizes)[0])
            if np.isnan(value):
                reason = f"none is: at {lesion.sizes[-1]:g} {lesion.unit} sensitivity is {hits[:, -1].mean():.2f}"
                scores.append(self._score(name, None, False, len(hits), lesion, reason=reason, **details))
                continue
            sums = np.concatenate([hits, np.ones((len(hits), 1))], axis=1)
            additive = Additive(sums, answers.patients, "smallest-seen", {"sizes": list(lesion.sizes), "level": LEVEL})
            scores.append(
                self._score(
                    name, value, False, len(hits), lesion, additive=additive, censored="at the largest size", **details
                )
            )  # fmt: skip
        return scores

    def _any(self, lesion: Lesion, stage: str, answers: Answers) -> list[Score]:
        """AUC of all lesions of a stage against their twins, sensitivity, and false alarms."""
        n, where = len(answers.patients), STAGES[stage]
        shares = answers.seen.reshape(n, -1)
        sums = np.stack([shares.sum(axis=1), np.full(n, shares.shape[1])], axis=1).astype(np.float64)
        hits = Additive(sums, answers.patients, "mean")
        alarms = Additive.proportion((answers.absent >= answers.threshold).tolist(), answers.patients)
        area = area_under_curve(answers.present.ravel(), answers.absent)
        interval = self._resampled(answers, lambda rows: area_under_curve(answers.present[rows].ravel(), answers.absent[rows]))
        over = "all grades" if stage == GENERATED else "all sizes and contrasts"
        return [
            self._score(f"AUC: {lesion.name} {where}", area, True, n, lesion, interval=interval, over=over, method=BY_ROWS),
            self._score(f"sensitivity: {lesion.name} {where}", hits.value(), True, n, lesion, additive=hits, over=over),
            self._score(f"false alarms: {lesion.name} {where}", alarms.value(), False, n, lesion, additive=alarms),
        ]  # fmt: skip

    def _told_apart(self, lesion: Lesion, stage: str, answers: Answers) -> list[Score]:
        """The smallest size told from its twin, for each contrast: no threshold of the checker has a part in it."""
        scores = []
        for column, contrast in enumerate(lesion.contrasts):
            name = f"smallest {lesion.name} told from its twin {STAGES[stage]} ({lesion.unit}), contrast {contrast:g}"
            limit = partial(_limit_by_area, answers, column, lesion.sizes)
            value = limit(np.arange(len(answers.absent)))
            details: dict[str, Any] = {"sizes": list(lesion.sizes), "auc": APART, "contrast": contrast}
            if np.isnan(value):
                reason = f"none is, up to {lesion.sizes[-1]:g} {lesion.unit}"
                scores.append(self._score(name, None, False, len(answers.absent), lesion, reason=reason, **details))
                continue
            interval = self._resampled(answers, partial(limit, censored=True))
            scores.append(
                self._score(
                    name, value, False, len(answers.absent), lesion, interval=interval, method=BY_ROWS,
                    censored="at the largest size", **details,
                )
            )  # fmt: skip
        return scores

    def _resampled(self, answers: Answers, statistic: Callable[[np.ndarray], float]) -> Interval:
        """The interval of a statistic of rows of `answers` by resampling patients, probes and twins together."""
        groups: dict[str, list[int]] = {}
        for row, patient in enumerate(answers.patients):
            groups.setdefault(patient, []).append(row)
        if len(groups) < MINIMUM_PATIENTS:
            return Interval(reason=f"no interval: {len(groups)} patients, fewer than {MINIMUM_PATIENTS}")
        members, generator = [np.array(rows) for rows in groups.values()], np.random.default_rng(self.context.seed)
        drawn = (
            np.concatenate([members[pick] for pick in generator.integers(len(members), size=len(members))])
            for _ in range(AREAS)
        )
        return percentile_interval(np.array([statistic(rows) for rows in drawn]))

    def _grades(self, lesion: Lesion, answers: Answers) -> list[Score]:
        """Sensitivity of what is generated, for each word that the report has for a size."""
        scores = []
        for column, (grade, size) in enumerate(lesion.grades.items()):
            hits = Additive.proportion(answers.seen[:, column].tolist(), answers.patients)
            scores.append(
                self._score(
                    f"sensitivity: {grade} {lesion.name} generated", hits.value(), True, len(answers.patients), lesion,
                    additive=hits, stands_for=size,
                )
            )  # fmt: skip
        return scores

    def _measured(self, lesion: Lesion) -> list[Score]:
        """Measured diameters of what the checker sees, beside those of drawn ones of the size that the word stands for."""
        rows = [row for row in self.told if self._name(row) == lesion.name]
        patients = [self.cases[row].patient for row in rows]
        answers = self._answers(lesion, GENERATED)
        if answers is None:
            return []
        scores = []
        for column, (grade, size) in enumerate(lesion.grades.items()):
            name = f"measured diameter of a {grade} {lesion.name} generated ({lesion.unit})"
            drawn, made = (
                np.array([self.predictions[row].told["measured"][stage][column] for row in rows])
                for stage in (DRAWN, GENERATED)
            )
            seen = answers.seen[:, column]
            details = {"drawn_at": size, "measured_as_drawn": round(float(drawn.mean()), 3), "of": "those that are seen"}
            if not seen.any():
                scores.append(self._score(name, None, None, len(rows), lesion, reason="none is seen", **details))
                continue
            mean = Additive.mean(made[seen], [patient for patient, yes in zip(patients, seen, strict=True) if yes])
            scores.append(self._score(name, mean.value(), None, int(seen.sum()), lesion, additive=mean, **details))
        return scores

    def table(self) -> list[dict[str, Any]]:
        """One row for each cell: lesion, stage, contrast, size or grade, sensitivity, AUC against the twins, n."""
        result = []
        for lesion in self.lesions():
            for stage in STAGES:
                answers = self._answers(lesion, stage)
                if answers is None:
                    continue
                if stage == GENERATED:
                    cells = [{"contrast": "", "size": size, "grade": grade} for grade, size in lesion.grades.items()]
                else:
                    cells = [
                        {"contrast": contrast, "size": size, "grade": ""}
                        for contrast in lesion.contrasts
                        for size in lesion.sizes
                    ]
                shown, seen = (values.reshape(len(values), -1) for values in (answers.present, answers.seen))
                for place, cell in enumerate(cells):
                    result.append({
                        "lesion": lesion.name, "unit": lesion.unit, "stage": stage, **cell,
                        "sensitivity": float(seen[:, place].mean()),
                        "auc": area_under_curve(shown[:, place], answers.absent),
                        "false_alarms": float((answers.absent >= answers.threshold).mean()), "n": len(shown),
                    })  # fmt: skip
        return result

    def pictures(self) -> dict[str, bytes]:
        """Every cell as `detectability.csv`, sensitivities as `detectability.png`, AUCs as `detectability-auc.png`."""
        table = self.table()
        if not table:
            return {}
        from tasks.fine_detail.figure import heat_maps

        lesions = self.lesions()
        return {
            "detectability.csv": csv_text(list(table[0]), table).encode(),
            "detectability.png": heat_maps(lesions, table, "sensitivity", "Sensitivity of the checker that scores"),
            "detectability-auc.png": heat_maps(lesions, table, "auc", "AUC against the same pictures without the lesion"),
        }


def _limit_by_area(answers: Answers, contrast: int, sizes: Sequence[float], rows: np.ndarray, censored: bool = False) -> float:
    """The size at which the AUC of these rows reaches `APART`; where none does, NaN, or the largest where `censored`."""
    absent = answers.absent[rows]
    areas = [area_under_curve(answers.present[rows, contrast, place], absent) for place in range(len(sizes))]
    found = float(crossing(np.array([areas]), sizes, APART)[0])
    return sizes[-1] if censored and np.isnan(found) else found
