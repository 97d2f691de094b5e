"""The checkers of a run that were chosen: thresholds from the validation split, and how well they read the real test images."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from benchmark.run.artifacts import Artifacts
from benchmark.run.data import Data
from medim.common.errors import UserError
from medim.common.files import read_mapping
from medim.data.dataset import PairDataset
from tasks.adapters.checkers.attach import MOST, ReportReader, choose_thresholds, chosen_checker
from tasks.adapters.checkers.image_checker import ImageChecker
from tasks.adapters.checkers.predicted import PredictedLabels
from tasks.protocols import Prediction
from tasks.scoring.findings import CHECKER_F1, CHECKER_MACRO_F1, checker_scores


def checkers_of(dataset: PairDataset) -> dict[str, Any]:
    """What a run's configuration says of the checkers that were given, before thresholds are known."""
    checker, reports, said = chosen_checker(dataset), dataset.report_checker(), dict[str, Any]()
    if checker is not None:
        said["image"] = {"name": checker.name, **checker.identity(), "given_thresholds": dict(checker.names.thresholds)}
    if isinstance(reports, ReportReader) and (reports.given or said):
        said["report"] = reports.details()
    return {"checkers": said} if said else {}


def refuse_steerer(dataset: PairDataset, settings: Mapping[str, Any]) -> None:
    """Raises UserError where the checker that scores has the weights of what steered the system of these settings."""
    checker = chosen_checker(dataset)
    if checker is not None and f'"image_checker_weights": "{checker.weights}"' in json.dumps(settings):
        raise UserError(
            f"--checker image={checker.name} (weights {checker.weights}) steered these samples: it cannot score them"
        )


def settings_of_samples(folder: Path) -> dict[str, Any]:
    """How a run drew what lies in its folder `samples/TASK/SYSTEM`, from its manifest; nothing for other folders."""
    manifest = folder.resolve() / "../../../manifest.json"
    return read_mapping(manifest).get("settings", {}) if manifest.is_file() else {}


def prepare_checkers(data: Data, artifacts: Artifacts) -> None:
    """Chooses thresholds (once for an `--out`), then prints F1 by finding on the real images of the cases."""
    checker = chosen_checker(data.dataset)
    if checker is None:
        return
    if isinstance(checker.classifier, PredictedLabels):
        checker.meet([*data.cases, *data.train])
    inputs = {**checkers_of(data.dataset), "data": data.dataset.fingerprint, "resolution": data.resolution, "most": MOST}
    state = artifacts.get("checker", inputs)
    if state is None:
        choose_thresholds(checker, data.dataset, data.resolution)
        artifacts.put("checker", inputs, [checker.thresholds, checker.origins])
    else:
        checker.thresholds, checker.origins = state
    click.echo(_table(data, checker), err=True)


def refuse_unread(data: Data, predictions: list[Prediction]) -> None:
    """Raises UserError where a table of predictions lacks an image that was generated."""
    checker = chosen_checker(data.dataset)
    images = [one.image for one in predictions if one.image is not None]
    if checker is not None and (why := checker.lacks(images)) is not None:
        raise UserError(f"--checker image={checker.name}: {why}")


def _table(data: Data, checker: ImageChecker) -> str:
    """F1, threshold and support of each finding that the checker reads, macro first."""
    scores = {score.metric: score for score in checker_scores(data.cases, data.context)}
    macro = scores[CHECKER_MACRO_F1]
    lines = [f"checker image={checker.name} (weights {checker.weights}) on {len(data.cases)} real images of '{data.split}':"]
    lines.append(f"  macro F1: {macro.reason if macro.value is None else f'{macro.value:.3f}'}")
    for finding in checker.labels:
        score = scores.get(f"{CHECKER_F1}: {finding}")
        shown = "no case" if score is None or score.value is None else f"{score.value:.3f}, {score.signature['support']} cases"
        lines.append(f"  {finding}: {shown}; threshold {checker.thresholds[finding]:.3f} ({checker.origins[finding]})")
    unread = macro.signature.get("unread_findings")
    return "\n".join([*lines, *([f"  not read: {', '.join(unread)}"] if unread else [])])
