"""Counterfactual twins: a pair, and the same pair with one finding more, image and report changed together by the editor.

A couple leaves only where the checkers that steer read from both images exactly what both reports tell. What remains is a hard
positive and a hard negative for each image, and a question for any model that reads both: which report is this image's?
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmark.export.formats.form import write_lines
from benchmark.export.sources import Broken, Candidate, Place, one_by_one
from benchmark.run.generation import sample_seed
from medim.common.errors import UserError
from medim.common.files import hash_of
from medim.data.dataset import Checker, PairDataset
from medim.imaging.images import to_rgb
from tasks.editing.reports import Change, Rewriter
from tasks.protocols import Edits, Generator

TASK, GROUNDING = "twins", "grounding.jsonl"
APART = "the checkers do not read from both images what both reports tell"
_KEPT = 512  # couples remembered, so that the second twin is not drawn again

Couple = tuple[Candidate, Candidate] | str


class Twins:
    """Couples of pairs in slots 2 k (as drawn) and 2 k + 1 (a finding added); the same attempt makes both.

    Args:
        couples: how many.
        dataset: whose training reports lend the sentences that add a finding.
        terms: of the data that the model learned from.
        images: a checker that steers.

    Raises:
        UserError: a model that cannot edit, or a data set without what tells findings.
    """

    generates, together = True, 2

    def __init__(
        self, model: Generator, couples: int, attempts: int, seed: int, dataset: PairDataset, terms: str,
        images: Checker | None,
    ) -> None:  # fmt: skip
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
        for key in list(self._couples)[: max(0, len(self._couples) - _KEPT)]:
            del self._couples[key]
        return outcomes

    def _drawn(self, keys: Sequence[Place]) -> Iterator[Couple]:
        seeds = [sample_seed(self.seed, TASK, f"{key.slot}/{key.attempt}") for key in keys]
        pairs = self.model.generate_pairs([""] * len(keys), seeds=seeds)
        changes = [self._change(report, key.slot) for key, (_, report) in zip(keys, pairs, strict=True)]
        rows = [row for row, change in enumerate(changes) if change is not None]
        edited = self.editor.edit(
            [pairs[row][0] for row in rows], [pairs[row][1] for row in rows],
            [change.report for change in changes if change is not None], regions=[None] * len(rows),
            seeds=[seeds[row] for row in rows],
        ) if rows else []  # fmt: skip
        after = dict(zip(rows, edited, strict=True))
        for row, (key, (image, report)) in enumerate(zip(keys, pairs, strict=True)):
            change = changes[row]
            if change is None:
                yield "no training sentence adds a finding to this report"
                continue
            domain = self.rewriter.domain_like(report)
            images, reports = [to_rgb(image), to_rgb(after[row].image)], [report, change.report]
            told = [self.rewriter.read(text) for text in reports]
            if self.checker(images) != told:
                yield APART
                continue
            first, second = (
                Candidate(
                    Place(2 * key.slot + which, key.attempt), images[which], reports[which],
                    self._fields(2 * key.slot + which, seeds[row], change, told[which], domain),
                )
                for which in (0, 1)
            )  # fmt: skip
            yield first, second

    def _change(self, report: str, couple: int) -> Change | None:
        domain = self.rewriter.domain_like(report)
        told = self.rewriter.read(report)
        lacking = [finding for finding in self.rewriter.findings.get(domain, ()) if finding not in told]
        for finding in sorted(lacking, key=lambda one: hashlib.sha256(f"{self.seed}/{couple}/{one}".encode()).digest()):
            change = self.rewriter.change(report, domain, finding, True)
            if change is not None and self.rewriter.read(change.report) == told | {finding}:
                return change
        return None

    def _fields(self, slot: int, seed: int, change: Change, findings: frozenset[str], domain: str | None) -> dict[str, Any]:
        return {
            "id": self._id(slot), "split": "train", "patient": self._id(slot - slot % 2), "study": self._id(slot),
            "domain": domain, "terms": self.terms, "synthetic": True, "prompt": "", "seed": seed, "model": self.model.name,
            "model_hash": self.model.fingerprint, "findings": sorted(findings), "twin_of": self._id(slot ^ 1),
            "finding": change.finding, "change": "added" if slot % 2 else "original",
        }  # fmt: skip

    def _id(self, slot: int) -> str:
        return f"{self.prefix}-{self.seed}-{slot // 2:07d}{'ab'[slot % 2]}"

    def describe(self) -> dict[str, Any]:
        return {
            "model": self.model.name, "model_hash": self.model.fingerprint, "settings": self.model.settings(), "n": self.slots,
            "seed": self.seed, "attempts": self.attempts, "twins": self.checker.fingerprint,
        }  # fmt: skip


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
            "id": line["id"], "couple": line["patient"], "image": line["image"], "reports": reports, "right": right,
            "finding": line["finding"], "shown": line["change"] == "added",
        }  # fmt: skip


def write_grounding(out: Path, lines: Sequence[Mapping[str, Any]]) -> int:
    """Writes `grounding.jsonl`; returns how many questions it has."""
    return write_lines(out / GROUNDING, grounding_items(lines))
