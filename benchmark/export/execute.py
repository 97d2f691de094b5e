"""From the options of `medim-bench export` to an export: what may leave at all, what it is held against, who does it."""

import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from benchmark import DONE, WITH_FAILURES
from benchmark.export.export import CARD, FAILURES, GATE, Outcome, Part, export
from benchmark.export.formats import FORMS
from benchmark.export.gate import (
    ALLOWANCES,
    CREDENTIALED,
    DRAWS,
    NEAR_COPIES,
    UNSCREENED,
    Gate,
    NeighbourSearch,
    Rules,
)
from benchmark.export.prompts import Prompts
from benchmark.export.sources import Existing, Generated, Source
from benchmark.export.twins import GROUNDING, Twins, write_grounding
from benchmark.export.work import WORK, Work
from benchmark.run.execute import HasResolution, cache_folder
from benchmark.systems import best_device, joined, model_terms, open_model, steering_checkers, withheld
from medim.common.errors import UserError, unknown
from medim.data import loading
from medim.data.dataset import PairDataset
from medim.perception.space import DEFAULT
from tasks.cases import has_images, own_resolution
from tasks.metrics.image.memorisation import ALPHA
from tasks.protocols import Generator, Limited, Scorable
from tasks.scoring.context import Context

PIXELS = "pixels"


@dataclass(frozen=True)
class Asked:
    """What is exported: a model's pairs, or pairs that exist (a model then only tells likelihoods).

    Attributes:
        allow: what is forced by name, of `ALLOWANCES`.
        features: spaces beside pixels in which training images are searched; `pixels` for no other.
        twins: `n` couples of pairs that differ in one finding, in place of `n` pairs.
    """

    model: str | None
    n: int | None
    pairs: str | None
    data: str | None
    form: str
    allow: Collection[str] = ()
    prompts: Path | None = None
    seed: int = 0
    attempts: int = 8
    draws: int = DRAWS
    min_agreement: float | None = None
    max_nats: float | None = None
    min_distance: float | None = None
    features: tuple[str, ...] = ()
    twins: bool = False

    def check(self) -> None:
        """Raises a UserError for options that do not go together."""
        if self.form not in FORMS:
            raise unknown("format", self.form, FORMS)
        for name in self.allow:
            if name not in ALLOWANCES:
                raise unknown("allowance", name, ALLOWANCES)
        if self.pairs is None and (self.model is None or self.n is None):
            raise UserError("export needs --model M and --n N, or --pairs DIR")
        if self.pairs is not None and (self.n is not None or self.prompts is not None):
            raise UserError("--pairs converts pairs that exist: --n and --prompts belong to --model")
        if self.twins and (self.pairs is not None or self.prompts is not None):
            raise UserError("--twins are drawn by --model from nothing: --pairs and --prompts do not go with them")
        if self.twins and not FORMS[self.form].keeps_images:
            loose = ", ".join(name for name, form in FORMS.items() if form.keeps_images)
            raise UserError(f"--twins needs a format with loose images, which its questions name: {loose}; not {self.form}")
        if self.data is None and self.pairs is None:
            raise UserError("export --model needs --data: the set that the model was trained on, whose terms go with the pairs")
        if self.data is None and UNSCREENED not in self.allow:
            raise UserError(
                "export --pairs needs --data, whose training images are searched for copies; --allow unscreened does without"
            )


def execute_export(
    asked: Asked,
    out: Path,
    *,
    batch_size: int,
    shard_size: int,
    shard: str | None,
    device: str | None,
    overrides: Mapping[str, str],
    cache: str | None,
    overwrite: bool,
) -> int:
    """Exports, and says what left and what did not; returns the exit status."""
    asked.check()
    part = part_of(shard, os.environ)
    if overwrite and part.count > 1:
        raise UserError("--overwrite with several processes: remove the folder first, or let one process begin alone")
    device = _own_device(device, part)
    data = None if asked.data is None else loading.load_dataset(asked.data)
    pairs = None if asked.pairs is None else loading.load_dataset(asked.pairs)
    terms = _terms(asked, [one for one in (pairs, data) if one is not None])
    model = None if asked.model is None else open_model(asked.model, device, overrides, data)
    source, title = _source(asked, model, pairs, data, terms)
    gate = _gate(asked, model, source, data or pairs, data, device, _scratch(out, cache, data))
    outcome = export(
        source, gate, FORMS[asked.form](), out, title=title, terms=terms, batch_size=batch_size, shard_size=shard_size,
        part=part, overwrite=overwrite,
    )  # fmt: skip
    if asked.twins and outcome.finished:
        kept = Work(out, source, shard_size).kept()
        questions = write_grounding(out, [line["fields"] for line in kept])
        click.echo(f"grounding test: {out / GROUNDING} ({questions:,} questions; `medim-bench score grounding`)")
    return _told(outcome, asked, out)


