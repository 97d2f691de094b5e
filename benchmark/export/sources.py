"""Where the pairs of an export come from: a model's slots, each with as many attempts as it needs, or pairs that exist."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from PIL import Image

from benchmark.export.prompts import Prompts
from benchmark.run.generation import sample_seed
from medim.common.errors import UserError
from medim.common.files import hash_of
from medim.data.dataset import PairDataset
from medim.imaging.images import read_image, to_rgb
from medim.pair import SPLITS
from tasks.metrics.pair.domains import DomainReader
from tasks.protocols import Generator

TASK = "export"
_IN_A_ROW = 4  # slots that fail, at least, before a model counts as broken
_DOMAIN_REPORTS = 256  # training reports by which the domains are told apart
Drawn = TypeVar("Drawn")


@dataclass(frozen=True)
class Place:
    """One attempt (from 0) at one slot (from 0)."""

    slot: int
    attempt: int


@dataclass(frozen=True)
class Candidate:
    """A pair before the gate.

    Attributes:
        image: RGB.
        fields: what its metadata say of it beside the report: `id`, `split`, `patient`, `study`, `terms`, `synthetic`, and
            of a generated one `seed`, `prompt`, `model`, `model_hash`.
    """

    place: Place
    image: Image.Image
    report: str
    fields: dict[str, Any] = field(repr=False)

    @property
    def id(self) -> str:
        return str(self.fields["id"])

    @property
    def content(self) -> str:
        """Hash of the report and the pixels: two pairs of equal content are one."""
        digest = hashlib.sha256(f"{len(self.report)}:{self.report}{self.image.size}".encode(errors="surrogatepass"))
        digest.update(self.image.tobytes())
        return digest.hexdigest()[:32]


@dataclass(frozen=True)
class Broken:
    """A place that gave no pair."""

    place: Place
    id: str
    error: str


class Source(Protocol):
    """Something with numbered slots.

    Attributes:
        slots: how many.
        attempts: how often a slot may be tried; pairs that exist have one.
        together: so many consecutive slots leave together, by one attempt, or not at all.
        generates: True for a model: a slot that stays empty is a failure.
    """

    slots: int
    attempts: int
    together: int
    generates: bool

    def draw(self, places: Sequence[Place]) -> list[Candidate | Broken]:
        """One outcome for each place, in their order; it depends on the place alone, not on its batch."""

    def describe(self) -> dict[str, Any]:
        """JSON-able: what the folder's configuration and card say of it."""


def one_by_one(
    draw: Callable[[Sequence[Place]], Iterable[Drawn]], places: Sequence[Place], failed: set[int]
) -> list[Drawn | str]:
    """What `draw` gives for each place; a batch that fails is tried again one by one, and what fails alone gives its error.

    Args:
        failed: slots that failed since one did not, kept from call to call.

    Raises:
        UserError: at once.
        Exception: when `max(len(places), 4)` slots in a row failed: the model itself is broken.
    """
    outcomes: list[Drawn | str] = []
    try:
        outcomes += draw(places)
    except UserError:
        raise
    except Exception:
        outcomes.clear()
    else:
        failed.clear()
        return outcomes
    for place in places:
        try:
            outcomes += draw([place])
        except UserError:
            raise
        except Exception as error:
            failed.add(place.slot)
            if len(failed) >= max(len(places), _IN_A_ROW):
                raise
            outcomes.append(f"{type(error).__name__}: {error}")
        else:
            failed.clear()
    return outcomes


class LearnedDomains:
    """Tells the domain of generated reports by those of the data that the model learned from."""

    def __init__(self, dataset: PairDataset) -> None:
        self.dataset = dataset

    @cached_property
    def _read(self) -> DomainReader:
        size = 0 if len(self.dataset.domains) == 1 else self.dataset.size("train")
        rows = np.random.default_rng(0).permutation(size)[:_DOMAIN_REPORTS]
        pairs = [self.dataset.pair("train", int(row)) for row in rows]
        there = [pair for pair in pairs if pair.report]
        return DomainReader([pair.report or "" for pair in there], [pair.domain for pair in there])

    def __call__(self, reports: Sequence[str]) -> list[str | None]:
        """One for each report."""
        return [self.dataset.domains[0]] * len(reports) if len(self.dataset.domains) == 1 else self._read(reports)


