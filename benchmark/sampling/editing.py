"""`medim-bench sample edit`: images changed as their reports are, in a region that is found, or named."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmark.run.predictions import save_image
from benchmark.sampling.options import EditOptions
from benchmark.sampling.samples import SHEET, draw_into
from benchmark.sampling.sheets import EditRow, write_edit_sheet
from benchmark.systems import as_shown_to, open_pipeline
from medim.common.errors import UserError
from medim.common.files import file_name, hash_files, hash_of
from medim.data import loading
from medim.data.dataset import PairDataset
from medim.imaging.images import read_image, square
from medim.perception.array import image_key
from medim.sampling.editing.completion import Completion
from tasks.cases import cases_of
from tasks.editing.reports import Rewriter
from tasks.protocols import Case, Prediction
from tasks.task import timed_batch

BEFORE = "before"


@dataclass(frozen=True)
class EditSlot:
    """One edit."""

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

    def show(drawn: Sequence[EditSlot], predictions: Sequence[Prediction]) -> None:
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
