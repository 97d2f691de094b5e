"""The grounding test of an export of twins: of two reports that differ in one finding, which is this image's?

Any model that reads both can take it: `predictions.jsonl` with `{"id", "choice": 0 or 1}` or `{"id", "scores": [a, b]}` a line,
the higher the better. A model that gives likelihoods takes it directly, by what the image says for each report:

    score_r = log p(report_r | image) - log p(report_r)
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import click
from pydantic import BaseModel, ConfigDict
from tqdm import tqdm

from benchmark import DONE
from benchmark.export.formats.form import write_lines
from benchmark.run.options import ScoreOptions
from benchmark.systems import open_pipeline
from medim.common.claims import claim
from medim.common.errors import UserError, unknown
from medim.common.files import hash_files, located, write_json, write_text
from medim.common.json_lines import read_models
from medim.imaging.images import read_image
from tasks.metrics.statistics.additive import Additive
from tasks.protocols import Scorable

GROUNDING = "grounding.jsonl"
RESULT, PREDICTIONS, ANSWERED = "grounding.json", "predictions.jsonl", "answered.json"
BATCH, DRAWS = 16, 8


class Question(BaseModel):
    """Which of two reports is this image's? `right` says it; `shown` whether the image shows the finding."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    couple: str
    image: str
    reports: tuple[str, str]
    right: Literal[0, 1]
    finding: str
    shown: bool = False


class Answer(BaseModel):
    """The report that was chosen, or a score of each."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    choice: Literal[0, 1] | None = None
    scores: tuple[float, float] | None = None


class Answering(Scorable, Protocol):
    """A system that gives likelihoods, with the hash of its weights."""

    @property
    def fingerprint(self) -> str: ...


def grounding_items(lines: Sequence[Mapping[str, Any]]) -> Iterator[Question]:
    """Two questions of each couple whose twins came of one attempt. `lines`: `fields` of the exported pairs."""
    by_id = {line["id"]: line for line in lines}
    for line in lines:
        twin = by_id.get(line.get("twin_of", ""))
        if twin is None or twin["seed"] != line["seed"]:
            continue
        reports = (line["report"], twin["report"])
        right: Literal[0, 1] = 1 if hashlib.sha256(line["id"].encode()).digest()[0] % 2 else 0
        yield Question(
            id=line["id"],
            couple=line["patient"],
            image=line["image"],
            reports=reports[::-1] if right else reports,
            right=right,
            finding=line["finding"],
            shown=line["change"] == "added",
        )


def write_grounding(out: Path, lines: Sequence[Mapping[str, Any]]) -> int:
    """Writes `grounding.jsonl`; returns how many questions it has."""
    return write_lines(out / GROUNDING, (item.model_dump() for item in grounding_items(lines)))


def read_questions(folder: Path) -> list[Question]:
    """The questions of an export of twins. Raises UserError: no such file, or a line that is no question."""
    path = folder / GROUNDING
    if not path.is_file():
        raise UserError(f"'{folder}' holds no {GROUNDING}: `medim-bench export --twins` writes it")
    items = []
    for where, item in read_models(path, Question):
        try:
            image = located(folder, item.image)[0]
        except ValueError as error:
            raise UserError(f"{where}: image {item.image[:80]!a} is no path: {error}") from None
        if not image.is_relative_to(folder.resolve()):
            raise UserError(f"{where}: image '{item.image}' leaves the folder")
        items.append(item)
    if not items:
        raise UserError(f"{path} holds no questions")
    return items


def read_choices(path: Path, items: Sequence[Question]) -> dict[str, float]:
    """By question: 1 where the right report was chosen, 0 where the other was, 0.5 where both score the same.
    Raises UserError: a file that cannot be read, an unknown question, or a line without `choice` or `scores`."""
    path = path / PREDICTIONS if path.is_dir() else path
    right = {item.id: item.right for item in items}
    chosen: dict[str, float] = {}
    for where, line in read_models(path, Answer):
        if line.id not in right:
            raise UserError(f"{where}: {unknown('question', line.id, list(right)[:50])}")
        if line.id in chosen:
            raise UserError(f"{where}: a second answer to '{line.id}'")
        if line.scores is None and line.choice is None:
            raise UserError(f'{where}: "choice" (0 or 1) or "scores" (two finite numbers) is needed')
        scores = line.scores or (1 - (line.choice or 0), line.choice or 0)
        own, other = scores[right[line.id]], scores[1 - right[line.id]]
        chosen[line.id] = 1.0 if own > other else 0.5 if own == other else 0.0
    return chosen


def answer(model: Answering, folder: Path, items: Sequence[Question], out: Path, overwrite: bool = False) -> Path:
    """Answers of a model that gives likelihoods, batch by batch into `out/predictions.jsonl`, continuing what is there.
    Raises UserError: what is there are not this model's answers to these questions, and `overwrite` is not set."""
    path = out / PREDICTIONS
    _claim(out, {"model": model.fingerprint, "questions": hash_files(folder / GROUNDING), "draws": DRAWS}, overwrite)
    done = {line.id: line for _, line in read_models(path, Answer)} if path.exists() else {}
    left = [item for item in items if item.id not in done]
    with tqdm(total=len(items), initial=len(done), desc="grounding", unit="question", disable=not left) as progress:
        for start in range(0, len(left), BATCH):
            batch = left[start : start + BATCH]
            images = [read_image(folder / item.image) for item in batch for _ in range(2)]
            reports = [report for item in batch for report in item.reports]
            seeds = [_seed(item.couple) for item in batch for _ in range(2)]  # one noise for all four of a couple's answers
            alone, given = (
                model.log_likelihood(images, reports, condition, draws=DRAWS, seeds=seeds).nats[:, 1]
                for condition in ("report", "report|image")
            )
            gains = (alone - given).reshape(-1, 2).tolist()
            done |= {item.id: Answer(id=item.id, scores=tuple(gain)) for item, gain in zip(batch, gains, strict=True)}
            lines = [json.dumps({"id": line.id, "scores": line.scores}) + "\n" for line in done.values()]
            write_text(path, "".join(lines))
            progress.update(len(batch))
    return path


