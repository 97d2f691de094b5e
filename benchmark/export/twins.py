"""Counterfactual twins: a pair, and the same pair with one finding more, image and report changed together by the editor.
A couple leaves only where the checkers that steer read from both images exactly what both reports state. What remains is a hard
positive and a hard negative for each image, and a question for any model that reads both: which report is this image's?"""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

from benchmark.export.sources import Broken, Candidate, Place, described, drawn_fields, one_by_one
from benchmark.run.generation import sample_seed
from medim.common.errors import UserError
from medim.common.files import hash_of
from medim.data.dataset import Checker, PairDataset
from medim.imaging.images import to_rgb
from tasks.editing.reports import Change, Rewriter
from tasks.protocols import Edits, Generator

TASK = "twins"
APART = "the checkers do not read from both images what both reports tell"
_REMEMBERED = 512  # couples remembered, so that the second twin is not drawn again

Couple = tuple[Candidate, Candidate] | str


class Twins:
    """Couples of pairs in slots 2 k (as drawn) and 2 k + 1 (a finding added); the same attempt makes both.
    `couples`: how many.
    `dataset`: whose training reports lend the sentences that add a finding.
    `terms`: of the data that the model learned from.
    `images`: a checker that steers.
    Raises UserError: a model that cannot edit, or a data set without a checker of images that steers."""

    generates, together = True, 2

    def __init__(
        self, model: Generator, couples: int, attempts: int, seed: int, dataset: PairDataset, terms: str, images: Checker | None
    ) -> None:
        if not isinstance(model, Edits) or not model.finds_regions:
            raise UserError(f"--twins: '{model.name}' cannot find and redraw what a changed report concerns")
        if images is None:
            raise UserError(f"--twins: data set '{dataset.name}' has no checker of images that steers")
        self.model, self.editor, self.checker, self.rewriter = model, model, images, Rewriter(dataset)
        self.slots, self.attempts, self.seed, self.terms = 2 * couples, attempts, seed, terms
        self.prefix = hash_of([model.fingerprint, model.settings(), TASK])[:8]
        self._couples: dict[Place, Couple] = {}  # the slot of a couple is its number
        self._failed: set[int] = set()

    def draw(self, places: Sequence[Place]) -> list[Candidate | Broken]:
        """One twin for each place."""
        wanted = dict.fromkeys(Place(place.slot // 2, place.attempt) for place in places)
        missing = [key for key in wanted if key not in self._couples]
        if missing:
            self._couples |= dict(zip(missing, one_by_one(self._drawn, missing, self._failed), strict=True))
        outcomes: list[Candidate | Broken] = []
        for place in places:
            couple = self._couples[Place(place.slot // 2, place.attempt)]
            outcomes.append(Broken(place, self._id(place.slot), couple) if isinstance(couple, str) else couple[place.slot % 2])
        for key in list(self._couples)[: max(0, len(self._couples) - _REMEMBERED)]:
            del self._couples[key]
        return outcomes

    def _drawn(self, keys: Sequence[Place]) -> Iterator[Couple]:
        seeds = [sample_seed(self.seed, TASK, f"{key.slot}/{key.attempt}") for key in keys]
        pairs = self.model.generate_pairs([""] * len(keys), seeds=seeds)
        changes = [self._change(report, key.slot) for key, (_, report) in zip(keys, pairs, strict=True)]
        rows = [row for row, change in enumerate(changes) if change is not None]
        images, reports = [pairs[row][0] for row in rows], [pairs[row][1] for row in rows]
        new = [change.report for change in changes if change is not None]
        regions, same = [None] * len(rows), [seeds[row] for row in rows]
        edited = self.editor.edit(images, reports, new, regions=regions, seeds=same) if rows else []
        after = dict(zip(rows, edited, strict=True))
        for row, (key, (image, report)) in enumerate(zip(keys, pairs, strict=True)):
            change = changes[row]
            if change is None:
                yield "no training sentence adds a finding to this report"
                continue
            domain = self.rewriter.domain_like(report)
            both = [(to_rgb(image), report), (to_rgb(after[row].image), change.report)]
            findings = [self.rewriter.read(text) for _, text in both]
            if self.checker([shown for shown, _ in both]) != findings:
                yield APART
                continue
            first, second = (
                Candidate(Place(slot, key.attempt), *pair, self._fields(slot, seeds[row], change, stated, domain))
                for slot, pair, stated in zip((2 * key.slot, 2 * key.slot + 1), both, findings, strict=True)
            )
            yield first, second

    def _change(self, report: str, couple: int) -> Change | None:
        domain = self.rewriter.domain_like(report)
        stated = self.rewriter.read(report)
        lacking = [finding for finding in self.rewriter.findings.get(domain, ()) if finding not in stated]
        for finding in sorted(lacking, key=lambda one: hashlib.sha256(f"{self.seed}/{couple}/{one}".encode()).digest()):
            change = self.rewriter.change(report, domain, finding, True)
            if change is not None and self.rewriter.read(change.report) == stated | {finding}:
                return change
        return None

    def _fields(self, slot: int, seed: int, change: Change, findings: frozenset[str], domain: str | None) -> dict[str, Any]:
        return drawn_fields(self.model, self._id(slot), self.terms, domain, "", seed) | {
            "patient": self._id(slot - slot % 2),
            "findings": sorted(findings),
            "twin_of": self._id(slot ^ 1),
            "finding": change.finding,
            "change": "added" if slot % 2 else "original",
        }

    def _id(self, slot: int) -> str:
        return f"{self.prefix}-{self.seed}-{slot // 2:07d}{'ab'[slot % 2]}"

    def describe(self) -> dict[str, Any]:
        return {**described(self.model, self.slots, self.seed, self.attempts), "twins": self.checker.fingerprint}
