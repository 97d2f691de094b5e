"""`medim-bench sample edit`: images changed as their reports are, in a region that is found, or named."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmark.run.generation import Failure
from benchmark.run.predictions import file_name, save_image
from benchmark.sampling.edit_sheet import EditRow, write_edit_sheet
from benchmark.sampling.samples import SHEET, draw_into
from medim.common.errors import UserError
from medim.common.files import hash_files, hash_of
from medim.data.dataset import PairDataset
from medim.imaging.images import read_image, square
from medim.perception.array import image_key
from medim.pipeline import MeDiMPipeline
from medim.sampling.editing.completion import Completion
from tasks.cases import cases_of
from tasks.editing.reports import Rewriter
from tasks.generating import timed_batch
from tasks.protocols import Case, Prediction

BEFORE = "before"


@dataclass(frozen=True)
class Wanted:
    """What is to be changed.

    Attributes:
        new_report: what the report becomes; it may have gaps.
        finding: to be added or removed (`present`), in words of the data set's reports.
        box: left, top, right and bottom of the region, in pixels of the image as given.
        mask: a picture of the image's size, not black in the region.
    """

    new_report: str | None = None
    finding: str | None = None
    present: bool = True
    box: tuple[int, int, int, int] | None = None
    mask: Path | None = None

    def region(self) -> Any:
        """As the pipeline takes it: a box (x, y, width, height), a picture, or None for the model to find it.

        Raises:
            UserError: a box without an inside, or an unreadable mask.
        """
        if self.mask is not None:
            return read_image(self.mask)
        if self.box is None:
            return None
        left, top, right, bottom = self.box
        if not (0 <= left < right and 0 <= top < bottom):
            raise UserError(f"--box {left},{top},{right},{bottom}: x0,y0,x1,y1 with x0 < x1 and y0 < y1 are needed")
        return left, top, right - left, bottom - top

    def told(self) -> dict[str, Any]:
        """JSON-able, for the folder's configuration."""
        return {
            "new_report": self.new_report, "finding": self.finding, "present": self.present, "box": self.box,
            "mask": None if self.mask is None else hash_files(self.mask),
        }  # fmt: skip


@dataclass(frozen=True)
class EditSlot:
    """One edit.

    Attributes:
        report: as it is; it may have gaps where `new_report` is None.
        new_report: what it becomes, None where only a region or gaps are filled.
    """

    id: str
    image: Image.Image
    report: str
    new_report: str | None


def file_slots(image: Path, report: str, n: int, wanted: Wanted, rewriter: Rewriter | None) -> list[EditSlot]:
    """`n` edits of one image file, which differ in their seeds.

    Raises:
        UserError: an unreadable image, or a finding that no report tells of.
    """
    new = wanted.new_report
    if wanted.finding is not None:
        if rewriter is None:
            raise UserError("--add and --remove of an --image need --data, whose reports lend their sentences")
        change = rewriter.change(report, rewriter.domain_of(wanted.finding), wanted.finding, wanted.present)
        if change is None:
            state = "tells of it already" if wanted.present else "does not tell of it"
            raise UserError(f"'{wanted.finding}': the report {state}, or no training sentence says so: {report!r}")
        new = change.report
    opened = read_image(image)
    return [EditSlot(f"{number:05d}", opened, report, new) for number in range(n)]


def data_slots(
    dataset: PairDataset, split: str, n: int, resolution: int, wanted: Wanted, rewriter: Rewriter | None
) -> list[EditSlot]:
    """The first `n` cases of a split that can be edited so; with a finding, those that lack it (or have it).

    Raises:
        UserError: an unknown split or finding, or no case for it.
    """
    if wanted.finding is None:
        cases = cases_of(dataset, split, resolution, n)
        return [EditSlot(case.id, case.image, case.report, wanted.new_report) for case in cases]
    assert rewriter is not None
    domain = rewriter.domain_of(wanted.finding)
    slots: list[EditSlot] = []
    for case in _cases(dataset, split, resolution, 2 * n):
        shown = rewriter.read(case.report) | (case.findings or frozenset())
        if case.domain != domain or (wanted.finding in shown) == wanted.present:
            continue
        change = rewriter.change(case.report, domain, wanted.finding, wanted.present)
        if change is not None:
            slots.append(EditSlot(case.id, case.image, case.report, change.report))
        if len(slots) == n:
            break
    if not slots:
        what = f"lacks '{wanted.finding}'" if wanted.present else f"has '{wanted.finding}'"
        raise UserError(f"no case of split '{split}' of '{dataset.name}' {what} and can be told otherwise")
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


def edit_samples(
    model: MeDiMPipeline,
    slots: Sequence[EditSlot],
    wanted: Wanted,
    out: Path,
    *,
    inputs: dict[str, Any],
    seed: int,
    batch_size: int,
    overwrite: bool = False,
) -> list[Failure]:
    """Edits every slot into `out`: `before/` and `images/`, `samples.jsonl` and `contact_sheet.png`.

    A line of `samples.jsonl` holds under `told` the report and image before, the finding, and the tokens drawn anew.

    Raises:
        UserError: `out` belongs to another configuration; a report or region that does not fit.
    """
    region = wanted.region()
    content = [[slot.id, slot.report, slot.new_report, image_key(slot.image)] for slot in slots]
    configuration = {
        "kind": "edit", "model": model.name, "model_fingerprint": model.fingerprint, "settings": model.settings(),
        "seed": seed, "n": len(slots), "wanted": wanted.told(), "slots": hash_of(content), **inputs,
    }  # fmt: skip

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
            save_image(square(slot.image, model.resolution), out / name)
            told = {
                "image_before": name, "report_before": slot.report, "finding": wanted.finding,
                "change": None if wanted.finding is None else "added" if wanted.present else "removed",
                "grid": len(one.redrawn), "redrawn": np.flatnonzero(one.redrawn).tolist(),
            }  # fmt: skip
            predictions.append(Prediction(slot.id, one.image, one.report, slot.new_report, cost, told))
        return predictions

    def show(drawn: Sequence[EditSlot], predictions: Sequence[Prediction]) -> None:
        write_edit_sheet(out / SHEET, [_row(slot, one, out) for slot, one in zip(drawn, predictions, strict=True)])

    return draw_into(
        out, configuration, slots, generate, show, kind="edit", system=model.name, seed=seed, batch_size=batch_size,
        overwrite=overwrite,
    )  # fmt: skip


def _row(slot: EditSlot, one: Prediction, out: Path) -> EditRow:
    told = one.told
    redrawn = np.zeros(told["grid"] ** 2, bool)
    redrawn[told["redrawn"]] = True
    what = f"{told['finding']} {told['change']}; " if told["finding"] else ""
    head = f"{slot.id}: {what}{len(told['redrawn'])} of {redrawn.size} tokens drawn anew"
    assert one.image is not None
    before = read_image(out / told["image_before"])
    return EditRow(before, one.image, redrawn.reshape(told["grid"], -1), head, (slot.report, one.report or ""))
