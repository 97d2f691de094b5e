"""From the options of `medim-bench export` to an export: what may leave at all, what it is held against, who does it."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from benchmark import DONE, WITH_FAILURES
from benchmark.export.export import CARD, FAILURES, GATE, Outcome, Part, export
from benchmark.export.formats import FORMS
from benchmark.export.gate import Gate, NeighbourSearch, Rules
from benchmark.export.grounding import GROUNDING, write_grounding
from benchmark.export.options import CREDENTIALED, NEAR_COPIES, UNSCREENED, ExportOptions
from benchmark.export.shards import WORK, Work
from benchmark.export.sources import Existing, Generated, Prompts, Source
from benchmark.export.twins import Twins
from benchmark.run.cache import cache_folder
from benchmark.systems import (
    HasResolution,
    as_shown_to,
    best_device,
    joined,
    model_terms,
    open_model,
    steering_checkers,
    withheld,
)
from medim.common.errors import UserError
from medim.data import loading
from medim.data.dataset import PairDataset
from medim.perception.space import DEFAULT
from tasks import task_named
from tasks.adapters.checkers.attach import attach_steering
from tasks.cases import has_images, own_resolution
from tasks.metrics.image.memorisation import ALPHA
from tasks.protocols import Generator, Limited, Scorable
from tasks.scoring.context import Context

PIXELS = "pixels"


def export_from_options(options: ExportOptions) -> int:
    """Exports, and says what left and what did not; returns the exit status."""
    assert options.out is not None
    assert options.form is not None
    part = part_of(options.shard, os.environ)
    if options.overwrite and part.count > 1:
        raise UserError("--overwrite with several processes: remove the folder first, or let one process begin alone")
    device = _device_of(options.device, part)
    data = None if options.data is None else loading.load_dataset(options.data)
    pairs = None if options.pairs is None else loading.load_dataset(options.pairs)
    if (checked := data or pairs) is not None:
        attach_steering(checked, options.checkers, options.checker_labels, best_device(device))
    terms = _terms(options, [one for one in (pairs, data) if one is not None])
    model = None if options.model is None else open_model(options.model, device, options.overrides, data)
    source, title = _source(options, model, pairs, data, terms)
    folder = None if data is None else cache_folder(options.cache, data)
    index = options.out / WORK / "training-index" if folder is None else folder / "features"
    gate = _gate(options, model, source, pairs, data, device, index)
    outcome = export(
        source,
        gate,
        FORMS[options.form](),
        options.out,
        title=title,
        terms=terms,
        batch_size=options.batch_size,
        shard_size=options.shard_size,
        part=part,
        overwrite=options.overwrite,
    )
    if options.twins and outcome.finished:
        lines = [line["fields"] for line in Work(options.out, source, options.shard_size).kept()]
        questions = write_grounding(options.out, lines)
        click.echo(f"grounding test: {options.out / GROUNDING} ({questions:,} questions; `medim-bench score grounding`)")
    return _print(outcome, options.form, options.out)


def part_of(shard: str | None, environment: Mapping[str, str]) -> Part:
    """Which process this is: `--shard i/n` (i from 1), else `RANK` of `WORLD_SIZE` as accelerate and torchrun set them.
    Raises UserError: no such part."""
    if shard is not None:
        found = re.fullmatch(r"(\d+)/(\d+)", shard)
        if found is None or not 1 <= int(found[1]) <= int(found[2]):
            raise UserError(f"--shard takes i/n with i from 1 to n, such as 1/4, not '{shard}'")
        return Part(int(found[1]) - 1, int(found[2]), alone=True)
    return Part(int(environment.get("RANK", "0")), int(environment.get("WORLD_SIZE", "1")))


def _device_of(device: str | None, part: Part) -> str | None:
    """Of several processes on one machine, each has its own GPU."""
    if device is not None or part.count == 1 or "LOCAL_RANK" not in os.environ:
        return device
    import torch  # lazy: start-up

    return f"cuda:{int(os.environ['LOCAL_RANK']) % torch.cuda.device_count()}" if torch.cuda.is_available() else None


def _terms(options: ExportOptions, sets: list[PairDataset]) -> str:
    """The terms of all sets and of what the generating model learned from. Raises UserError: they keep pairs from leaving."""
    named = [(one.name, one.terms) for one in sets]
    if options.pairs is None and options.model is not None and (learned := model_terms(options.model)) is not None:
        named.append((options.model, learned))
    for name, terms in named:
        if withheld(terms) and CREDENTIALED not in options.allow:
            raise UserError(
                f"the terms of '{name}' ({terms}) do not let images and reports, nor what a model made of them, leave; "
                f"--allow {CREDENTIALED} if you may"
            )
    return joined(*(terms for _, terms in named))


def _source(
    options: ExportOptions, model: Generator | Any, pairs: PairDataset | None, data: PairDataset | None, terms: str
) -> tuple[Source, str]:
    """Where the pairs come from, and the title of the data card."""
    if pairs is not None:
        if not has_images(pairs):
            raise UserError(f"--pairs '{options.pairs}' holds reports alone")
        return Existing(pairs), f"Pairs of {pairs.name}"
    assert options.n is not None
    assert data is not None
    if not isinstance(model, Generator):
        raise UserError(f"--model {options.model} holds predictions, and generates none")
    if isinstance(model, Limited) and (why := model.cannot(task_named("joint-generation"))) is not None:
        raise UserError(f"--model {options.model} cannot generate pairs: {why}")
    if options.twins:
        images, _ = steering_checkers(data)
        twins = Twins(model, options.n, options.attempts, options.seed, data, terms, images)
        return twins, f"Counterfactual twins drawn by {model.name}"
    prompts = Prompts() if options.prompts is None else Prompts.read(options.prompts, options.seed)
    generated = Generated(model, options.n, options.attempts, prompts, options.seed, data, terms)
    return generated, f"Pairs generated by {model.name}"


def _gate(
    options: ExportOptions,
    model: Any,
    source: Source,
    pairs: PairDataset | None,
    data: PairDataset | None,
    device: str | None,
    index: Path,
) -> Gate:
    """Args: index: folder where what is read of the training split outlives the export."""
    search, data = None, data and as_shown_to(model, data)
    if data is not None and UNSCREENED not in options.allow:
        if not has_images(data):
            raise UserError(f"--data '{options.data}' holds reports alone: its training images cannot be searched")
        if not data.size("val") + data.size("test"):
            raise UserError(f"data set '{data.name}' has no held-out pairs: nothing says how near an unseen image lies")
        drawn = model.resolution if source.generates and isinstance(model, HasResolution) else None
        side = drawn if drawn is not None else own_resolution(data, "train")
        assert side is not None
        spaces = tuple(space for space in options.features or (DEFAULT,) if space != PIXELS)
        context = Context(device=best_device(device), seed=options.seed, features=spaces, training_folder=index, dataset=data)
        search = NeighbourSearch(data, side, context, ALPHA)
    rules = Rules(options.min_agreement, options.max_nats, options.min_distance, NEAR_COPIES in options.allow)
    checked = data or pairs
    assert checked is not None
    images, reports = steering_checkers(checked)
    scorable = model if isinstance(model, Scorable) else None
    return Gate(rules, search, images, reports, scorable, None if scorable is None else model.fingerprint, options.draws)


def _print(outcome: Outcome, form: str, out: Path) -> int:
    """Says what the export found; returns the exit status."""
    if not outcome.finished:
        click.echo(f"this process is done; others still fill {out}, or the same command for each part continues")
        return DONE
    dropped = f"{outcome.dropped:,} dropped by the gate ({out / GATE / 'dropped.jsonl'})" if outcome.dropped else "none dropped"
    click.echo(f"{outcome.kept:,} pairs as {form}, {dropped}\ncard: {out / CARD}")
    if not outcome.failed:
        return DONE
    click.echo(f"{outcome.failed:,} slots remained without a pair: {out / FAILURES}", err=True)
    return WITH_FAILURES
