"""What the checker said of every probe, as scores: the smallest lesion seen, and how well any is told from its twin."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from medim.common.csv_text import csv_text
from medim.common.errors import UserError
from medim.data.phantom.probes import Lesion
from tasks.fine_detail.limits import LEVEL, area_under_curve, crossing
from tasks.fine_detail.pictures import heat_maps
from tasks.metrics.statistics.additive import Additive
from tasks.metrics.statistics.bootstrap import MINIMUM_PATIENTS, RESAMPLES, Interval, percentile_interval
from tasks.protocols import Cases, Predictions
from tasks.scoring.context import Context
from tasks.scoring.scores import Score, Scorer

DRAWN, TOKENS, GENERATED = "drawn", "tokens", "generated"
NONE = "without"
STAGES = {DRAWN: "as drawn", TOKENS: "through the tokenizer", GENERATED: "generated"}
APART = 0.9  # AUC against the twins from which a lesion counts as told apart
AREAS = RESAMPLES // 10  # of an AUC, which is no function of sums
BY_ROWS = f"percentile bootstrap over patients, {AREAS} resamples"


@dataclass(frozen=True)
class Stage:
    """What the checker said of one lesion's probes in one stage."""

    name: str
    lesion: Lesion
    present: np.ndarray  # probabilities (N, ...): contrasts and sizes of a grid (N, C, S), or grades (N, G)
    absent: np.ndarray  # of the twins, (N,)
    threshold: np.ndarray  # of the checker, (N,): that of each probe's label
    patients: tuple[str, ...]  # N

    @property
    def seen(self) -> np.ndarray:
        """Whether each lesion is read, of the shape of `present`."""
        return self.present >= self.threshold.reshape(-1, *[1] * (self.present.ndim - 1))

    @property
    def false_alarms(self) -> np.ndarray:
        """Whether a lesion is read in each twin, (N,)."""
        return self.absent >= self.threshold

    def resampled(self, statistic: Callable[[np.ndarray], float], seed: int) -> Interval:
        """The interval of a statistic of row numbers, by resampling patients, probes and twins together."""
        groups: dict[str, list[int]] = {}
        for row, patient in enumerate(self.patients):
            groups.setdefault(patient, []).append(row)
        if len(groups) < MINIMUM_PATIENTS:
            return Interval(reason=f"no interval: {len(groups)} patients, fewer than {MINIMUM_PATIENTS}")
        members, generator = [np.array(rows) for rows in groups.values()], np.random.default_rng(seed)
        picks = (generator.integers(len(members), size=len(members)) for _ in range(AREAS))
        return percentile_interval(np.array([statistic(np.concatenate([members[one] for one in pick])) for pick in picks]))

    def area(self, rows: np.ndarray) -> float:
        """AUC of all lesions of these rows against their twins."""
        return area_under_curve(self.present[rows].ravel(), self.absent[rows])

    def limit_by_area(self, contrast: int, rows: np.ndarray, censored: bool = False) -> float:
        """The size at which the AUC of these rows reaches `APART`; where none does, NaN, or the largest where `censored`."""
        sizes = self.lesion.sizes
        areas = [area_under_curve(self.present[rows, contrast, place], self.absent[rows]) for place in range(len(sizes))]
        found = float(crossing(np.array([areas]), sizes, APART)[0])
        return sizes[-1] if censored and np.isnan(found) else found


