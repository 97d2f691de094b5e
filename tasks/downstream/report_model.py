"""Report generators among the downstream models: a vocabulary of words, a network, and writing."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from PIL import Image

from medim.common.errors import UserError
from medim.imaging.images import square, to_tensor
from tasks.adapters.adapter import OneTask
from tasks.downstream.contract import Example
from tasks.downstream.fitting import Recipe
from tasks.downstream.network import ReportNetwork
from tasks.downstream.trained import Trainable
from tasks.downstream.words import WordTokenizer

BATCH = 64
"""Images that are described at once."""


class ReportWriter(OneTask):
    """A trained report generator: a `Generator` for report generation alone. It writes without chance.

    Args:
        network: in evaluation mode.
        side: of the images that it is shown, in pixels.
    """

    task = "report-generation"

    def __init__(
        self, network: ReportNetwork, tokenizer: Any, side: int, name: str, fingerprint: str, settings: Mapping[str, Any]
    ) -> None:
        super().__init__(name, fingerprint, settings)
        self.network, self.tokenizer, self.side = network, tokenizer, side
        self.resolution = side

    @torch.inference_mode()
    def generate_reports(self, images: Sequence[Image.Image], *, seeds: Sequence[int]) -> list[str]:
        """One report for each image."""
        reports: list[str] = []
        device = next(self.network.parameters()).device
        for start in range(0, len(images), BATCH):
            pixels = to_tensor([square(image, self.side) for image in images[start : start + BATCH]])
            reports += [self.tokenizer.decode(ids) for ids in self.network.write(pixels.to(device))]
        return reports


class ReportModel(Trainable[ReportNetwork]):
    """A report generator over a vocabulary of the training reports' words.

    Args:
        threshold: how often a word must occur in the training reports to be known.
        longest: tokens of a report, the end included.
    """

    def __init__(self, name: str, side: int, recipe: Recipe, device: str, threshold: int, longest: int) -> None:
        super().__init__(name, side, recipe, device)
        self.threshold, self.longest = threshold, longest

    @abstractmethod
    def build(self, size: int) -> ReportNetwork:
        """The network for `size` ids, of which 0 is begin, end and padding, and the last `<unk>`."""

    def read(self, train: Sequence[Example], validation: Sequence[Example]) -> dict[str, Any]:
        for example in (*train, *validation):
            if not example.report.strip():
                raise UserError(f"{self.name}: example '{example.id}' has no report to learn from")
        return WordTokenizer.train((example.report for example in train), self.threshold, self.longest).state()

    def targets(self, examples: Sequence[Example], known: Mapping[str, Any]) -> torch.Tensor:
        return WordTokenizer(**known).encode([example.report for example in examples])

    def network(self, known: Mapping[str, Any]) -> ReportNetwork:
        return self.build(WordTokenizer(**known).size)

    def fitted(
        self, network: ReportNetwork, known: Mapping[str, Any], fingerprint: str, settings: Mapping[str, Any]
    ) -> ReportWriter:
        return ReportWriter(network, WordTokenizer(**known), self.side, self.name, fingerprint, settings)
