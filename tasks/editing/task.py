"""Editing: one finding more or less in the report, the image follows, and all that it does not concern stays."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

import numpy as np

from medim.common.errors import UserError
from medim.data.dataset import PairDataset, keys_of
from medim.pair import SPLITS, ImageReportPair
from tasks.cases import at_resolution, unwrapped
from tasks.editing.reports import Change, Rewriter
from tasks.editing.scores import BOTH, HITS, KEPT, OUTSIDE, REGION, editing_scores
from tasks.protocols import Answered, Case, Cases, Edits, Generator, Prediction, Predictions, Reconstructs
from tasks.scoring.context import Context
from tasks.scoring.scores import Scored, aligned, images_of
from tasks.task import Anchor, Task, check_seeds, timed_batch

VISIBLE = 6  # grey levels of 255 by which a pixel has to differ to count as changed: beneath it film grain is


@runtime_checkable
class Twinned(Protocol):
    """A data set that draws a pair with one finding more or less."""

    def twin_pairs(self, split: str, index: int, label: str) -> tuple[ImageReportPair, ImageReportPair]:
        """The pair and its counterfactual, whose images differ only where the finding is."""


@runtime_checkable
class ShowsRegions(Protocol):
    """A data set that knows where a finding lies."""

    def finding_region(self, split: str, index: int, label: str) -> np.ndarray | None:
        """Pixels (R, R) that show the finding, or would; None where there is no room for it."""


def knows_regions(dataset: PairDataset) -> bool:
    """Whether `true_regions` can tell anything of this data set."""
    return isinstance(unwrapped(dataset), Twinned | ShowsRegions)


def true_regions(dataset: PairDataset, findings: Mapping[str, str], resolution: int) -> dict[str, np.ndarray]:
    """The pixels (resolution, resolution) in which a finding of a case is, or would be, by the case's id.
    `findings`: one for each id; ids and findings of which nothing is known have no entry in the result."""
    base = at_resolution(unwrapped(dataset), resolution)
    left, result = set(findings), {}
    for split in reversed(SPLITS):  # the training split, the longest, is looked through last
        for index in range(base.size(split) if left else 0):
            id = keys_of(base, split, index).id
            if id not in left:
                continue
            left.remove(id)
            region = _region(base, split, index, findings[id])
            if region is not None and region.any():
                result[id] = region
            if not left:
                break
    return result


def _region(dataset: PairDataset, split: str, index: int, finding: str) -> np.ndarray | None:
    if isinstance(dataset, ShowsRegions):
        return dataset.finding_region(split, index, finding)
    if not isinstance(dataset, Twinned):
        return None
    try:
        pair, twin = dataset.twin_pairs(split, index, finding)
    except UserError:  # no room for the finding
        return None
    images = [np.asarray(one.image, dtype=np.int16) for one in (pair, twin)]
    return np.abs(images[0] - images[1]).max(axis=2) > VISIBLE


@dataclass(frozen=True)
class Edit:
    """The requested edit of one case."""

    change: Change  # of its report
    region: np.ndarray | None = None  # pixels (R, R) in which the image may change; None where the system finds the region


@dataclass(frozen=True)
class Editing(Task):
    """A case's report is given one finding more (or less); the system draws the concerned region of the image anew.
    The finding is drawn from the case's id, so that every system has the same edits. Cases without one (nothing to remove,
    nothing that occurs beside what is there, no training sentence that says it, no region known) are left out."""

    name = "editing"
    title = "Editing: a finding added"
    intro = "A report gains a finding; only the region it concerns is drawn anew."
    headline_metrics = (BOTH, HITS, KEPT, OUTSIDE, REGION)
    order = 80
    present: ClassVar[bool] = True  # whether the finding is added, or removed
    given: ClassVar[bool] = False  # whether the region is the data set's own (inpainting), or the system's to find
    edits: Mapping[str, Edit] | None = None  # by a case's id; filled by `prepared`

    def refuses(self, generator: Generator | Answered) -> str | None:
        """Returns why this system cannot edit, or cannot find regions; None where it can."""
        if not isinstance(generator, Edits):
            return "it edits no images (a system with edit, image_codes and finds_regions does)"
        if not self.given and not generator.finds_regions:
            return "it does not find the region that a changed report concerns"
        return None

    def refuses_data(self, dataset: PairDataset) -> str | None:
        """Returns what the data set lacks: checkers, known regions, or training reports; None where it has all."""
        for modality, checker in (("image", dataset.image_checker()), ("report", dataset.report_checker())):
            if not checker:
                return f"data set '{dataset.name}' has no {modality} checker, which tells whether an edit shows"
        if self.given and not knows_regions(dataset):
            return f"data set '{dataset.name}' does not know where a finding lies"
        return None if dataset.size("train") else f"data set '{dataset.name}' has no training reports that lend their sentences"

    def prepared(self, cases: Cases, dataset: PairDataset) -> Self:
        """Returns the task with the edit of each case.
        Raises UserError: the data set has no report checker, or no training reports."""
        changes = changes_of(cases, dataset, self.present)
        if not self.given:
            return replace(self, edits={id: Edit(change) for id, change in changes.items()})
        findings = {case.id: changes[case.id].finding for case in cases if case.id in changes}
        regions = true_regions(dataset, findings, cases[0].image.width)
        return replace(self, edits={id: Edit(change, regions[id]) for id, change in changes.items() if id in regions})

    def generate(self, generator: Generator, cases: Cases, seeds: Sequence[int]) -> list[Prediction]:
        """Edited images; `details` holds the report before, the finding, and which tokens were redrawn and changed.
        Raises ValueError: the task was not `prepared`, or the system cannot edit."""
        if self.edits is None or not isinstance(generator, Edits):
            raise ValueError("prepare the task with all cases, and take a system that edits")
        check_seeds(cases, seeds)
        rows = [row for row, case in enumerate(cases) if case.id in self.edits]
        done: dict[str, Prediction] = {}
        if rows:
            edits = [self.edits[cases[row].id] for row in rows]
            images, reports = [cases[row].image for row in rows], [cases[row].report for row in rows]
            call = partial(generator.edit, images, reports, [one.change.report for one in edits])
            regions, own_seeds = [one.region for one in edits], [seeds[row] for row in rows]
            edited, cost = timed_batch(
                lambda: list(call(regions=regions, seeds=own_seeds)), generator.name, "edits", len(rows), generator
            )
            for row, one, result, codes in zip(rows, edits, edited, generator.image_codes(images), strict=True):
                case, report = cases[row], one.change.report
                details = _account(case, one.change, result, np.asarray(codes))
                done[case.id] = Prediction(case.id, result.image, result.report, report, cost, details)
        return [done.get(case.id, Prediction(case.id)) for case in cases]

    def anchors(self, cases: Cases, train: Cases, reconstructs: Reconstructs | None, seed: int) -> list[Anchor]:
        """real (the image as it is: how often the checker errs), reconstruction (what the tokenizer alone changes)."""
        anchors = [Anchor("real", [Prediction(case.id, case.image, case.report) for case in cases])]
        if reconstructs is not None:
            images = reconstructs.reconstruct([case.image for case in cases])
            shown = [Prediction(case.id, image, case.report) for case, image in zip(cases, images, strict=True)]
            anchors.append(Anchor("reconstruction", shown))
        return anchors

    def score(self, cases: Cases, predictions: Predictions, context: Context, population: Cases | None = None) -> Scored:
        """Scores, and per-sample scores of the cases with an edit."""
        task = self
        if self.edits is None:
            if context.dataset is None:
                raise ValueError("the edits of the cases follow from their data set")
            key = f"{self.name} {len(cases)} {cases[0].id} {cases[-1].id}"
            if key not in context.cached:
                context.cached[key] = self.prepared(cases, context.dataset)
            task = context.cached[key]
        assert task.edits is not None
        predictions = aligned(cases, predictions)
        changes = {id: one.change for id, one in task.edits.items()}
        return editing_scores(cases, changes, images_of(cases, predictions), [p.details for p in predictions], context)


class EditingRemoval(Editing):
    """The same with one finding less."""

    name = "editing-removal"
    title = "Editing: a finding removed"
    intro = "A report loses a finding; only the region it concerns is drawn anew."
    order = 90
    present = False


class Inpainting(Editing):
    """The same with the true region of the new finding given."""

    name = "inpainting"
    title = "Inpainting"
    intro = "The true region of a new finding is masked and drawn anew."
    order = 100
    given = True


def changes_of(cases: Cases, dataset: PairDataset, present: bool) -> dict[str, Change]:
    """A finding of its own domain that each case lacks, added to its report (or one that it has, removed), by id.

    The findings are tried in an order drawn from the case's id until training sentences can say one. A finding that no training
    report has beside those of the case is passed over: low and high cellularity, or what would hide another.

    Raises UserError: the data set has no report checker, or no training reports.
    """
    rewriter, images = Rewriter(dataset), dataset.image_checker()
    result: dict[str, Change] = {}
    for case in cases:
        written = rewriter.read(case.report)
        shown = written if case.findings is None else written | case.findings
        known = rewriter.findings.get(case.domain, ())
        known = known if images is None else tuple(one for one in known if one in images.labels)
        if present:
            choice = [one for one in known if one not in shown and rewriter.goes_with(one, written, case.domain)]
        else:
            choice = [one for one in known if one in written]
        choice.sort(key=partial(_drawn, case.id))
        changes = (rewriter.change(case.report, case.domain, finding, present) for finding in choice)
        if (change := next(filter(None, changes), None)) is not None:
            result[case.id] = change
    return result


def _drawn(id: str, finding: str) -> bytes:
    """The place of a finding in the order of a case."""
    return hashlib.sha256(f"{id}/{finding}".encode()).digest()


def _account(case: Case, change: Change, edited: Any, before: np.ndarray) -> dict[str, Any]:
    """JSON-able: tokens by running number, row by row."""
    redrawn = np.asarray(edited.redrawn).ravel()
    changed = np.asarray(edited.codes).ravel() != before.ravel()
    return {
        "report_before": case.report,
        "finding": change.finding,
        "change": "added" if change.present else "removed",
        "tokens": int(redrawn.size),
        "redrawn": np.flatnonzero(redrawn).tolist(),
        "changed_outside": int((changed & ~redrawn).sum()),
    }
