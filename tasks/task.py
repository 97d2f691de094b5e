"""What a task is: it generates with a system, scores what was given, and may ask more, or show more, than others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from PIL import Image

from tasks.protocols import Answered, Case, Generator, Prediction, Reconstructs
from tasks.scoring.scores import Score

if TYPE_CHECKING:
    from medim.data.dataset import PairDataset
    from tasks.scoring.context import Context


@runtime_checkable
class Selective(Protocol):
    """A task that asks of a system what not every `Generator` offers."""

    def refuses(self, generator: Generator | Answered) -> str | None:
        """Why this system cannot be asked, in one line; None where it can."""


@runtime_checkable
class Particular(Protocol):
    """A task that asks of a data set what not every one offers."""

    def refuses_data(self, dataset: "PairDataset") -> str | None:
        """Why this data set cannot be asked, in one line; None where it can."""


@runtime_checkable
class Prepared(Protocol):
    """A task that has to know all cases, and what else the data set holds, before it asks for the first."""

    def prepared(self, cases: Sequence[Case], dataset: "PairDataset") -> "Task":
        """The task, for these cases of this data set."""


@dataclass(frozen=True)
class Anchor:
    """A trivial or ideal system that gives a table its scale.

    Attributes:
        name: real | reconstruction | shuffled | constant.
        predictions: one per case, in the cases' order.
        population: cases whose images the distribution metrics take, where the predictions' own images are the reference set.
    """

    name: str
    predictions: list[Prediction]
    population: list[Case] | None = None


class Task(Protocol):
    """Generates with a system and scores what it gave.

    Attributes:
        name: image-generation | report-generation | joint-generation.
    """

    name: str

    def generate(self, generator: Generator, cases: Sequence[Case], seeds: Sequence[int]) -> list[Prediction]:
        """Predictions for one batch of cases, in their order; `seeds` has one entry per case."""

    def anchors(
        self, cases: Sequence[Case], train: Sequence[Case], reconstructs: Reconstructs | None, seed: int
    ) -> list[Anchor]:
        """The anchor systems of these cases; `train` holds cases of other patients."""

    def score(
        self,
        cases: Sequence[Case],
        predictions: Sequence[Prediction],
        context: "Context",
        population: Sequence[Case] | None = None,
    ) -> tuple[list[Score], list[dict[str, float]]]:
        """Scores, and per-sample scores (one dict per case, in the cases' order)."""


@dataclass(frozen=True)
class Pairing:
    """Two images to be shown side by side, such as a sample and the training image nearest to it; lines that stand below."""

    image: Image.Image
    other: Image.Image
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Exhibition:
    """What a task has to show beside its scores.

    Attributes:
        title: what the pairings are; the lines after the first explain it.
        pairings: the most telling first.
        samples: JSON-able, one dict per sample: what a number cannot say, such as the id of the nearest training pair.
    """

    title: tuple[str, ...]
    pairings: list[Pairing]
    samples: list[dict[str, Any]]


@runtime_checkable
class Exhibits(Protocol):
    """A task whose scores need looking at."""

    def score_and_exhibit(
        self, cases: Sequence[Case], predictions: Sequence[Prediction], context: "Context"
    ) -> tuple[list[Score], list[dict[str, float]], Exhibition]:
        """`Task.score`, and what there is to show."""


@runtime_checkable
class Depicts(Protocol):
    """A task that has pictures or tables of all its samples together."""

    def depicted(self, cases: Sequence[Case], predictions: Sequence[Prediction], context: "Context") -> Mapping[str, bytes]:
        """Contents by file name, to be written beside the system's samples."""
