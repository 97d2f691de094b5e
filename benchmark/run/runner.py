"""A run: a model on the tasks of a data set, from generating to the built page, in one `--out` folder."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import click

from benchmark.provenance import code_fingerprint, command_line, commit, now, versions
from benchmark.run.artifacts import TRAINING_INDEX, Artifacts
from benchmark.run.cache import SharedCache
from benchmark.run.checkers import checkers_of, prepare_checkers, refuse_steerer, refuse_unread
from benchmark.run.data import Data, check_features, check_scoring
from benchmark.run.generation import FAILURES, Failure, copy_missing, generate_missing, write_failures
from benchmark.run.predictions import REFERENCES, PredictionStore
from benchmark.run.scoring import RECONSTRUCTION, Scored, Scoring
from benchmark.systems import check_generator, joined, withheld
from leaderboard.record import Record, write_records
from medim.common.errors import UserError
from medim.common.files import hash_files, hash_of, write_json
from medim.data.dataset import PairDataset
from medim.perception.space import DEFAULT
from tasks import all_tasks, task_named, task_names
from tasks.cases import SplitIds, cases_of, has_images
from tasks.protocols import PROTOCOL, Answered, Answers, BringsReferences, Case, Generator, Limited, Reconstructs
from tasks.scoring.reference import ReferenceStatistics
from tasks.task import Task

ALL = "all"
FIRST_COMMAND = "first-command"  # the stage
RECORDS, MANIFEST, LEADERBOARD = "records.jsonl", "manifest.json", "leaderboard"
ANCHORS = ("real", "reconstruction", "training copy", "shuffled", "constant", REFERENCES)  # folders beside the model's own


@dataclass(frozen=True)
class RunResult:
    """What a run left. `failures`: samples that could not be generated. `skipped`: tasks of `all` that the system cannot do,
    with the reason."""

    records: list[Record]
    failures: list[Failure]
    page: Path
    skipped: Mapping[str, str]


def system_name(model: Generator | Answered) -> str:
    """The model's name in table, records and manifest; a hub id `a/b` becomes `a--b`. Its folders bear `file_name` of it.
    Raises UserError: an anchor bears this name, or it is no line of text."""
    name = model.name.replace("/", "--")
    if not name.strip() or not name.isprintable():
        raise UserError(f"a model's name is one line of printable text, not {name!r}")
    if name in ANCHORS:
        raise UserError(f"a model cannot be named '{name}': every table has a row of that name")
    return name


def choose(
    names: Sequence[str], model: Generator | Answered, dataset: PairDataset, statistics: bool = False
) -> tuple[list[Task], dict[str, str]]:
    """The tasks to be done, and those that `all` would have had and this system cannot do, with the reason. `statistics`: those
    of a reference set stand in for the images.
    Raises UserError: an unknown name, a task named that the system or the data cannot do, or none that they can."""
    if ALL in names:
        candidates = list(all_tasks().values())
    else:
        candidates = sorted(map(task_named, dict.fromkeys(names)), key=lambda task: (task.order, task.name))
    chosen: list[Task] = []
    skipped: dict[str, str] = {}
    for task in candidates:
        reason = reason_against(task, model, dataset, statistics)
        if reason is None:
            chosen.append(task)
        elif task.name in names:
            raise UserError(f"'{model.name}' cannot do {task.name}: {reason}")
        else:
            skipped[task.name] = reason
    if not chosen:
        raise UserError(f"'{model.name}' can do no task: {'; '.join(f'{name}: {reason}' for name, reason in skipped.items())}")
    return chosen, skipped


def reason_against(task: Task, model: Any, dataset: PairDataset, statistics: bool = False) -> str | None:
    """Why this task cannot be done by this system on this data; None where it can."""
    reports_suffice = task.needs == ("report",) or (task.by_statistics and statistics)
    if not has_images(dataset) and not (reports_suffice and isinstance(model, Answered)):
        what = "only a folder of predictions can be scored" if reports_suffice else "an image is needed of every case"
        what += ", or --reference FILE with their statistics" if task.by_statistics and not statistics else ""
        return f"data set '{dataset.name}' holds reports alone: {what}"
    reason = task.refuses(model)
    if reason is None:
        reason = task.refuses_data(dataset)
    if reason is None and isinstance(model, Limited):
        reason = model.cannot(task)
    return reason


def run(
    model: Generator | Answered,
    dataset: PairDataset,
    tasks: Sequence[str],
    out: Path,
    *,
    resolution: int | None,
    split: str = "test",
    limit: int | None = None,
    seed: int = 0,
    batch_size: int = 64,
    device: str | None = None,
    overwrite: bool = False,
    show_samples: bool = False,
    command: str | None = None,
    protocol: str = PROTOCOL,
    features: Sequence[str] = (DEFAULT,),
    cache: Path | None = None,
    judge: Path | None = None,
    learned: str | None = None,
    reference: ReferenceStatistics | None = None,
) -> RunResult:
    """Generates, scores and ranks; results already in `out` are used again, and so is what another run left in `cache`.

    Several commands may add tasks to one `out`; everything else of the configuration is fixed by the first.

    Args:
        tasks: names; a task that the system cannot do is refused, under `all` it is skipped.
        model: the system under test, or a folder of its predictions; where it `Reconstructs`, its tokenizer is an anchor.
        resolution: side of the cases' images in pixels; None for a set of reports alone.
        limit: the first N cases of the split; None for all.
        batch_size: cases given to the model at once; no result depends on it.
        show_samples: allows the page to show samples where the terms of data set or model restrict them.
        command: the command line for the records; the process's own by default.
        features: the feature spaces of the image metrics.
        judge: folder of a chat model that judges generated pairs.
        cache: folder that runs share (`benchmark.run.cache`).
        learned: the terms of the data that the model learned from; they hold for its samples too.
        reference: statistics that stand in for the cases' images, and for all reports of their set.

    Raises UserError: an object that is no generator, an unknown name, a task that cannot be done, unreadable data, or an `out`
    of another configuration.
    """
    check_generator(model, f"a model of type {type(model).__name__}")
    chosen, skipped = choose(tasks, model, dataset, reference is not None)
    system = system_name(model)
    features = tuple(dict.fromkeys(features))
    check_scoring()
    check_features(features)
    settings = json.loads(json.dumps(model.settings()))
    refuse_steerer(dataset, settings)
    configuration: dict[str, Any] = {"model": system, "model_fingerprint": model.fingerprint}
    configuration |= {"dataset": dataset.name, "dataset_fingerprint": dataset.fingerprint, "split": split, "limit": limit}
    configuration |= {"seed": seed, "resolution": resolution, "settings": settings, "protocol": protocol}
    configuration |= {"features": list(features)} | ({} if judge is None else {"judge": judge.resolve().name})
    configuration |= checkers_of(dataset)
    configuration |= {} if reference is None else {"reference": reference.signature}
    side = 1 if resolution is None else resolution
    cases = cases_of(dataset, split, side, limit)
    if reference is not None and not reference.is_of(cases):
        several = f"{reference.about['n']} cases of '{reference.about['dataset']}'"
        click.echo(f"'{reference.path}' is of {several}; the {len(cases)} to be scored are others, or a part", err=True)
    answers: dict[str, Answers] = {}
    brought = None
    if isinstance(model, Answered):
        ids = [case.id for case in cases]
        known = SplitIds(dataset, split, ids)
        answers = {task.name: model.answers(task, ids, known) for task in chosen}
        cases, brought = with_references(cases, answers.values())
        configuration |= {} if brought is None else {"references": brought}
    shared = None if cache is None else SharedCache(cache)
    terms = joined(dataset.terms, learned, None if reference is None else reference.about["terms"])
    shows = show_samples or not withheld(terms)
    where = shared, out / TRAINING_INDEX
    data = Data(dataset, split, side, cases, seed, device, protocol, features, *where, shows, judge, brought, reference)
    command = command_line() if command is None else command
    with Artifacts.claim(out, configuration, overwrite) as artifacts:
        prepare_checkers(data, artifacts)
        scoring = Scoring(artifacts, data, command=command, commit=commit())
        first = artifacts.get(FIRST_COMMAND, configuration)
        if first is None:
            first = {"command": command, "commit": scoring.commit, "created": now()}
            artifacts.put(FIRST_COMMAND, configuration, first)
        for name, reason in skipped.items():
            click.echo(f"{name}: skipped: {reason}", err=True)
        results, failures = _results(model, system, chosen, scoring, batch_size, answers)
        identity = {**configuration, "run": hash_of(configuration), "synthetic": dataset.synthetic}
        found = [scored for of_task in results.values() for scored in of_task]
        records = [_record(identity, scored, score) for scored in found for score in scored.scores]
        write_records(out / RECORDS, records)
        cards = {name: task_named(name).card() for name in results}
        counts = {"n": len(cases), "failures": len(failures)}
        manifest = {**identity, **first, "terms": terms, "withhold_samples": not shows, "tasks": list(results), "cards": cards}
        write_json(out / MANIFEST, {**manifest, **counts, "versions": versions()})
        write_failures(out / FAILURES, failures)
        return RunResult(records, failures, _page(artifacts), skipped)


def with_references(cases: Sequence[Case], answers: Iterable[Answers]) -> tuple[list[Case], str | None]:
    """The cases with the references that some answers bring, and their hash; None where none do."""
    brought = {id: texts for one in answers if isinstance(one, BringsReferences) for id, texts in one.references.items()}
    texts = [brought.get(case.id, (case.report, *case.other_reports)) for case in cases]
    replaced = [
        replace(case, report=first, other_reports=tuple(more)) for case, (first, *more) in zip(cases, texts, strict=True)
    ]
    return replaced, hash_of(brought) if brought else None


def _results(
    model: Generator | Answered,
    system: str,
    chosen: Sequence[Task],
    scoring: Scoring,
    batch_size: int,
    answers: Mapping[str, Answers],
) -> tuple[dict[str, list[Scored]], list[Failure]]:
    """Generates and scores the chosen tasks; adds those that earlier commands finished. By task, in the tasks' order."""
    reconstructs = model if isinstance(model, Reconstructs) else None
    tokenizer = model.fingerprint if reconstructs is not None else None
    data = scoring.data
    results: dict[str, list[Scored]] = {}
    failures: list[Failure] = []
    for task in chosen:
        names = {"task": task.name, "system": system}
        folder = scoring.folder(task.name, system)
        if isinstance(model, Answered):
            if (note := answers[task.name].note) is not None:
                click.echo(f"{task.name}: {note}", err=True)
            store = PredictionStore(folder)
            copy_missing(store, answers[task.name], **names, batch_size=batch_size)
            refuse_unread(data, store.predictions(data.ids))
        else:
            store = PredictionStore(folder, commit=scoring.commit)
            generate = partial(task.prepared(data.cases, data.dataset).generate, model)
            failures += generate_missing(store, data.cases, generate, **names, seed=data.seed, batch_size=batch_size)
        results[task.name] = [scoring.model(task, system, store), *scoring.anchors(task, reconstructs, tokenizer)]
    for name in task_names():
        if name not in results:
            measured, anchors = scoring.model_if_done(name, system), scoring.anchors_if_done(name, tokenizer)
            if measured is not None and anchors is not None:
                results[name] = [measured, *anchors]
    in_order = sorted(results, key=lambda name: (task_named(name).order, name))
    return {name: results[name] for name in in_order}, failures


