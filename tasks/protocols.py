"""What a task sees of a system and of the data: small protocols, and what passes between them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol, runtime_checkable

from PIL import Image

UNKNOWN_TRAINING = {"source": "folder of predictions"}  # the settings of a system of whose training nothing is known
PROTOCOL = "strict-v1"


@dataclass(frozen=True)
class Case:
    """A reference: what is known of one test case."""

    id: str  # unique within the data set
    patient: str  # the independent unit of every interval
    domain: str | None  # `chest-xray`, `pathology`, ...
    # RGB in the task's geometry (square, padded); side = the task's resolution in pixels. A single black pixel where the data
    # set holds reports alone
    image: Image.Image
    report: str  # the reference text
    findings: frozenset[str] | None  # labels present; None where the data set does not know them
    other_reports: tuple[str, ...] = ()  # further references: texts that are right as well


@dataclass(frozen=True)
class Prediction:
    """What a system gave for one case; a modality that was not requested, or that failed, is None."""

    id: str  # the case's id
    image: Image.Image | None = None
    report: str | None = None
    prompt: str | None = None  # the text the system was conditioned on, where it was
    # of the sample: `seconds` of wall time (its share of the batch), `forwards`, ...
    cost: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    # what else the system reported of the case: JSON-able numbers (nats) and names
    details: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


Cases = Sequence[Case]
Predictions = Sequence[Prediction]


class ModelError(RuntimeError):
    """A model of another library failed on a sample; the message is one line, with the option that is likely to help.
    The other samples go on; where all fail, the command stops with this line."""


@runtime_checkable
class Generator(Protocol):
    """Any system under test: a diffusion pipeline, a baseline, a folder of predictions."""

    name: str  # as shown on the leaderboard
    fingerprint: str  # hash of the weights (or of the predictions)

    def settings(self) -> dict[str, Any]:
        """JSON-able sampler settings; they enter the signature."""

    def generate_images(self, reports: Sequence[str], *, seeds: Sequence[int]) -> list[Image.Image]:
        """One RGB image per report; `seeds` has one entry per report, so results do not depend on batching."""

    def generate_reports(self, images: Sequence[Image.Image], *, seeds: Sequence[int]) -> list[str]:
        """One report per image."""

    def generate_pairs(self, prompts: Sequence[str], *, seeds: Sequence[int]) -> list[tuple[Image.Image, str]]:
        """One image and report per prompt; an empty prompt means none."""


@runtime_checkable
class Accounts(Protocol):
    """A system that knows what its work takes."""

    def cost(self) -> Mapping[str, float]:
        """What each sample of the last `generate_*` call took, its share of the batch: `forwards`, `active_tokens`, `flops`."""


@runtime_checkable
class Reconstructs(Protocol):
    """A system whose image tokenizer can be measured on its own."""

    def reconstruct(self, images: Sequence[Image.Image]) -> list[Image.Image]:
        """The tokenizer's round trip, one image for each image."""


@runtime_checkable
class Scorable(Protocol):
    """A system with a likelihood. `report_vocabulary`: number of report ids."""

    @property
    def report_vocabulary(self) -> int: ...

    def log_likelihood(
        self, images: Sequence[Image.Image], reports: Sequence[str], condition: str, *, draws: int, seeds: Sequence[int]
    ) -> Any:
        """Nats of n pairs. `condition`: `joint`, `report|image`, `image|report`, or a modality alone: `report`, `image`.

        One seed for each pair: its noise depends on nothing else.

        Returns:
            An object with `nats`, -log p or upper bounds on it, (n, 2) for (image, report): 0 where a modality is not part of
            the condition, NaN where the model has no number; `standard_error` over the draws, (n, 2); `estimator`, for
            signatures; `report_tokens` (real tokens and the end), `image_tokens` and `text_bytes` (UTF-8), each (n,).
        """

    def tokenizers(self) -> Mapping[str, str]:
        """Hashes `report_tokenizer` and `image_tokenizer`: nats per token are comparable where that modality's are equal."""

    def report_ids(self, reports: Sequence[str]) -> Any:
        """Reports as the model reads them: ids, the end and padding, (n, length) integers."""


@runtime_checkable
class Roomy(Protocol):
    """A system whose reports have a longest length, which a prompt is a part of."""

    def has_room(self, prompt: str) -> bool:
        """Whether `generate_pairs` takes this prompt: something of the report is left to write."""


@runtime_checkable
class Edits(Protocol):
    """A system that changes a part of an image as its report is changed, and leaves all other tokens.
    `finds_regions`: whether a region may be None."""

    @property
    def finds_regions(self) -> bool: ...

    def edit(
        self,
        images: Sequence[Image.Image],
        reports: Sequence[str],
        new_reports: Sequence[str],
        *,
        regions: Sequence[Any],
        seeds: Sequence[int],
    ) -> Sequence[Any]:
        """One edited pair for each; a region is a boolean array (height, width), or None for the system to find it.
        Returns objects with `image` and `report`, `codes` (image tokens (N,) now) and `redrawn` (N booleans in any shape)."""

    def image_codes(self, images: Sequence[Image.Image]) -> Any:
        """Image tokens (n, ...) before any edit, to compare with those after it."""


class Request(Protocol):
    """What a system knows of a task (`tasks.task.Task`). `name`: as on the command line. `needs`: the modalities that an answer
    must have. `prompted`: each sample answers its own case."""

    @property
    def name(self) -> str: ...

    @property
    def needs(self) -> Sequence[str]: ...

    @property
    def prompted(self) -> bool: ...


@runtime_checkable
class Limited(Protocol):
    """A system that cannot do every task."""

    def cannot(self, task: Request) -> str | None:
        """Why it cannot do this task, in one line; None where it can."""


@runtime_checkable
class Answered(Protocol):
    """A system whose predictions exist already: they are looked up by case. `name`, `fingerprint`: as of a `Generator`."""

    @property
    def name(self) -> str: ...

    @property
    def fingerprint(self) -> str: ...

    def settings(self) -> dict[str, Any]:
        """JSON-able; they enter the signature."""

    def answers(self, task: Request, cases: Sequence[str], known: Collection[str]) -> "Answers":
        """What it has for these cases. `cases`: ids of the cases to be scored, in their order. `known`: ids of all pairs of the
        split (`tasks.cases.SplitIds` says why one is no case). A prediction of an id that no split has is a mistake, unless
        samples answer no case. Raises UserError: predictions that answer nothing."""


@runtime_checkable
class BringsReferences(Protocol):
    """Answers with the references that they are to be scored against, in place of the data set's: one or more by case's id."""

    references: Mapping[str, tuple[str, ...]]


class Answers(Protocol):
    """The predictions of an `Answered` system for some cases."""

    ids: list[str]  # of the cases that it answers, in the cases' order
    note: str | None  # what a reader should know of the others; None where there is nothing to say

    def predictions(self, ids: Sequence[str]) -> list[Prediction]:
        """The predictions for some of these ids, images decoded. Raises UserError: an image cannot be read."""
