"""Metrics that run in separate environments, as scores: each is withheld alone, with the reason."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from medim.common.errors import UserError
from tasks.metrics.isolated.environment import RECIPE, Environment, Recipe, environments, missing, read_recipe, shipped
from tasks.metrics.isolated.process import Values, evaluate
from tasks.metrics.statistics.additive import Additive
from tasks.protocols import Case, Cases, Predictions
from tasks.scoring.context import Context
from tasks.scoring.scores import Score, Scorer, aligned, because, coverage_of, images_of, reports_of


class _Answer(NamedTuple):
    """What a system gave for one case, as an environment sees it."""

    case: Case
    text: str | None
    references: list[str]
    image: Image.Image | None

    def whole(self, recipe: Recipe) -> bool:
        return self.text is not None and (self.image is not None or not recipe.images)


def isolated_scores(task: str, cases: Cases, predictions: Predictions, context: Context) -> list[Score]:
    """What every environment says of these predictions.
    A shipped recipe without an environment is withheld where the clinical metrics stand: not on data with a report checker."""
    scores: list[Score] = []
    for name, folder in environments().items():
        score = Scorer(context, len(cases), 1.0)
        column, better = name, None
        try:
            there = folder is not None and ((folder / RECIPE).is_file() or name not in shipped())
            recipe = read_recipe(folder if folder is not None and there else shipped()[name])
            answers = _answers(recipe, task, cases, predictions)
            if not answers or (folder is None and context.brings_report_checker):
                continue
            given = [answer if answer.whole(recipe) else None for answer in answers]
            score = score.of(len(answers), coverage_of(given))
            column, better = next((column, gives.higher) for column, gives in recipe.columns().items())
            if folder is None:
                raise missing(name)
            scores += _scores(Environment.opened(name, folder), answers, score)
        except UserError as error:
            scores.append(score(column, None, better, str(error), **{"unavailable": True} | because(error)))
    return scores


def _answers(recipe: Recipe, task: str, cases: Cases, predictions: Predictions) -> list[_Answer]:
    """Of the cases that the recipe scores; none where it has no part in the task. A report goes with its case's image, an image
    with the report that it was drawn from, and a pair stands without a reference."""
    if task not in recipe.tasks:
        return []
    predictions = aligned(cases, predictions)
    answers = []
    for case, report, image in zip(cases, reports_of(predictions), images_of(cases, predictions), strict=True):
        if task == "report-generation":
            answers.append(_Answer(case, report, [case.report, *case.other_reports], case.image))
        elif task == "image-generation":
            answers.append(_Answer(case, None if image is None else case.report, [case.report], image))
        else:
            answers.append(_Answer(case, None if image is None else report, [], image))
    return [one for one in answers if not recipe.domains or one.case.domain in recipe.domains]


def _scores(environment: Environment, answers: Sequence[_Answer], score: Scorer) -> list[Score]:
    """The columns of one environment; what is missing has the value that the recipe states, or withholds the column."""
    recipe = environment.recipe
    there = np.array([answer.whole(recipe) for answer in answers])
    values = _run(environment, [answer for answer in answers if answer.whole(recipe)], score.context.device)
    score = score.of(**environment.signature)
    reason = None if there.all() else f"{(~there).sum()} of {len(there)} answers are missing"
    paired = bool(answers[0].references)
    patients = tuple(answer.case.patient if paired else answer.case.id for answer in answers)
    scores = []
    for name, gives in recipe.values.items():
        column = np.full(len(answers), np.nan if gives.missing is None else gives.missing)
        column[there] = values.cases[name]
        if np.isnan(column).any():
            scores.append(score(recipe.column(name), None, gives.higher, reason))
        else:
            mean = Additive.mean(column.tolist(), patients, paired)
            scores.append(score(recipe.column(name), mean, gives.higher, aggregation="mean"))
    for name, gives in recipe.corpus.items():
        value = values.corpus[name] if reason is None else gives.missing
        scores.append(score(recipe.column(name), value, gives.higher, None if value is not None else reason))
    return scores


def _run(environment: Environment, answers: Sequence[_Answer], device: str) -> Values:
    """The metric's values of answers that are whole."""
    if not answers:
        return Values({name: np.empty(0) for name in environment.recipe.values}, {})
    with tempfile.TemporaryDirectory(prefix="medim-images-") as folder:
        rows = []
        for number, answer in enumerate(answers):
            row = {"id": answer.case.id, "prediction": answer.text, "references": answer.references}
            if environment.recipe.images and answer.image is not None:
                answer.image.save(path := Path(folder) / f"{number}.png")
                row["image"] = str(path)
            rows.append(row)
        return evaluate(environment, rows, device)