class DetailScores:
    def __init__(self, cases: Cases, predictions: Predictions, probed: frozenset[str], context: Context) -> None:
        """`predictions`: one per case, `details` as `FineDetail.generate` writes it. `probed`: ids of the cases that carry a
        probe. Raises UserError: the predictions were read by another checker than the data set now has."""
        self.cases, self.predictions, self.seed = cases, predictions, context.seed
        rows = [row for row, case in enumerate(cases) if case.id in probed]
        self.answered = [row for row in rows if predictions[row].details]
        checker = context.image_checker.fingerprint if context.image_checker is not None else None
        if any(predictions[row].details["checker"] != checker for row in self.answered):
            raise UserError("fine-detail: these probes were read by another image checker: run it anew with --overwrite")
        coverage = len(self.answered) / len(rows) if rows else 0.0
        self.scorer = Scorer(context, 0, coverage, {"image_checker": checker})

    def lesions(self) -> list[Lesion]:
        """Those that were probed, in order of appearance."""
        found = [dict(self.predictions[row].details["lesion"]) for row in self.answered]
        return [
            Lesion(**one | {"sizes": tuple(one["sizes"]), "contrasts": tuple(one["contrasts"])})
            for one in {one["name"]: one for one in found}.values()
        ]

    def _rows(self, lesion: Lesion) -> list[int]:
        return [row for row in self.answered if self.predictions[row].details["lesion"]["name"] == lesion.name]

    def stages(self, lesion: Lesion) -> list[Stage]:
        """The stages in which the lesion was looked for."""
        rows = self._rows(lesion)
        answers = [self.predictions[row].details for row in rows]
        patients = tuple(self.cases[row].patient for row in rows)
        threshold = np.array([one["threshold"] for one in answers])
        stages = []
        for name in STAGES:
            if answers and name in answers[0]:
                values = np.array([one[name] for one in answers])
                shape = (len(lesion.grades),) if name == GENERATED else (len(lesion.contrasts), len(lesion.sizes))
                present = values[:, 1:].reshape(len(rows), *shape)
                stages.append(Stage(name, lesion, present, values[:, 0], threshold, patients))
        return stages

    def _score(self, lesion: Lesion, n: int) -> Scorer:
        return self.scorer.of(n, lesion=lesion.name, unit=lesion.unit, width_of_picture=lesion.width)

    def all(self) -> list[Score]:
        """Every score; where nothing was probed, one that says so."""
        scores: list[Score] = []
        for lesion in self.lesions():
            for stage in self.stages(lesion):
                score = self._score(lesion, len(stage.patients))
                scores += self._any(stage, score)
                if stage.name == GENERATED:
                    scores += self._grades(stage, score)
                else:
                    scores += self._limits(stage, score) + self._told_apart(stage, score)
            if lesion.solid:
                scores += self._measured(lesion)
        return scores or [self.scorer("smallest lesion seen", None, False, "no case has room for a probe")]

    def samples(self) -> list[dict[str, float]]:
        """Of each probed case the share of its lesions that is seen, by stage."""
        result: list[dict[str, float]] = [{} for _ in self.cases]
        for row in self.answered:
            answer = self.predictions[row].details
            for stage, where in STAGES.items():
                if stage in answer:
                    result[row][f"lesions seen {where}"] = float(np.mean(np.array(answer[stage][1:]) >= answer["threshold"]))
        return result

    def _any(self, stage: Stage, score: Scorer) -> list[Score]:
        """AUC of all lesions of a stage against their twins, sensitivity, and false alarms."""
        n, name = len(stage.patients), f"{stage.lesion.name} {STAGES[stage.name]}"
        seen = stage.seen.reshape(n, -1)
        sums = np.stack([seen.sum(axis=1), np.full(n, seen.shape[1])], axis=1).astype(np.float64)
        over = "all grades" if stage.name == GENERATED else "all sizes and contrasts"
        interval = stage.resampled(stage.area, self.seed)
        return [
            score(f"AUC: {name}", stage.area(np.arange(n)), True, interval=interval, method=BY_ROWS, over=over),
            score(f"sensitivity: {name}", Additive(sums, stage.patients, "mean"), True, over=over),
            score(f"false alarms: {name}", Additive.proportion(stage.false_alarms.tolist(), stage.patients), False),
        ]

    def _limits(self, stage: Stage, score: Scorer) -> list[Score]:
        """The smallest size seen, for each contrast."""
        lesion, sizes, scores = stage.lesion, stage.lesion.sizes, []
        for column, contrast in enumerate(lesion.contrasts):
            hits = stage.seen[:, column].astype(np.float64)  # (N, S)
            name = f"smallest {lesion.name} seen {STAGES[stage.name]} ({lesion.unit}), contrast {contrast:g}"
            details: dict[str, Any] = {"sizes": list(sizes), "sensitivity": LEVEL, "contrast": contrast}
            if np.isnan(crossing(hits.mean(axis=0, keepdims=True), sizes)[0]):
                reason = f"none is: at {sizes[-1]:g} {lesion.unit} sensitivity is {hits[:, -1].mean():.2f}"
                scores.append(score(name, None, False, reason, **details))
                continue
            sums = np.concatenate([hits, np.ones((len(hits), 1))], axis=1)
            additive = Additive(sums, stage.patients, "smallest-seen", {"sizes": list(sizes), "level": LEVEL})
            scores.append(score(name, additive, False, censored="at the largest size", **details))
        return scores

    def _told_apart(self, stage: Stage, score: Scorer) -> list[Score]:
        """The smallest size told from its twin, for each contrast: no threshold of the checker has a part in it."""
        lesion, scores = stage.lesion, []
        for column, contrast in enumerate(lesion.contrasts):
            name = f"smallest {lesion.name} told from its twin {STAGES[stage.name]} ({lesion.unit}), contrast {contrast:g}"
            limit = partial(stage.limit_by_area, column)
            value = limit(np.arange(len(stage.absent)))
            details: dict[str, Any] = {"sizes": list(lesion.sizes), "auc": APART, "contrast": contrast}
            if np.isnan(value):
                scores.append(score(name, None, False, f"none is, up to {lesion.sizes[-1]:g} {lesion.unit}", **details))
                continue
            interval = stage.resampled(partial(limit, censored=True), self.seed)
            details |= {"censored": "at the largest size"}
            scores.append(score(name, value, False, interval=interval, method=BY_ROWS, **details))
        return scores

    def _grades(self, stage: Stage, score: Scorer) -> list[Score]:
        """Sensitivity of what is generated, for each word that the report has for a size."""
        return [
            score(
                f"sensitivity: {grade} {stage.lesion.name} generated",
                Additive.proportion(stage.seen[:, column].tolist(), stage.patients),
                True,
                stands_for=size,
            )
            for column, (grade, size) in enumerate(stage.lesion.grades.items())
        ]

    def _measured(self, lesion: Lesion) -> list[Score]:
        """Measured diameters of what the checker sees, beside those of drawn ones of the size that the word stands for."""
        stage = next((stage for stage in self.stages(lesion) if stage.name == GENERATED), None)
        if stage is None:
            return []
        measured = [self.predictions[row].details["measured"] for row in self._rows(lesion)]
        drawn, generated = (np.array([one[name] for one in measured]) for name in (DRAWN, GENERATED))  # (N, G)
        scores = []
        for column, (grade, size) in enumerate(lesion.grades.items()):
            name = f"measured diameter of a {grade} {lesion.name} generated ({lesion.unit})"
            seen = stage.seen[:, column]
            usual = round(float(drawn[:, column].mean()), 3)
            details: dict[str, Any] = {"drawn_at": size, "measured_as_drawn": usual, "of": "those that are seen"}
            if not seen.any():
                scores.append(self._score(lesion, len(seen))(name, None, None, "none is seen", **details))
                continue
            patients = [patient for patient, yes in zip(stage.patients, seen, strict=True) if yes]
            mean = Additive.mean(generated[seen, column], patients)
            scores.append(self._score(lesion, int(seen.sum()))(name, mean, None, **details))
        return scores

    def table(self) -> list[dict[str, Any]]:
        """One row for each cell: lesion, stage, contrast, size or grade, sensitivity, AUC against the twins, n."""
        result = []
        for lesion in self.lesions():
            grid = [{"contrast": contrast, "size": size, "grade": ""} for contrast in lesion.contrasts for size in lesion.sizes]
            grades = [{"contrast": "", "size": size, "grade": grade} for grade, size in lesion.grades.items()]
            for stage in self.stages(lesion):
                present, seen = (values.reshape(len(values), -1) for values in (stage.present, stage.seen))
                for place, cell in enumerate(grades if stage.name == GENERATED else grid):
                    row = {"lesion": lesion.name, "unit": lesion.unit, "stage": stage.name, **cell}
                    row["sensitivity"] = float(seen[:, place].mean())
                    row["auc"] = area_under_curve(present[:, place], stage.absent)
                    result.append(row | {"false_alarms": float(stage.false_alarms.mean()), "n": len(present)})
        return result

    def pictures(self) -> dict[str, bytes]:
        """Every cell as `detectability.csv`, sensitivities as `detectability.png`, AUCs as `detectability-auc.png`."""
        table = self.table()
        if not table:
            return {}
        lesions = self.lesions()
        return {
            "detectability.csv": csv_text(list(table[0]), table).encode(),
            "detectability.png": heat_maps(lesions, table, "sensitivity", "Sensitivity of the checker that scores"),
            "detectability-auc.png": heat_maps(lesions, table, "auc", "AUC against the same pictures without the lesion"),
        }
