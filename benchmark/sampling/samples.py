"""`medim-bench sample`: pictures, reports and pairs to look at, and edits of given ones, with a contact sheet."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from PIL import Image

from benchmark.provenance import commit
from benchmark.run.artifacts import Artifacts
from benchmark.run.generation import FAILURES, GenerateBatch, Item, exit_status, generate_missing, write_failures
from benchmark.run.predictions import SAMPLES, PredictionStore, save_image
from benchmark.sampling.options import EditOptions, SampleOptions
from benchmark.sampling.sheets import EditRow, write_contact_sheet, write_edit_sheet
from benchmark.systems import as_shown_to, open_pipeline
from medim.common.errors import UserError
from medim.common.files import file_name, hash_files, hash_of, write_text
from medim.data import loading
from medim.data.dataset import PairDataset
from medim.imaging.images import read_image, square
from medim.perception.array import image_key
from medim.pipeline import MeDiMPipeline
from medim.sampling.editing.completion import Completion
from tasks.cases import cases_of
from tasks.editing.reports import Rewriter
from tasks.protocols import Case, Prediction, Predictions
from tasks.task import timed_batch

SHEET = "contact_sheet.png"


@dataclass(frozen=True)
class Slot:
    """What one sample is drawn for."""

    id: str
    text: str = ""  # the report to draw (image), or the prompt (pair; empty for none)
    image: Image.Image | None = None  # the image to describe (report)


def execute_sample(kind: str, options: SampleOptions) -> int:
    """Draws one sample for each slot into `out`: `images/`, `samples.jsonl` and `contact_sheet.png`; returns the exit status.
    `kind`: image (of the data set's reports, or of the prompt), report (of the data set's images) or pair.
    Raises UserError: `out` belongs to another configuration, an unknown model, data set or split, an image cannot be read."""
    dataset = None if options.data is None else loading.load_dataset(options.data)
    model = open_pipeline(options.model, options.device, options.overrides, dataset)
    inputs: dict[str, Any] = {"prompt": options.prompt}
    if dataset is not None:
        dataset = as_shown_to(model, dataset)
        inputs |= {"dataset": dataset.name, "dataset_fingerprint": dataset.fingerprint, "split": options.split}
    if dataset is None or kind == "pair":
        if dataset is not None and not model.steered:
            raise UserError("sample pair draws from nothing: --data serves it for sampling.steering.* alone")
        slots = [Slot(f"{index:05d}", options.prompt or "") for index in range(options.n)]
    else:
        cases = cases_of(dataset, options.split, model.resolution, options.n)
        slots = [Slot(case.id, case.report, case.image) for case in cases]

    def generate(batch: Sequence[Slot], seeds: Sequence[int]) -> list[Prediction]:
        texts, pictures = [slot.text for slot in batch], [slot.image for slot in batch if slot.image is not None]
        images: Sequence[Image.Image | None] = [None] * len(batch)
        reports: Sequence[str | None] = [None] * len(batch)
        how = model.name, f"{kind}s", len(batch), model
        if kind == "image":
            images, cost = timed_batch(lambda: model.generate_images(texts, seeds=seeds), *how)
        elif kind == "report":
            reports, cost = timed_batch(lambda: model.generate_reports(pictures, seeds=seeds), *how)
        else:
            pairs, cost = timed_batch(lambda: model.generate_pairs(texts, seeds=seeds), *how)
            images, reports = zip(*pairs, strict=True)
        prompts = [None if kind == "report" else text or None for text in texts]
        return [
            Prediction(slot.id, image, report, prompt, cost)
            for slot, image, report, prompt in zip(batch, images, reports, prompts, strict=True)
        ]

    def show(drawn: Sequence[Slot], predictions: Predictions) -> None:
        shown = [(p.image or s.image, p.report or s.text) for p, s in zip(predictions, drawn, strict=True)]
        images, captions = [image for image, _ in shown if image is not None], [text for _, text in shown]
        write_contact_sheet(options.out / SHEET, images, captions)

    return draw_into(options, kind, model, inputs, slots, generate, show)


def draw_into(
    options: SampleOptions | EditOptions,
    kind: str,
    model: MeDiMPipeline,
    inputs: dict[str, Any],
    slots: Sequence[Item],
    generate: GenerateBatch[Item],
    show: Callable[[Sequence[Item], Predictions], None],
) -> int:
    """Draws what `out` lacks, writes `samples.jsonl`, lets `show` make a sheet of what was drawn; returns the exit status.
    `inputs`: where the slots come from, for the folder's configuration.
    Raises UserError: `out` belongs to another configuration."""
    out = options.out
    configuration = {
        "kind": kind,
        "model": model.name,
        "model_fingerprint": model.fingerprint,
        "settings": model.settings(),
        "seed": options.seed,
        "n": len(slots),
        **inputs,
    }
    with Artifacts.claim(out, configuration, options.overwrite):
        store = PredictionStore(out, commit=commit())
        failures = generate_missing(
            store, slots, generate, task=kind, system=model.name, seed=options.seed, batch_size=options.batch_size
        )
        write_failures(out / FAILURES, failures)
        drawn = [slot for slot in slots if slot.id in store]
        lines = [store.lines[slot.id] for slot in drawn]
        write_text(out / SAMPLES, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
        show(drawn, store.predictions([slot.id for slot in drawn]))
    click.echo(f"{len(drawn)} {kind}{'' if len(drawn) == 1 else 's'}\ncontact sheet: {out / SHEET}")
    return exit_status(out, len(failures))


BEFORE = "before"


@dataclass(frozen=True)
class EditSlot:
    id: str
    image: Image.Image
    report: str  # as it is; it may have gaps where `new_report` is None
    new_report: str | None  # what it becomes, None where only a region or gaps are filled


def execute_edit(options: EditOptions) -> int:
    """Edits an image file, or pairs of a data set, into `out`; returns the exit status.

    `out` gets `before/` and `images/`, `samples.jsonl` and `contact_sheet.png`. A line of `samples.jsonl` holds under `details`
    the report and image before, the finding, and the tokens drawn anew.

    Raises UserError: `out` belongs to another configuration; a report, region or finding that does not fit.
    """
    dataset = None if options.data is None else loading.load_dataset(options.data)
    model = open_pipeline(options.model, options.device, options.overrides, dataset)
    rewriter = None if dataset is None or options.finding is None else Rewriter(dataset)
    inputs: dict[str, Any] = {}
    if dataset is not None:
        dataset = as_shown_to(model, dataset)
        inputs = {"dataset": dataset.name, "dataset_fingerprint": dataset.fingerprint, "split": options.split}
    if options.image is not None:
        slots = _slots_of_file(options, options.image, rewriter)
    else:
        assert dataset is not None
        slots = _slots_of_data(options, dataset, model.resolution, rewriter)
    region = _region(options)
    content = [[slot.id, slot.report, slot.new_report, image_key(slot.image)] for slot in slots]
    wanted = {
        "new_report": options.new_report,
        "finding": options.finding,
        "present": options.present,
        "box": options.box,
        "mask": None if options.mask is None else hash_files(options.mask),
    }
    inputs |= {"wanted": wanted, "slots": hash_of(content)}

    def edited(batch: Sequence[EditSlot], seeds: Sequence[int]) -> list[Completion]:
        images, reports = [slot.image for slot in batch], [slot.report for slot in batch]
        regions = [region] * len(batch)
        new = [slot.new_report for slot in batch if slot.new_report is not None]
        if len(new) == len(batch):
            return model.edit(images, reports, new, regions=regions, seeds=seeds)
        return model.complete(images, reports, image_masks=regions, seeds=seeds)

    def generate(batch: Sequence[EditSlot], seeds: Sequence[int]) -> list[Prediction]:
        done, cost = timed_batch(lambda: edited(batch, seeds), model.name, "edits", len(batch), model)
        predictions = []
        for slot, one in zip(batch, done, strict=True):
            name = f"{BEFORE}/{file_name(slot.id)}.png"
            save_image(square(slot.image, model.resolution), options.out / name)
            details = {
                "image_before": name,
                "report_before": slot.report,
                "finding": options.finding,
                "change": None if options.finding is None else "added" if options.present else "removed",
                "grid": len(one.redrawn),
                "redrawn": np.flatnonzero(one.redrawn).tolist(),
            }
            predictions.append(Prediction(slot.id, one.image, one.report, slot.new_report, cost, details))
        return predictions

    def show(drawn: Sequence[EditSlot], predictions: Predictions) -> None:
        rows = [_row(slot, one, options.out) for slot, one in zip(drawn, predictions, strict=True)]
        write_edit_sheet(options.out / SHEET, rows)

    return draw_into(options, "edit", model, inputs, slots, generate, show)


def _region(options: EditOptions) -> Any:
    """As the pipeline takes it: a box (x, y, width, height), a picture, or None for the model to find it."""
    if options.mask is not None:
        return read_image(options.mask)
    if options.box is None:
        return None
    left, top, right, bottom = options.box
    return left, top, right - left, bottom - top


def _slots_of_file(options: EditOptions, image: Path, rewriter: Rewriter | None) -> list[EditSlot]:
    """Edits of one image file, which differ in their seeds."""
    report, new, finding = options.report or "", options.new_report, options.finding
    if finding is not None:
        if rewriter is None:
            raise UserError("--add and --remove of an --image need --data, whose reports lend their sentences")
        change = rewriter.change(report, rewriter.domain_of(finding), finding, options.present)
        if change is None:
            state = "states it already" if options.present else "does not state it"
            raise UserError(f"'{finding}': the report {state}, or no training sentence says so: {report!r}")
        new = change.report
    opened = read_image(image)
    return [EditSlot(f"{number:05d}", opened, report, new) for number in range(options.n or 1)]


def _slots_of_data(options: EditOptions, dataset: PairDataset, resolution: int, rewriter: Rewriter | None) -> list[EditSlot]:
    """The first cases of a split that can be edited so; with a finding, those that lack it (or have it)."""
    n, split, finding = options.n or 16, options.split, options.finding
    if finding is None or rewriter is None:
        cases = cases_of(dataset, split, resolution, n)
        return [EditSlot(case.id, case.image, case.report, options.new_report) for case in cases]
    domain = rewriter.domain_of(finding)
    slots: list[EditSlot] = []
    for case in _cases(dataset, split, resolution, 2 * n):
        shown = rewriter.read(case.report) | (case.findings or frozenset())
        if case.domain != domain or (finding in shown) == options.present:
            continue
        change = rewriter.change(case.report, domain, finding, options.present)
        if change is not None:
            slots.append(EditSlot(case.id, case.image, case.report, change.report))
        if len(slots) == n:
            break
    if not slots:
        what = f"lacks '{finding}'" if options.present else f"has '{finding}'"
        raise UserError(f"no case of split '{split}' of '{dataset.name}' {what} and can be reworded so")
    return slots


def _cases(dataset: PairDataset, split: str, resolution: int, first: int) -> Iterator[Case]:
    """The cases of a split in their order; more of them are read as they are needed."""
    done = 0
    while True:
        cases = cases_of(dataset, split, resolution, first)
        yield from cases[done:]
        if len(cases) < first:
            return
        done, first = len(cases), 4 * first


def _row(slot: EditSlot, one: Prediction, out: Path) -> EditRow:
    details = one.details
    redrawn = np.zeros(details["grid"] ** 2, bool)
    redrawn[details["redrawn"]] = True
    what = f"{details['finding']} {details['change']}; " if details["finding"] else ""
    head = f"{slot.id}: {what}{len(details['redrawn'])} of {redrawn.size} tokens drawn anew"
    assert one.image is not None
    before = read_image(out / details["image_before"])
    return EditRow(before, one.image, redrawn.reshape(details["grid"], -1), head, (slot.report, one.report or ""))
