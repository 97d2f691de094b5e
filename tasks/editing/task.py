"""Editing: one finding more or less in the report, the image follows, and all that it does not concern stays."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np

from medim.data.dataset import PairDataset
from tasks.editing.regions import knows_regions, true_regions
from tasks.editing.reports import Change, Rewriter
from tasks.editing.scores import BOTH, HITS, KEPT, OUTSIDE, REGION, editing_scores
from tasks.protocols import Answered, Case, Edits, Generator, Prediction, Reconstructs
from tasks.scoring.context import Context
from tasks.scoring.scores import Score, aligned, images_of
from tasks.task import Anchor, Task, check_seeds, timed_batch


@dataclass(frozen=True)
class Asked:
    """What is asked of one case.

    Attributes:
        change: of its report.
        region: pixels (R, R) in which the image may change; None where the system finds the region.
    """

    change: Change
    region: np.ndarray | None = None


@dataclass(frozen=True)
class Editing(Task):
    """A case's report is given one finding more (or less); the system draws the concerned region of the image anew.

    Which finding is drawn from the case's id, so that every system is asked the same. Cases for which there is none (nothing
    to remove, nothing that occurs beside what is there, no training sentence that says it, no region known) are not asked.

    Attributes:
        present: whether the finding is added, or removed.
        given: whether the region is the data set's own (inpainting), or the system's to find.
        asked: by a case's id; filled by `prepared`.
    """

    name = "editing"
    title = "Editing: a finding added"
    intro = "A report gains a finding; only the region it concerns is drawn anew."
    headline_metrics = (BOTH, HITS, KEPT, OUTSIDE, REGION)
    order = 80
    present: ClassVar[bool] = True
    given: ClassVar[bool] = False
    asked: Mapping[str, Asked] | None = None

    def refuses(self, generator: Generator | Answered) -> str | None:
        """Why this system cannot be asked; None where it can."""
        if not isinstance(generator, Edits):
            return "it edits no images (a system with edit, image_codes and finds_regions does)"
        if not self.given and not generator.finds_regions:
            return "it does not find the region that a changed report concerns"
        return None

    def refuses_data(self, dataset: PairDataset) -> str | None:
        """Why this data set cannot be asked; None where it can."""
        missing = [
            name for name, checker in (("image", dataset.image_checker()), ("report", dataset.report_checker())) if not checker
        ]
        if missing:
            return f"data set '{dataset.name}' has no {missing[0]} checker, which tells whether an edit shows"
        if self.given and not knows_regions(dataset):
            return f"data set '{dataset.name}' does not know where a finding lies"
        return None if dataset.size("train") else f"data set '{dataset.name}' has no training reports that lend their sentences"

    def prepared(self, cases: Sequence[Case], dataset: PairDataset) -> Self:
        """The task with what is asked of each case.

        Raises:
            UserError: the data set has no report checker, or no training reports.
        """
        changes = changes_of(cases, dataset, self.present)
        regions: Mapping[str, np.ndarray] = {}
        if self.given:
            wanted = {case.id: changes[case.id].finding for case in cases if case.id in changes}
            regions = true_regions(dataset, wanted, cases[0].image.width)
            changes = {id: change for id, change in changes.items() if id in regions}
        return replace(self, asked={id: Asked(change, regions.get(id)) for id, change in changes.items()})

    def generate(self, generator: Generator, cases: Sequence[Case], seeds: Sequence[int]) -> list[Prediction]:
        """Edited images of a batch; `told` holds the report before, finding, and which tokens were redrawn and changed.

        Raises:
            ValueError: the task was not `prepared`, or the system cannot edit.
        """
        if self.asked is None or not isinstance(generator, Edits):
            raise ValueError("prepare the task with all cases, and ask a system that edits")
        check_seeds(cases, seeds)
        rows = [row for row, case in enumerate(cases) if case.id in self.asked]
        done: dict[str, Prediction] = {}
        if rows:
            asked = [self.asked[cases[row].id] for row in rows]
            images, reports = [cases[row].image for row in rows], [cases[row].report for row in rows]
            edited, cost = timed_batch(
                lambda: list(generator.edit(
                    images, reports, [one.change.report for one in asked], regions=[one.region for one in asked],
                    seeds=[seeds[row] for row in rows],
                )),
                generator.name, "edits", len(rows), generator,
            )  # fmt: skip
            for row, one, result, codes in zip(rows, asked, edited, generator.image_codes(images), strict=True):
                told = _told(cases[row], one.change, result, np.asarray(codes))
                done[cases[row].id] = Prediction(cases[row].id, result.image, result.report, one.change.report, cost, told)
        return [done.get(case.id, Prediction(case.id)) for case in cases]

    def anchors(
        self, cases: Sequence[Case], train: Sequence[Case], reconstructs: Reconstructs | None, seed: int
    ) -> list[Anchor]:
        """real (the image as it is: how often the checker errs), reconstruction (what the tokenizer alone changes)."""
        anchors = [Anchor("real", [Prediction(case.id, case.image, case.report) for case in cases])]
        if reconstructs is not None:
            images = reconstructs.reconstruct([case.image for case in cases])
            shown = [Prediction(case.id, image, case.report) for case, image in zip(cases, images, strict=True)]
            anchors.append(Anchor("reconstruction", shown))
        return anchors

    def score(
        self,
        cases: Sequence[Case],
        predictions: Sequence[Prediction],
        context: Context,
        population: Sequence[Case] | None = None,
    ) -> tuple[list[Score], list[dict[str, float]]]:
        """Scores, and per-sample scores of the cases that were asked."""
        task = self if self.asked is not None else self._prepared_once(cases, context)
        assert task.asked is not None
        predictions = aligned(cases, predictions)
        changes = {id: one.change for id, one in task.asked.items()}
        return editing_scores(cases, changes, images_of(cases, predictions), [p.told for p in predictions], context)

    def _prepared_once(self, cases: Sequence[Case], context: Context) -> "Editing":
        """What was asked, for systems of one run made once."""
        if context.dataset is None:
            raise ValueError("what was asked of the cases follows from their data set")
        key = f"{self.name} {len(cases)} {cases[0].id} {cases[-1].id}"
        if key not in context.made:
            context.made[key] = self.prepared(cases, context.dataset)
        prepared = context.made[key]
        assert isinstance(prepared, Editing)
        return prepared


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


def changes_of(cases: Sequence[Case], dataset: PairDataset, present: bool) -> dict[str, Change]:
    """A finding of its own domain that each case lacks, added to its report (or one that it has, removed), by id.

    The findings are tried in an order drawn from the case's id until training sentences can tell one. What no training report
    tells beside a finding that the case has is not asked for: low and high cellularity, or what would hide another.

    Raises:
        UserError: the data set has no report checker, or no training reports.
    """
    rewriter = Rewriter(dataset)
    result: dict[str, Change] = {}
    for case in cases:
        told = rewriter.read(case.report)
        shown = told if case.findings is None else told | case.findings
        known = rewriter.findings.get(case.domain, ())
        if present:
            choice = [one for one in known if one not in shown and rewriter.goes_with(one, told, case.domain)]
        else:
            choice = [one for one in known if one in told]
        for finding in _shuffled(choice, case.id):
            change = rewriter.change(case.report, case.domain, finding, present)
            if change is not None:
                result[case.id] = change
                break
    return result


def _shuffled(findings: Sequence[str], id: str) -> list[str]:
    return sorted(findings, key=lambda finding: hashlib.sha256(f"{id}/{finding}".encode()).digest())


def _told(case: Case, change: Change, edited: Any, before: np.ndarray) -> dict[str, Any]:
    """JSON-able: tokens by running number, row by row."""
    redrawn = np.asarray(edited.redrawn).ravel()
    changed = np.asarray(edited.codes).ravel() != before.ravel()
    return {
        "report_before": case.report, "finding": change.finding, "change": "added" if change.present else "removed",
        "tokens": int(redrawn.size), "redrawn": np.flatnonzero(redrawn).tolist(),
        "changed_outside": int((changed & ~redrawn).sum()),
    }  # fmt: skip
