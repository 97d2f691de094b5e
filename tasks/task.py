"""A task: what a system generates, how that is scored, and all that is true of the task by name."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self, TypeVar

from PIL import Image

from medim.canvas import Modality
from medim.common.errors import UserError
from medim.data.dataset import PairDataset
from tasks.protocols import Accounts, Answered, Case, Cases, Generator, Prediction, Predictions, Reconstructs
from tasks.scoring.context import Context
from tasks.scoring.scores import Scored

Output = TypeVar("Output")


@dataclass(frozen=True)
class Anchor:
    """A trivial or ideal system that gives a table its scale."""

    name: str  # real | reconstruction | shuffled | constant | nearest neighbour | training copy
    predictions: list[Prediction]  # one per case, in the cases' order
    # cases whose images the distribution metrics take, where the predictions' own images are the reference set
    population: list[Case] | None = None


@dataclass(frozen=True)
class Pairing:
    """Two images to be shown side by side, such as a sample and the training image nearest to it; lines that stand below."""

    image: Image.Image
    other: Image.Image
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Exhibition:
    """What a task shows of single samples beside its scores."""

    title: tuple[str, ...]  # what the pairings are; the lines after the first explain it
    pairings: list[Pairing]  # the most telling first
    samples: list[dict[str, Any]]  # JSON-able, one dict per sample, such as the id of the nearest training pair


class Task(ABC):
    """Generates with a system and scores what it gave.
    A subclass states the class attributes and overrides the defaults that do not hold for it. A package registers its class as
    an entry point of the group `medim.tasks`; it is built without arguments."""

    name: ClassVar[str]  # as on the command line, in records and in folders
    # title, intro: heading and first sentence of its table
    title: ClassVar[str]
    intro: ClassVar[str] = ""
    # the modalities that a prediction must have to answer a case; empty where either will do
    needs: ClassVar[tuple[Modality, ...]] = ()
    by_statistics: ClassVar[bool] = False  # `tasks.scoring.reference` can stand in for the cases' images
    # each sample answers its own case. Where not, a prediction bears a case's id only to be counted
    prompted: ClassVar[bool] = True
    # columns of the printed table, the primary metric first; without any, the first that there are
    headline_metrics: ClassVar[tuple[str, ...]] = ()
    order: ClassVar[int] = 1000  # place among the tasks, ascending

    def card(self) -> dict[str, Any]:
        """What a manifest says of the task, JSON-able."""
        return {
            "title": self.title,
            "intro": self.intro,
            "needs": list(self.needs),
            "prompted": self.prompted,
            "headline_metrics": list(self.headline_metrics),
            "order": self.order,
        }

    def refuses(self, generator: Generator | Answered) -> str | None:
        """Returns why this system cannot do the task, in one line; None where it can."""
        return None

    def refuses_data(self, dataset: PairDataset) -> str | None:
        """Returns why this data set cannot serve the task, in one line; None where it can."""
        return None

    def prepared(self, cases: Cases, dataset: PairDataset) -> Self:
        """Returns the task with what it needs to know of all cases, and of the data set, before the first batch."""
        return self

    @abstractmethod
    def generate(self, generator: Generator, cases: Cases, seeds: Sequence[int]) -> list[Prediction]:
        """Returns predictions for one batch of cases, in their order; `seeds` has one entry per case."""

    def anchors(self, cases: Cases, train: Cases, reconstructs: Reconstructs | None, seed: int) -> list[Anchor]:
        """Returns the anchor systems of these cases; `train` holds cases of other patients."""
        return []

    @abstractmethod
    def score(self, cases: Cases, predictions: Predictions, context: Context, population: Cases | None = None) -> Scored:
        """Returns scores, and per-sample scores (one dict per case, in the cases' order).
        `population`: see `Anchor`; tasks without distribution metrics ignore it."""

    def exhibit(self, cases: Cases, predictions: Predictions, context: Context) -> Exhibition | None:
        """Returns single samples to look at, after `score` of the same predictions."""
        return None

    def pictures(self, cases: Cases, predictions: Predictions, context: Context) -> Mapping[str, bytes]:
        """Returns pictures or tables of all samples together: contents by file name, written beside the system's samples."""
        return {}


def timed_batch(
    generate: Callable[[], Sequence[Output]], name: str, what: str, count: int, system: object = None
) -> tuple[Sequence[Output], dict[str, float]]:
    """Returns the outputs of one batch, and the cost of each: its share of the batch's wall time in seconds.
    `system`: what generated; where it `Accounts` for its calls, its costs are added.
    Raises UserError: another number of outputs than `count`."""
    start = time.perf_counter()
    outputs = generate()
    seconds = time.perf_counter() - start
    if len(outputs) != count:
        raise UserError(f"generator '{name}' gave {len(outputs)} {what} for {count} cases")
    counted = dict(system.cost()) if isinstance(system, Accounts) else {}
    return outputs, {"seconds": seconds / count, **counted}


def check_seeds(cases: Sequence[object], seeds: Sequence[int]) -> None:
    """Raises ValueError unless there is one seed per case."""
    if len(cases) != len(seeds) or not cases:
        raise ValueError(f"{len(cases)} cases but {len(seeds)} seeds")