def _record(identity: Mapping[str, Any], scored: Scored, score: Mapping[str, Any]) -> Record:
    signature = {**score["signature"], "data": identity["dataset_fingerprint"], "resolution": identity["resolution"]}
    if "reference" in identity:
        signature["reference"] = identity["reference"]
    if "references" in identity:
        signature["references"] = f"of the predictions' file, {identity['references']}"
    if not scored.anchor:
        signature |= {"model": identity["model_fingerprint"], "settings": identity["settings"]}
        signature["generated_by"] = scored.generated_by
    elif scored.system == RECONSTRUCTION:
        signature["tokenizer_of"] = identity["model_fingerprint"]
    shared = {name: identity[name] for name in ("dataset", "split", "seed", "protocol", "synthetic", "run")}
    origin = {"commit": scored.commit, "command": scored.command, "created": scored.created}
    names = {"task": scored.task, "model": scored.system, "kind": "anchor" if scored.anchor else "measured"}
    return Record(**{**score, **names, **shared, **origin, "signature": signature})


def _page(artifacts: Artifacts) -> Path:
    """Builds the leaderboard of this run, unless it stands already."""
    out = artifacts.out
    page = out / LEADERBOARD / "index.html"
    parts = [out / RECORDS, out / MANIFEST, *sorted((out / "samples").glob("*/*/samples.jsonl"))]
    inputs = {"files": hash_files(*parts), "code": code_fingerprint("leaderboard")}
    if not (page.exists() and artifacts.get("page", inputs)):
        from leaderboard.build import build  # lazy: start-up

        build([out], out / LEADERBOARD)
        artifacts.put("page", inputs, True)
    return page