class Generated:
    """Pairs that a model draws from noise or from prompts.

    Args:
        dataset: by whose reports the domain of a pair is told.
        terms: of the data that the model learned from.
    """

    generates, together = True, 1

    def __init__(
        self, model: Generator, slots: int, attempts: int, prompts: Prompts, seed: int, dataset: PairDataset, terms: str
    ) -> None:
        self.model, self.slots, self.attempts, self.prompts, self.seed = model, slots, attempts, prompts, seed
        self.terms, self.domains = terms, LearnedDomains(dataset)
        self._failed: set[int] = set()
        self.prefix = hash_of([model.fingerprint, model.settings(), prompts.fingerprint])[:8]

    def draw(self, places: Sequence[Place]) -> list[Candidate | Broken]:
        drawn = one_by_one(self._draw, places, self._failed)
        return [Broken(p, self._id(p), one) if isinstance(one, str) else one for p, one in zip(places, drawn, strict=True)]

    def _draw(self, places: Sequence[Place]) -> list[Candidate]:
        prompts = [self.prompts[place.slot] for place in places]
        seeds = [sample_seed(self.seed, TASK, f"{place.slot}/{place.attempt}") for place in places]
        pairs = self.model.generate_pairs(prompts, seeds=seeds)
        if len(pairs) != len(places):
            raise ValueError(f"{len(pairs)} pairs for {len(places)} prompts")
        return [
            Candidate(place, to_rgb(image), report, self._fields(place, prompt, seed, domain))
            for place, prompt, seed, (image, report), domain in zip(
                places, prompts, seeds, pairs, self.domains([report for _, report in pairs]), strict=True
            )
        ]

    def _fields(self, place: Place, prompt: str, seed: int, domain: str | None) -> dict[str, Any]:
        name = self._id(place)
        return {
            "id": name, "split": "train", "patient": name, "study": name, "domain": domain, "terms": self.terms,
            "synthetic": True, "prompt": prompt, "seed": seed, "model": self.model.name, "model_hash": self.model.fingerprint,
        }  # fmt: skip

    def _id(self, place: Place) -> str:
        return f"{self.prefix}-{self.seed}-{place.slot:07d}"

    def describe(self) -> dict[str, Any]:
        return {
            "model": self.model.name, "model_hash": self.model.fingerprint, "settings": self.model.settings(), "n": self.slots,
            "seed": self.seed, "attempts": self.attempts, "prompts": self.prompts.fingerprint,
        }  # fmt: skip


class Existing:
    """The pairs of a data set or folder, all splits; what they know of themselves stays with them."""

    generates, attempts, together = False, 1, 1

    def __init__(self, dataset: PairDataset) -> None:
        self.dataset = dataset
        self.starts = {}
        self.slots = 0
        for split in SPLITS:
            self.starts[split] = self.slots
            self.slots += dataset.size(split)
        if not self.slots:
            raise UserError(f"--pairs '{dataset.name}' holds no pairs")

    def draw(self, places: Sequence[Place]) -> list[Candidate | Broken]:
        return [self._draw(place) for place in places]

    def _draw(self, place: Place) -> Candidate | Broken:
        split = next(split for split in reversed(SPLITS) if self.starts[split] <= place.slot and self.dataset.size(split))
        pair = self.dataset.pair(split, place.slot - self.starts[split])
        known = dict(pair.extra)
        known.pop("gate", None)  # judged anew
        known.pop("image_sha256", None)
        stated = {
            "id": pair.id, "split": pair.split, "patient": pair.patient, "study": pair.study, "domain": pair.domain,
            "view": pair.view, "terms": pair.terms or self.dataset.terms,
            "findings": None if pair.findings is None else list(pair.findings), "sections": dict(pair.sections) or None,
            "synthetic": bool(known.get("synthetic", self.dataset.synthetic)),
        }  # fmt: skip
        fields = {**known, **{key: value for key, value in stated.items() if value is not None}}
        try:
            image = read_image(pair.image) if isinstance(pair.image, Path) else to_rgb(pair.image)
        except UserError as error:
            return Broken(place, pair.id, str(error))
        return Candidate(place, image, pair.report or "", fields)

    def describe(self) -> dict[str, Any]:
        return {"pairs": self.dataset.name, "pairs_fingerprint": self.dataset.fingerprint, "n": self.slots}
