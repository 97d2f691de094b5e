"""A classifier of images as a checker: its labels mapped to the data's findings, each above its threshold."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from medim.common.errors import UserError, foreign
from medim.common.files import hash_of
from tasks.adapters.checkers.kinds import Classifier
from tasks.adapters.checkers.label_map import LabelMap
from tasks.adapters.checkers.predicted import PredictedLabels
from tasks.protocols import Case

DEFAULT = 0.5
POSITIVES = 5  # cases of the validation split that have to show a finding before its threshold is chosen there


class ImageChecker:
    """Reads a finding where the largest probability of its labels reaches the finding's threshold. `labels`: the findings that
    it reads. `thresholds`: by finding; `DEFAULT` or the user's until `choose` sets them. `origins`: by finding, where the
    threshold comes from."""

    def __init__(self, classifier: Classifier, names: LabelMap) -> None:
        self.classifier, self.names = classifier, names
        self.name, self.weights, self.labels = classifier.name, classifier.weights, names.findings
        self.thresholds = {finding: names.thresholds.get(finding, DEFAULT) for finding in self.labels}
        self.origins = {finding: "given" if finding in names.thresholds else "default" for finding in self.labels}

    @property
    def fingerprint(self) -> str:
        return hash_of(self.details())

    def identity(self) -> dict[str, Any]:
        """What it is before thresholds are chosen, JSON-able."""
        return {"weights": self.weights, "feed": self.classifier.feed, "label_map": self.names.fingerprint}

    def details(self) -> dict[str, Any]:
        """For signatures, JSON-able."""
        return {**self.identity(), "thresholds": dict(self.thresholds), "thresholds_from": dict(self.origins)}

    def probabilities(self, images: Sequence[Image.Image]) -> np.ndarray:
        """Probability of each finding (N, findings). Raises UserError: the classifier fails, or gives anything else."""
        with foreign(f"image checker '{self.name}' failed"):
            values = np.asarray(self.classifier.probabilities(images), dtype=np.float64)
        wanted = len(images), len(self.classifier.labels)
        if values.shape != wanted or not ((values >= 0) & (values <= 1)).all():
            raise UserError(f"image checker '{self.name}' has to give {wanted} in [0, 1], not {_described(values)}")
        columns = [values[:, list(places)].max(axis=1) for places in self.names.columns.values()]
        return np.stack(columns, axis=1)

    def __call__(self, items: Sequence[Any]) -> list[frozenset[str]]:
        """The findings present in each image."""
        present = self.probabilities(items) >= [self.thresholds[finding] for finding in self.labels]
        return [frozenset(finding for finding, there in zip(self.labels, row, strict=True) if there) for row in present]

    def choose(self, images: Sequence[Image.Image], references: Sequence[frozenset[str]], split: str) -> None:
        """Sets the thresholds that were not given to those of the largest F1 on these images and what they show."""
        values = self.probabilities(images)
        for column, finding in enumerate(self.labels):
            shown = np.array([finding in one for one in references], bool)
            if finding in self.names.thresholds or not POSITIVES <= shown.sum() < len(shown):
                continue
            self.thresholds[finding] = best_threshold(values[:, column], shown)
            self.origins[finding] = f"{split}: {int(shown.sum())} of {len(shown)} cases show it"

    def meet(self, cases: Sequence[Case]) -> None:
        """Shows a table of predictions which image each case has."""
        if isinstance(self.classifier, PredictedLabels):
            self.classifier.meet({case.id: case.image for case in cases})

    def lacks(self, images: Sequence[Image.Image]) -> str | None:
        """Why a table of predictions does not hold these images; None where it does, or a network reads them."""
        return self.classifier.lacks(images) if isinstance(self.classifier, PredictedLabels) else None


def _described(values: np.ndarray) -> str:
    return f"{values.shape} in [{values.min():.3g}, {values.max():.3g}]" if values.size else f"{values.shape}"


def best_threshold(values: np.ndarray, shown: np.ndarray) -> float:
    """The threshold t of the largest F1 of `values >= t` (N,) against `shown` (N,), half-way to the next lower value.

    Of several the highest.

    >>> best_threshold(np.array([0.1, 0.4, 0.6, 0.8]), np.array([False, False, True, True]))
    0.5
    """
    order = np.argsort(-values, kind="stable")
    sorted_values, hits = values[order], np.cumsum(shown[order])
    f1 = 2 * hits / (np.arange(1, len(values) + 1) + shown.sum())
    f1[:-1][sorted_values[:-1] == sorted_values[1:]] = -1  # equal values are above a threshold together
    last = int(np.argmax(f1))
    lower = sorted_values[last + 1] if last + 1 < len(values) else 0.0
    return float((sorted_values[last] + lower) / 2)
