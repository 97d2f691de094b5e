"""The kinds of checkers that `--checker MODALITY=KIND:FILE` opens."""

from collections.abc import Callable, Sequence
from importlib.metadata import entry_points
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from PIL import Image

from medim.common.errors import UserError, foreign, unknown
from medim.common.files import hash_of
from medim.data.dataset import Checker
from medim.imaging.images import to_tensor
from medim.perception.densenet import ChestNet
from medim.perception.hub import image_settings
from medim.perception.preprocess import normalised, resize_name, resized, weights_hash
from medim.weights.loading import load
from tasks.adapters.checkers.predicted import PredictedLabels
from tasks.metrics.clinical.chest_labeller import ChestLabeller
from tasks.metrics.clinical.chest_labels import LABELS, POSITIVE
from tasks.metrics.clinical.chexbert import CheXbert

ENTRY_POINTS = "medim.checkers"
BATCH = 16


@runtime_checkable
class Classifier(Protocol):
    """Gives images a probability of each of its labels."""

    name: str  # as signatures call it
    weights: str  # hash of its weights alone: what has equal ones is one checker
    feed: str  # what is done before and after the network, for signatures
    labels: tuple[str, ...]

    def probabilities(self, images: Sequence[Image.Image], /) -> np.ndarray:
        """Probabilities (N, labels) in [0, 1] of N images of any size."""


Factory = Callable[[str | None, str], Classifier | Checker]
"""What an entry point names: (what stands after the colon or None, device) -> a `Classifier`, or a checker of reports."""


class ChestClassifier:
    """TorchXRayVision's DenseNet-121. Its operating points are put at 1/2: a sigmoid p becomes p / 2t below its point t, else
    1 - (1 - p) / 2(1 - t)."""

    def __init__(self, path: str, device: str) -> None:
        self.network = ChestNet(path).to(device)
        self.device = device
        self.name, self.weights, self.labels = self.network.name, self.network.weights, self.network.labels
        points = hash_of([round(point, 8) for point in self.network.thresholds])
        self.feed = f"{self.network.resize}, grey in [-1024, 1024], operating points {points} at 1/2"

    def probabilities(self, images: Sequence[Image.Image], /) -> np.ndarray:
        def read(batch: torch.Tensor) -> torch.Tensor:
            p = self.network.logits(self.network.features(batch)).sigmoid()
            points = p.new_tensor(self.network.thresholds)
            return torch.where(p < points, p / (2 * points), 1 - (1 - p) / (2 * (1 - points)))

        return _in_batches(images, self.device, len(self.labels), read)


class TransformersClassifier:
    """A model of transformers' `AutoModelForImageClassification`, with the labels of its `id2label`. By its `problem_type` each
    label has a sigmoid, or all have one softmax.
    Raises UserError: no such model, tensors that are missing or have no place, or a configuration that does not say which."""

    def __init__(self, model: str, device: str) -> None:
        from transformers import AutoModelForImageClassification  # lazy: start-up

        what = f"checker 'transformers:{model}'"
        self.side, self.mean, self.deviation = image_settings(model, what)
        network, _ = load(AutoModelForImageClassification, model, what)
        kind = network.config.problem_type
        kinds: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
            "multi_label_classification": torch.sigmoid,
            "single_label_classification": torch.nn.Softmax(dim=1),
        }
        if kind not in kinds:
            raise UserError(f"{what}: config.json: {unknown('problem_type', str(kind), kinds)}")
        self.activation = kinds[kind]
        self.network = network.float().requires_grad_(False).eval().to(device)
        self.device, self.grey = device, getattr(network.config, "num_channels", 3) == 1
        self.labels = tuple(network.config.id2label[index] for index in range(network.config.num_labels))
        self.name = f"transformers:{Path(model).name if Path(model).exists() else model}"
        self.weights = weights_hash(self.network)
        self.feed = f"{resize_name(self.side)}, mean {list(self.mean)}, deviation {list(self.deviation)}, {kind}"

    def probabilities(self, images: Sequence[Image.Image], /) -> np.ndarray:
        def read(batch: torch.Tensor) -> torch.Tensor:
            pixels = resized(batch, self.side)
            pixels = pixels.mean(1, keepdim=True) if self.grey else pixels
            pixels = normalised(pixels, self.mean, self.deviation)
            return self.activation(self.network(pixel_values=pixels).logits.float())

        return _in_batches(images, self.device, len(self.labels), read)


