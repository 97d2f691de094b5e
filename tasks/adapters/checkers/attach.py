"""Gives a data set of folders the checkers that `--checker MODALITY=KIND:FILE` names, and chooses their thresholds.
Findings are those that the pairs of `val` and `test` state, else those that the checker of reports knows. Chest X-rays without
a checker of reports are read by the rule-based labeller."""

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from medim.common.errors import UserError, unknown
from medim.common.files import hash_of
from medim.data.dataset import Checker, Described, PairDataset, TakesCheckers, steering_checker
from medim.data.sources.selection import MixedDataset
from tasks.adapters.checkers.image_checker import ImageChecker
from tasks.adapters.checkers.kinds import CHEST, open_checker
from tasks.adapters.checkers.label_map import LabelMap, is_finding, read_label_file
from tasks.cases import cases_of, has_images, own_resolution, unwrapped
from tasks.scoring.context import Context
from tasks.scoring.findings import reference_findings

MODALITIES = ("report", "image", "steer")
CHEST_XRAY, LABELLER = "chest-xray", "labeller"
VALIDATION, MOST = "val", 2000  # cases of the validation split that thresholds are chosen on: its first ones


class ReportReader:
    """A checker of reports by the data's names of findings."""

    def __init__(self, checker: Checker, names: LabelMap, given: bool) -> None:
        self.checker, self.name, self.labels = checker, checker.name, names.findings
        self.given = given  # by the user; not the default
        self.finding_of = {checker.labels[place]: finding for finding, places in names.columns.items() for place in places}
        self.label_map = names.fingerprint
        self.fingerprint = hash_of(self.details())

    def details(self) -> dict[str, Any]:
        """For signatures, JSON-able."""
        return {"weights": self.checker.fingerprint, "label_map": self.label_map}

    def __call__(self, items: Sequence[Any]) -> list[frozenset[str]]:
        """The findings present in each report."""
        read = self.checker(items)
        return [frozenset(self.finding_of[label] for label in found if label in self.finding_of) for found in read]


def attach_checkers(dataset: PairDataset, specs: Sequence[str], labels: Path | None, device: str) -> None:
    """Gives `dataset` its checkers; without `specs` the labeller alone, where the set is of chest X-rays.
    `specs`: `MODALITY=KIND` or `MODALITY=KIND:FILE` each, or several with commas.
    `labels`: the file of `--checker-labels`.
    Raises UserError: an unknown modality or kind, a file that is not as it should be, a data set that has checkers, a
    checker that reads none of the findings, or one network that steers and scores."""
    given, leaves = _parsed(specs), list(_leaves(dataset))
    if others := [leaf for leaf in leaves if not isinstance(leaf, TakesCheckers)]:
        if given or labels:
            raise UserError(f"--checker: data set '{others[0].name}' has its checkers; they can be chosen for folders alone")
        return
    if not has_images(dataset) and given.keys() - {"report"}:
        raise UserError(f"--checker {max(given.keys() - {'report'})}=: data set '{dataset.name}' holds reports alone")
    wanted = ({"report": LABELLER} if set(dataset.domains) == {CHEST_XRAY} else {}) | given
    file, findings, found = read_label_file(labels), _stated(dataset), dict[str, Any]()
    mapped = [modality for modality in MODALITIES if getattr(file, modality)]
    if mapped and not wanted.keys() & set(mapped):
        raise UserError(f"--checker-labels {labels} maps labels of {' and '.join(mapped)}: give --checker {mapped[0]}=")
    for modality in (one for one in MODALITIES if one in wanted):
        spec = f"{modality}={wanted[modality]}"
        if wanted[modality].partition(":")[0] in CHEST and (more := sorted(set(dataset.domains) - {CHEST_XRAY})):
            line = f"--checker {spec} reads chest X-rays alone: data set '{dataset.name}' goes without, as it holds"
            print(line, ", ".join(more), file=sys.stderr)
            continue
        opened = open_checker(modality, wanted[modality], device)
        if findings is None and modality != "report":
            print(f"--checker {spec}: '{dataset.name}' states no findings, and none are read from its reports", file=sys.stderr)
            continue
        names = LabelMap.of(opened.labels, findings, getattr(file, modality), f"{labels}: {modality}")
        if names.columns:
            reads = ReportReader(opened, names, modality in given) if modality == "report" else ImageChecker(opened, names)
            found[modality], findings = reads, findings or list(names.findings)
        elif modality in given:
            shown = [", ".join(some[:6]) + ", ..." * (len(some) > 6) for some in (opened.labels, findings or [])]
            raise UserError(
                f"--checker {spec} reads none of the findings of '{dataset.name}': its labels are {shown[0]}; the data's "
                f"findings {shown[1]}; --checker-labels FILE maps them"
            )
    if {"image", "steer"} <= found.keys() and found["image"].weights == found["steer"].weights:
        raise UserError(
            f"--checker image={wanted['image']} has the weights of steer={wanted['steer']} ({found['image'].weights}): what "
            "steers cannot score"
        )
    for leaf in leaves:
        assert isinstance(leaf, TakesCheckers)
        leaf.use_checkers(found)


