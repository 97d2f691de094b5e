"""The grounding test of an export of twins: of two reports that differ in one finding, which is this image's?

Any model that reads both can take it: `predictions.jsonl` with `{"id", "choice": 0 or 1}` or `{"id", "scores": [a, b]}` a line,
the higher the better. A model that tells likelihoods takes it directly, by what the image says for each report:

    score_r = log p(report_r | image) - log p(report_r)
"""

import hashlib
import json
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import click
from tqdm import tqdm

from benchmark import DONE
from benchmark.export.formats.form import write_lines
from benchmark.run.options import ScoreOptions
from benchmark.systems import open_pipeline
from medim.common.errors import UserError, unknown
from medim.common.files import hash_files, located, write_json, write_text
from medim.common.json_lines import numbered_lines, parse_json
from medim.imaging.images import read_image
from tasks.metrics.statistics.additive import Additive
from tasks.protocols import Scorable

GROUNDING = "grounding.jsonl"
RESULT, PREDICTIONS, ANSWERED = "grounding.json", "predictions.jsonl", "answered.json"
TEXTS = ("id", "couple", "image", "finding")
NEEDED = (*TEXTS, "reports", "right")
BATCH, DRAWS = 16, 8


def grounding_items(lines: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Two questions of each couple whose twins came of one attempt: which of two reports is this image's?

    Args:
        lines: `fields` of the exported pairs.
    """
    by_id = {line["id"]: line for line in lines}
    for line in lines:
        twin = by_id.get(line.get("twin_of", ""))
        if twin is None or twin["seed"] != line["seed"]:
            continue
        right = hashlib.sha256(line["id"].encode()).digest()[0] % 2
        reports = [twin["report"], twin["report"]]
        reports[right] = line["report"]
        yield {
            "id": line["id"],
            "couple": line["patient"],
            "image": line["image"],
            "reports": reports,
            "right": right,
            "finding": line["finding"],
            "shown": line["change"] == "added",
        }


def write_grounding(out: Path, lines: Sequence[Mapping[str, Any]]) -> int:
    """Writes `grounding.jsonl`; returns how many questions it has."""
    return write_lines(out / GROUNDING, grounding_items(lines))


class Answering(Scorable, Protocol):
    """A system that tells likelihoods, with the hash of its weights."""

    @property
    def fingerprint(self) -> str: ...


def read_questions(folder: Path) -> list[dict[str, Any]]:
    """The questions of an export of twins.

    Raises:
        UserError: no such file, or a line that is no question.
    """
    path = folder / GROUNDING
    if not path.is_file():
        raise UserError(f"'{folder}' holds no {GROUNDING}: `medim-bench export --twins` writes it")
    items = []
    for where, item in _lines(path, NEEDED):
        try:
            path = located(folder, item["image"])[0]
        except ValueError as error:
            raise UserError(f"{where}: image {item['image'][:80]!a} is no path: {error}") from None
        if not path.is_relative_to(folder.resolve()):
            raise UserError(f"{where}: image '{item['image']}' leaves the folder")
        reports = item["reports"]
        two = isinstance(reports, list) and len(reports) == 2 and all(isinstance(report, str) for report in reports)
        if not two or item["right"] not in (0, 1):
            raise UserError(f"{where}: two reports are needed, and which of them (0 or 1) is right")
        items.append(item)
    if not items:
        raise UserError(f"{path} asks nothing")
    return items


def read_choices(path: Path, items: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """By question: 1 where the right report was chosen, 0 where the other was, 0.5 where both score the same.

    Raises:
        UserError: a file that cannot be read, an unknown question, or a line without `choice` or `scores`.
    """
    path = path / PREDICTIONS if path.is_dir() else path
    right = {item["id"]: item["right"] for item in items}
    chosen: dict[str, float] = {}
    for where, line in _lines(path, ("id",)):
        if line["id"] not in right:
            raise UserError(f"{where}: {unknown('question', line['id'], list(right)[:50])}")
        if line["id"] in chosen:
            raise UserError(f"{where}: a second answer to '{line['id']}'")
        scores = line.get("scores")
        if scores is None and line.get("choice") in (0, 1):
            scores = [1.0 - line["choice"], float(line["choice"])]
        if not isinstance(scores, list) or len(scores) != 2 or not all(map(_is_finite, scores)):
            raise UserError(f'{where}: "choice" (0 or 1) or "scores" (two finite numbers) is needed')
        own, other = scores[right[line["id"]]], scores[1 - right[line["id"]]]
        chosen[line["id"]] = 1.0 if own > other else 0.5 if own == other else 0.0
    return chosen


def answer(model: Answering, folder: Path, items: Sequence[Mapping[str, Any]], out: Path, overwrite: bool = False) -> Path:
    """Answers of a model that tells likelihoods, batch by batch into `out/predictions.jsonl`, continuing what is there.

    Raises:
        UserError: what is there are not this model's answers to these questions, and `overwrite` is not set.
    """
    path = out / PREDICTIONS
    _claim(out, {"model": model.fingerprint, "questions": hash_files(folder / GROUNDING), "draws": DRAWS}, overwrite)
    done = {line["id"]: line for _, line in _lines(path, ("id",))} if path.exists() else {}
    left = [item for item in items if item["id"] not in done]
    with tqdm(total=len(items), initial=len(done), desc="grounding", unit="question", disable=not left) as progress:
        for start in range(0, len(left), BATCH):
            batch = left[start : start + BATCH]
            images = [read_image(folder / item["image"]) for item in batch for _ in range(2)]
            reports = [report for item in batch for report in item["reports"]]
            seeds = [_seed(item["couple"]) for item in batch for _ in range(2)]  # one noise for all four of a couple's answers
            told = [model.log_likelihood(images, reports, c, draws=DRAWS, seeds=seeds) for c in ("report", "report|image")]
            gain = (told[0].nats - told[1].nats)[:, 1].reshape(-1, 2)
            done |= {
                item["id"]: {"id": item["id"], "scores": [float(one) for one in row]}
                for item, row in zip(batch, gain, strict=True)
            }
            write_text(path, "".join(json.dumps(line) + "\n" for line in done.values()))
            progress.update(len(batch))
    return path


def _claim(out: Path, configuration: Mapping[str, Any], overwrite: bool) -> None:
    """Gives the answers in `out` to a configuration; `overwrite` removes those of another."""
    path, claim = out / PREDICTIONS, out / ANSWERED
    if path.exists():
        if not claim.exists():
            raise UserError(f"'{path}' is not of `score grounding --model`: choose another folder")
        if overwrite:
            path.unlink()
        elif json.loads(claim.read_text(encoding="utf-8")) != configuration:
            raise UserError(
                f"'{path}' answers for another model or other questions: choose another folder, or --overwrite to start anew"
            )
    write_json(claim, configuration)


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and abs(value) < math.inf


def _seed(couple: str) -> int:
    return int.from_bytes(hashlib.sha256(couple.encode()).digest()[:8], "big") >> 1


def grade(items: Sequence[Mapping[str, Any]], chosen: Mapping[str, float]) -> dict[str, Any]:
    """JSON-able: the share of right answers with its 95 % interval over couples, and of couples with both right.

    A question without an answer counts as wrong; chance is 0.5, and 0.25 for both.
    """
    values = [chosen.get(item["id"], 0.0) for item in items]
    couples = [item["couple"] for item in items]
    accuracy = Additive.mean(values, couples)
    ends = accuracy.interval(0)
    both: dict[str, list[float]] = defaultdict(list)
    findings: dict[str, list[float]] = defaultdict(list)
    for item, value in zip(items, values, strict=True):
        both[item["couple"]].append(value)
        findings[item["finding"]].append(value)
    return {
        "accuracy": accuracy.value(), "ci_low": ends.low, "ci_high": ends.high, "interval": ends.reason or accuracy.method,
        "both right": sum(all(one == 1 for one in values) for values in both.values()) / len(both),
        "questions": len(items), "couples": len(both), "coverage": sum(item["id"] in chosen for item in items) / len(items),
        "by finding": {
            finding: {"accuracy": sum(own) / len(own), "questions": len(own)} for finding, own in sorted(findings.items())
        },
    }  # fmt: skip


def take(
    folder: Path, out: Path, *, predictions: Path | None, model: Answering | None, overwrite: bool = False
) -> dict[str, Any]:
    """Grades predictions, or a model's own answers, into `out/grounding.json`.

    Raises:
        UserError: a file that cannot be read, or `out` holds another model's answers and `overwrite` is not set.
    """
    items = read_questions(folder)
    if model is not None:
        predictions = answer(model, folder, items, out, overwrite)
    assert predictions is not None
    result = grade(items, read_choices(predictions, items))
    write_json(out / RESULT, result)
    return result


def _lines(path: Path, needed: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects of a file's lines, each with its place for messages."""
    if not path.is_file():
        raise UserError(f"'{path}' is no file of predictions")
    for number, data in numbered_lines(path):
        where = f"{path}, line {number}"
        try:
            line = parse_json(data)
        except UserError as error:
            raise UserError(f"{where}: {error}") from None
        for key in needed:
            if not isinstance(line, dict) or key not in line:
                raise UserError(f"{where}: '{key}' is missing")
            if key in TEXTS and not isinstance(line[key], str):
                raise UserError(f"{where}: '{key}' must be a string")
        yield where, line


def execute_grounding(options: ScoreOptions) -> int:
    """Grades a grounding test, prints the shares; returns the exit status."""
    assert options.data is not None
    assert options.out is not None
    model = None if options.model is None else open_pipeline(options.model, options.device, {})
    result = take(Path(options.data), options.out, predictions=options.predictions, model=model, overwrite=options.overwrite)
    ends = "" if result["ci_low"] is None else f" [{result['ci_low']:.3f}, {result['ci_high']:.3f}]"
    click.echo(f"right: {result['accuracy']:.3f}{ends} of {result['questions']} questions (chance 0.5)")
    click.echo(f"both of a couple right: {result['both right']:.3f} of {result['couples']} (chance 0.25)")
    click.echo(options.out / RESULT)
    return DONE
