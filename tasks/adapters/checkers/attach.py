"""Gives a data set of folders the checkers that `--checker MODALITY=KIND:FILE` names, and chooses their thresholds.

Findings are those that the pairs of `val` and `test` state, else those that the checker of reports knows. Chest X-rays without
a checker of reports are read by the rule-based labeller.
"""

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from medim.common.errors import UserError, unknown
from medim.common.files import hash_of
from medim.data.dataset import Checker, Described, PairDataset, TakesCheckers
from medim.data.sources.selection import MixedDataset
from tasks.adapters.checkers.image_checker import ImageChecker
from tasks.adapters.checkers.kinds import CHEST, open_checker
from tasks.adapters.checkers.label_map import LabelFile, LabelMap, is_finding, read_label_file
from tasks.adapters.checkers.predicted import PredictedLabels
from tasks.cases import cases_of, has_images, own_resolution, unwrapped
from tasks.protocols import Case
from tasks.scoring.context import Context
from tasks.scoring.findings import reference_findings

MODALITIES = ("image", "report", "steer")
CHEST_XRAY, LABELLER = "chest-xray", "labeller"
VALIDATION, MOST = "val", 2000
"""Cases of the validation split that thresholds are chosen on: its first ones."""


class ReportReader:
    """A checker of reports by the data's names of findings."""

    def __init__(self, checker: Checker, names: LabelMap) -> None:
        self.checker, self.name, self.labels = checker, checker.name, names.findings
        places = ((place, finding) for finding, columns in names.columns.items() for place in columns)
        self.finding_of = {checker.labels[place]: finding for place, finding in places}
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

    Args:
        specs: `MODALITY=KIND` or `MODALITY=KIND:FILE` each, or several with commas.
        labels: the file of `--checker-labels`.

    Raises:
        UserError: an unknown modality or kind, a file that is not as it should be, a data set with checkers of another kind, a
            checker that reads none of the findings, or one network that steers and scores.
    """
    wanted = _parsed(specs)
    leaves = list(_leaves(dataset))
    if others := [leaf for leaf in leaves if not isinstance(leaf, TakesCheckers)]:
        if wanted:
            raise UserError(f"--checker: data set '{others[0].name}' has its checkers; they can be chosen for folders alone")
        return
    if not has_images(dataset) and (modality := next((one for one in ("image", "steer") if one in wanted), None)):
        raise UserError(f"--checker {modality}=: data set '{dataset.name}' holds reports alone")
    file = read_label_file(labels)
    found: dict[str, Any] = {}
    findings = _stated(dataset)
    spec = wanted.get("report", LABELLER if set(dataset.domains) == {CHEST_XRAY} else None)
    if spec is not None and _suits(spec, "report", dataset):
        opened = open_checker("report", spec, device)
        names = LabelMap.of(opened.labels, findings, file.report, f"{labels}: report")
        if names.columns:
            found["report"] = ReportReader(opened, names)
        elif "report" in wanted:
            raise _reads_none(spec, "report", opened.labels, findings, dataset)
    if findings is None and "report" in found:
        findings = list(found["report"].labels)
    for modality in ("image", "steer"):
        if modality in wanted and _suits(wanted[modality], modality, dataset):
            if findings is None:
                _say(f"--checker {modality}=: data set '{dataset.name}' states no findings, and none are read from its reports")
                continue
            found[modality] = _image_checker(modality, wanted[modality], findings, file, labels, dataset, device)
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

    Returns:
        What a configuration says of them, JSON-able.

    Raises:
        UserError: see `attach_checkers`; a checker that would score.
    """
    if not specs:
        return {}
    if (image := _parsed(specs).get("image")) is not None:
        raise UserError(f"--checker image={image}: that scores, and nothing is scored here; steer={image} steers and filters")
    attach_checkers(dataset, specs, labels, device)
    leaf, reports = next(_leaves(dataset)), dataset.report_checker()
    assert isinstance(leaf, TakesCheckers)
    checker = leaf.steering_image_checker()
    if isinstance(checker, ImageChecker) and dataset.size(VALIDATION):
        side = own_resolution(dataset, VALIDATION)
        assert side is not None
        choose_thresholds(checker, dataset, side)
    found = {"steer": checker, "report": reports}
    return {"checkers": {name: one.details() if isinstance(one, Described) else None for name, one in found.items()}}


def chosen_checker(dataset: PairDataset) -> ImageChecker | None:
    """The checker of images that was attached to score; None where there is none, or the data set has another."""
    checker = dataset.image_checker()
    return checker if isinstance(checker, ImageChecker) else None


def choose_thresholds(checker: ImageChecker, dataset: PairDataset, side: int) -> None:
    """Chooses thresholds on real images of the validation split, at `side` pixels; without one they stay as they are."""
    if not dataset.size(VALIDATION):
        return
    cases = cases_of(dataset, VALIDATION, side, MOST)
    images = meet(checker, cases)
    references, _ = reference_findings(cases, Context(report_checker=dataset.report_checker()))
    if references is not None and lacks(checker, images) is None:
        checker.choose(images, references, VALIDATION)


def meet(checker: ImageChecker, cases: Sequence[Case]) -> list[Any]:
    """Shows a table of predictions the cases' images, by id; returns the images."""
    if isinstance(checker.classifier, PredictedLabels):
        checker.classifier.meet({case.id: case.image for case in cases})
    return [case.image for case in cases]


def lacks(checker: ImageChecker, images: Sequence[Any]) -> str | None:
    """Why a table of predictions does not hold these images; None where it does, or a network reads them."""
    return checker.classifier.lacks(images) if isinstance(checker.classifier, PredictedLabels) else None


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


def _suits(spec: str, modality: str, dataset: PairDataset) -> bool:
    kind = spec.partition(":")[0]
    if kind not in CHEST or not dataset.domains or CHEST_XRAY in dataset.domains:
        return True
    _say(f"--checker {modality}={kind} reads chest X-rays alone: data set '{dataset.name}' goes without")
    return False


def _image_checker(
    modality: str,
    spec: str,
    findings: Sequence[str],
    file: LabelFile,
    labels: Path | None,
    dataset: PairDataset,
    device: str,
) -> ImageChecker:
    if modality == "steer" and spec.startswith("predictions:"):
        raise UserError(f"--checker steer={spec}: what is yet to be drawn is in no table")
    classifier = open_checker(modality, spec, device)
    given: Mapping[str, Any] = file.image if modality == "image" else file.steer
    names = LabelMap.of(classifier.labels, findings, given, f"{labels}: {modality}")
    if not names.columns:
        raise _reads_none(spec, modality, classifier.labels, findings, dataset)
    return ImageChecker(classifier, names)


def _reads_none(
    spec: str, modality: str, labels: Sequence[str], findings: Sequence[str] | None, dataset: PairDataset
) -> UserError:
    shown = [", ".join(names[:6]) + (", ..." if len(names) > 6 else "") for names in (list(labels), list(findings or ()))]
    return UserError(
        f"--checker {modality}={spec} reads none of the findings of '{dataset.name}': its labels are {shown[0]}; the data's "
        f"findings {shown[1]}; --checker-labels FILE maps them"
    )


def _say(line: str) -> None:
    print(line, file=sys.stderr)