def _claim(out: Path, configuration: Mapping[str, Any], overwrite: bool) -> None:
    """Gives the answers in `out` to a configuration; `overwrite` removes those of another."""
    path, answered = out / PREDICTIONS, out / ANSWERED
    if path.exists() and not answered.exists():
        raise UserError(f"'{path}' is not of `score grounding --model`: choose another folder")

    def clear() -> None:
        path.unlink(missing_ok=True)
        answered.unlink()

    claim(out, answered, configuration, "answers", clear if overwrite else None)


def _seed(couple: str) -> int:
    return int.from_bytes(hashlib.sha256(couple.encode()).digest()[:8], "big") >> 1


def grade(items: Sequence[Question], chosen: Mapping[str, float]) -> dict[str, Any]:
    """JSON-able: the share of right answers with its 95 % interval over couples, and of couples with both right.
    A question without an answer counts as wrong; chance is 0.5, and 0.25 for both."""
    values = [chosen.get(item.id, 0.0) for item in items]
    accuracy = Additive.mean(values, [item.couple for item in items])
    ends = accuracy.interval(0)
    couples: dict[str, list[float]] = defaultdict(list)
    findings: dict[str, list[float]] = defaultdict(list)
    for item, value in zip(items, values, strict=True):
        couples[item.couple].append(value)
        findings[item.finding].append(value)
    return {
        "accuracy": accuracy.value(),
        "ci_low": ends.low,
        "ci_high": ends.high,
        "interval": ends.reason or accuracy.method,
        "both right": sum(all(one == 1 for one in both) for both in couples.values()) / len(couples),
        "questions": len(items),
        "couples": len(couples),
        "coverage": sum(item.id in chosen for item in items) / len(items),
        "by finding": {
            finding: {"accuracy": sum(some) / len(some), "questions": len(some)} for finding, some in sorted(findings.items())
        },
    }


def execute_grounding(options: ScoreOptions) -> int:
    """Grades predictions, or a model's own answers, into `out/grounding.json`; prints the shares; returns the exit status.
    Raises UserError: a file that cannot be read, or `out` holds another model's answers and `overwrite` is not set."""
    folder, out, predictions = Path(options.data or ""), options.out, options.predictions
    assert out is not None
    items = read_questions(folder)
    if predictions is None:
        model = open_pipeline(options.model or "", options.device, {})
        predictions = answer(model, folder, items, out, options.overwrite)
    result = grade(items, read_choices(predictions, items))
    write_json(out / RESULT, result)
    ends = "" if result["ci_low"] is None else f" [{result['ci_low']:.3f}, {result['ci_high']:.3f}]"
    click.echo(f"right: {result['accuracy']:.3f}{ends} of {result['questions']} questions (chance 0.5)")
    click.echo(f"both of a couple right: {result['both right']:.3f} of {result['couples']} (chance 0.25)")
    click.echo(out / RESULT)
    return DONE
