"""What a downstream model is: something that is trained on pairs, and what comes of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from PIL import Image

from medim.imaging.images import read_image


@dataclass(frozen=True)
class Example:
    """A pair to train on."""

    id: str  # unique among the examples
    patient: str  # a synthetic pair is a patient by itself
    image: Image.Image | Path  # an RGB picture, or the path of one, which is opened when its turn comes
    report: str
    findings: frozenset[str] | None = None  # labels present; None where they are not known

    def picture(self) -> Image.Image:
        """The image, decoded. Raises UserError where it cannot be read."""
        return read_image(self.image) if isinstance(self.image, Path) else self.image


class Fitted(Protocol):
    """A trained downstream model. `fingerprint` hashes its weights and all else that its answers follow from."""

    @property
    def name(self) -> str: ...

    @property
    def fingerprint(self) -> str: ...

    def settings(self) -> dict[str, Any]:
        """JSON-able: what it is and how it was trained."""


@runtime_checkable
class WritesReports(Fitted, Protocol):
    """A trained report generator; it is a `tasks.protocols.Generator` that can do report generation alone."""

    def generate_reports(self, images: Sequence[Image.Image], *, seeds: Sequence[int]) -> list[str]:
        """One report for each image."""


@runtime_checkable
class FindsLabels(Fitted, Protocol):
    """A trained classifier of images."""

    def findings(self, images: Sequence[Image.Image]) -> list[frozenset[str]]:
        """The labels present in each image."""


class Downstream(Protocol):
    """A model that can be trained on pairs, in one fixed configuration. `name` is that on the leaderboard."""

    @property
    def name(self) -> str: ...

    def fit(
        self,
        train: Sequence[Example],
        validation: Sequence[Example],
        *,
        steps: int,
        seed: int,
        out: Path,
        augment: bool = False,
        evaluate_every: int | None = None,
    ) -> Fitted:
        """Trains from scratch for exactly `steps` optimiser steps, however many examples there are.

        The weights returned are those of the lowest validation loss; nothing else is learned from `validation`. The result
        depends on the examples, `steps`, `seed`, `augment` and `evaluate_every` alone. The same call continues a run that was
        killed, and returns at once what has been trained already.

        Args:
            out: folder of checkpoint, curve (`metrics.jsonl`) and trained model.
            augment: show each training image turned, shifted and in another brightness every time; never mirrored.
            evaluate_every: steps between two evaluations; a tenth of `steps` by default. The last step is always evaluated.

        Raises UserError: no examples, examples without what this model learns from, an image that cannot be read, or `out`
        holds a run of other examples or settings.
        """