def attach_steering(dataset: PairDataset, specs: Sequence[str], labels: Path | None, device: str) -> dict[str, Any]:
    """As `attach_checkers` for what steers or filters and scores nothing, thresholds chosen; without `specs` nothing changes.
    Returns what a configuration says of them, JSON-able.
    Raises UserError: see `attach_checkers`; a checker that would score."""
    if not specs:
        return {}
    if (image := _parsed(specs).get("image")) is not None:
        raise UserError(f"--checker image={image}: that scores, and nothing is scored here; steer={image} steers and filters")
    attach_checkers(dataset, specs, labels, device)
    said = dict[str, Any]()
    for name, checker in (("steer", steering_checker(dataset)), ("report", dataset.report_checker())):
        if isinstance(checker, ImageChecker) and (side := own_resolution(dataset, VALIDATION)) is not None:
            choose_thresholds(checker, dataset, side)
        said[name] = checker.details() if isinstance(checker, Described) else None
    return {"checkers": said}


def chosen_checker(dataset: PairDataset) -> ImageChecker | None:
    """The checker of images that was attached to score; None where there is none, or the data set has another."""
    checker = dataset.image_checker()
    return checker if isinstance(checker, ImageChecker) else None


def choose_thresholds(checker: ImageChecker, dataset: PairDataset, side: int) -> None:
    """Chooses thresholds on real images of the validation split, at `side` pixels; without one they stay as they are."""
    cases = cases_of(dataset, VALIDATION, side, MOST) if dataset.size(VALIDATION) else []
    checker.meet(cases)
    images = [case.image for case in cases]
    references, _ = reference_findings(cases, Context(report_checker=dataset.report_checker()))
    if (why := checker.lacks(images)) is not None:
        print(f"checker {checker.name}: no threshold is chosen on '{VALIDATION}': {why}", file=sys.stderr)
    elif references:
        checker.choose(images, references, VALIDATION)


def _parsed(specs: Sequence[str]) -> dict[str, str]:
    wanted: dict[str, str] = {}
    for spec in (one for text in specs for one in re.split(rf",(?=(?:{'|'.join(MODALITIES)})=)", text)):
        modality, equals, kind = spec.partition("=")
        if not equals or not kind:
            raise UserError(f"--checker {spec}: MODALITY=KIND:FILE is needed, such as image=torchxrayvision:FILE")
        if modality not in MODALITIES:
            raise unknown("modality of --checker", modality, MODALITIES)
        if modality in wanted:
            raise UserError(f"--checker {modality}= is given twice")
        wanted[modality] = kind
    return wanted


def _leaves(dataset: PairDataset) -> Iterator[PairDataset]:
    whole = unwrapped(dataset)
    if isinstance(whole, MixedDataset):
        for part in whole.parts:
            yield from _leaves(part)
    else:
        yield whole


def _stated(dataset: PairDataset) -> list[str] | None:
    """The findings that pairs of `val` and `test` state, in alphabetical order; None where none does."""
    pairs = (dataset.pair(split, index) for split in ("val", "test") for index in range(dataset.size(split)))
    stated = [pair.findings for pair in pairs if pair.findings is not None]
    return sorted({finding for findings in stated for finding in findings if is_finding(finding)}) or None