def part_of(shard: str | None, environment: Mapping[str, str]) -> Part:
    """Which process this is: `--shard i/n` (i from 1), else `RANK` of `WORLD_SIZE` as accelerate and torchrun set them.

    Raises:
        UserError: no such part.
    """
    if shard is not None:
        found = re.fullmatch(r"(\d+)/(\d+)", shard)
        if found is None or not 1 <= int(found[1]) <= int(found[2]):
            raise UserError(f"--shard takes i/n with i from 1 to n, such as 1/4, not '{shard}'")
        return Part(int(found[1]) - 1, int(found[2]), alone=True)
    return Part(int(environment.get("RANK", "0")), int(environment.get("WORLD_SIZE", "1")))


def _own_device(device: str | None, part: Part) -> str | None:
    """Of several processes on one machine, each its own GPU."""
    if device is not None or part.count == 1 or "LOCAL_RANK" not in os.environ:
        return device
    import torch

    return f"cuda:{int(os.environ['LOCAL_RANK']) % torch.cuda.device_count()}" if torch.cuda.is_available() else None


def _terms(asked: Asked, sets: list[PairDataset]) -> str:
    """The terms of all sets and of what the generating model learned from; a UserError where they keep pairs from leaving."""
    named = [(one.name, one.terms) for one in sets]
    if asked.pairs is None and asked.model is not None and (learned := model_terms(asked.model)) is not None:
        named.append((asked.model, learned))
    for name, terms in named:
        if withheld(terms) and CREDENTIALED not in asked.allow:
            raise UserError(
                f"the terms of '{name}' ({terms}) do not let images and reports, nor what a model made of them, leave; "
                f"--allow {CREDENTIALED} if you may"
            )
    return joined(*(terms for _, terms in named))


def _source(
    asked: Asked, model: Generator | Any, pairs: PairDataset | None, data: PairDataset | None, terms: str
) -> tuple[Source, str]:
    if pairs is not None:
        if not has_images(pairs):
            raise UserError(f"--pairs '{asked.pairs}' holds reports alone")
        return Existing(pairs), f"Pairs of {pairs.name}"
    assert asked.n is not None
    assert data is not None
    if not isinstance(model, Generator):
        raise UserError(f"--model {asked.model} holds predictions, and generates none")
    if isinstance(model, Limited) and (why := model.cannot("joint-generation")) is not None:
        raise UserError(f"--model {asked.model} cannot generate pairs: {why}")
    if asked.twins:
        twins = Twins(model, asked.n, asked.attempts, asked.seed, data, terms, steering_checkers(data)[0])
        return twins, f"Counterfactual twins drawn by {model.name}"
    prompts = Prompts() if asked.prompts is None else Prompts.read(asked.prompts, asked.seed)
    title = f"Pairs generated by {model.name}"
    return Generated(model, asked.n, asked.attempts, prompts, asked.seed, data, terms), title


def _gate(
    asked: Asked, model: Any, source: Source, checked: PairDataset | None, data: PairDataset | None,
    device: str | None, scratch: Path,
) -> Gate:  # fmt: skip
    assert checked is not None
    search = None
    if data is not None and UNSCREENED not in asked.allow:
        if not has_images(data):
            raise UserError(f"--data '{asked.data}' holds reports alone: its training images cannot be searched")
        if not data.size("val") + data.size("test"):
            raise UserError(f"data set '{data.name}' has no held-out pairs: nothing says how near an unseen image lies")
        own = model.resolution if source.generates and isinstance(model, HasResolution) else None
        side = own if own is not None else own_resolution(data, "train")
        assert side is not None
        spaces = asked.features or (DEFAULT,)
        context = Context(
            device=best_device(device), seed=asked.seed, features=tuple(space for space in spaces if space != PIXELS),
            training_folder=scratch, dataset=data,
        )  # fmt: skip
        search = NeighbourSearch(data, side, context, ALPHA)
    rules = Rules(asked.min_agreement, asked.max_nats, asked.min_distance, NEAR_COPIES in asked.allow)
    images, reports = steering_checkers(checked)
    scorable = model if isinstance(model, Scorable) else None
    return Gate(rules, search, images, reports, scorable, None if scorable is None else model.fingerprint, asked.draws)


def _scratch(out: Path, cache: str | None, data: PairDataset | None) -> Path:
    """Where the index of the training split is kept: what runs share, else the export's own folder."""
    folder = None if data is None else cache_folder(cache, data)
    return out / WORK / "training-index" if folder is None else folder / "features"


def _told(outcome: Outcome, asked: Asked, out: Path) -> int:
    if not outcome.finished:
        click.echo(f"this process is done; others still fill {out}, or the same command for each part continues")
        return DONE
    dropped = f"{outcome.dropped:,} dropped by the gate ({out / GATE / 'dropped.jsonl'})" if outcome.dropped else "none dropped"
    click.echo(f"{outcome.kept:,} pairs as {asked.form}, {dropped}\ncard: {out / CARD}")
    if not outcome.failed:
        return DONE
    click.echo(f"{outcome.failed:,} slots remained without a pair: {out / FAILURES}", err=True)
    return WITH_FAILURES