class Positives:
    """A labeller of reports with codes, as a checker: only positive labels are present, not uncertain ones."""

    labels = LABELS

    def __init__(self, labeller: ChestLabeller | CheXbert) -> None:
        self.labeller = labeller
        self.name, self.fingerprint = labeller.name, f"{labeller.fingerprint}, positives alone"

    def __call__(self, items: Sequence[Any], /) -> list[frozenset[str]]:
        return [
            frozenset(label for label, code in zip(LABELS, row, strict=True) if code == POSITIVE)
            for row in self.labeller.codes(items)
        ]


IMAGES: dict[str, Callable[[str, str], Classifier]] = {
    "torchxrayvision": ChestClassifier,
    "transformers": TransformersClassifier,
    "predictions": PredictedLabels,
}
REPORTS: dict[str, Callable[[str, str], Checker]] = {
    "labeller": lambda _, device: Positives(ChestLabeller()),
    "chexbert": lambda source, device: Positives(CheXbert(source, device)),
}
NEEDED = {"torchxrayvision": "FILE", "transformers": "FOLDER", "predictions": "FILE.csv", "chexbert": "FILE"}
CHEST = ("torchxrayvision", "labeller", "chexbert")  # kinds that read chest X-rays, or reports on them, and nothing else


def open_checker(modality: str, spec: str, device: str) -> Any:
    """A `Classifier` for `image` and `steer`, a checker of reports for `report`, from `KIND` or `KIND:FILE`.
    Raises UserError: an unknown kind, one of the other modality, or what it needs is missing or not as it should be."""
    name, _, argument = spec.partition(":")
    built_in: dict[str, Any] = REPORTS if modality == "report" else IMAGES
    if name in built_in:
        if bool(argument) != (name in NEEDED):
            what = f"needs {NEEDED[name]}: {name}:{NEEDED[name]}" if name in NEEDED else f"takes no file, not '{argument}'"
            raise UserError(f"checker '{name}' {what}")
        if (modality, name) == ("steer", "predictions"):
            raise UserError(f"--checker steer={spec}: what is yet to be drawn is in no table")
        return built_in[name](argument, device)
    registered = {entry.name: entry for entry in entry_points(group=ENTRY_POINTS)}
    if name not in registered:
        raise unknown(f"checker of {'reports' if modality == 'report' else 'images'}", name, [*built_in, *registered])
    with foreign(f"checker '{name}' ({registered[name].value})"):
        opened = registered[name].load()(argument or None, device)
    if modality == "report":
        fits, needed = isinstance(opened, Checker), "name, fingerprint, labels and __call__"
    else:
        fits, needed = isinstance(opened, Classifier), "name, weights, feed, labels and probabilities"
    if not fits:
        raise UserError(f"checker '{name}' of {registered[name].value} cannot serve {modality}=: it lacks one of {needed}")
    return opened


@torch.no_grad()
def _in_batches(
    images: Sequence[Image.Image], device: str, labels: int, read: Callable[[torch.Tensor], torch.Tensor]
) -> np.ndarray:
    rows = [np.empty((0, labels))]
    for _, same_size in groupby(images, key=lambda image: image.size):
        group = list(same_size)
        for start in range(0, len(group), BATCH):
            rows.append(read(to_tensor(group[start : start + BATCH]).to(device)).cpu().double().numpy())
    return np.concatenate(rows)
