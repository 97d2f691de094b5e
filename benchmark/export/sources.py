"""Where the pairs of an export come from: a model's slots, each with as many attempts as it needs, or pairs that exist.
Prompts come from a file of templates: every value of every placeholder equally often, whichever slots are looked at."""

import hashlib
import math
import string
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from PIL import Image

from benchmark.run.generation import sample_seed
from medim.common.declared import read_yaml
from medim.common.errors import UserError, unknown
from medim.common.files import hash_of
from medim.data.dataset import PairDataset
from medim.imaging.images import read_image, to_rgb
from medim.pair import SPLITS
from tasks.metrics.pair.domains import DomainReader
from tasks.protocols import Generator

TASK, TEMPLATES = "export", "templates"
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
    """A pair before the gate."""

    place: Place
    image: Image.Image  # RGB
    report: str
    # what its metadata say of it beside the report: `id`, `split`, `patient`, `study`, `terms`, `synthetic`, and of a generated
    # one `seed`, `prompt`, `model`, `model_hash`
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
    """Something with numbered slots."""

    slots: int  # how many
    attempts: int  # how often a slot may be tried; pairs that exist have one
    together: int  # so many consecutive slots leave together, by one attempt, or not at all
    generates: bool  # True for a model: a slot that stays empty is a failure

    def draw(self, places: Sequence[Place]) -> list[Candidate | Broken]:
        """One outcome for each place, in their order; it depends on the place alone, not on its batch."""

    def describe(self) -> dict[str, Any]:
        """JSON-able: what the folder's configuration and card say of it."""


def one_by_one(
    draw: Callable[[Sequence[Place]], Iterable[Drawn]], places: Sequence[Place], failed: set[int]
) -> list[Drawn | str]:
    """What `draw` gives for each place; a batch that fails is tried again one by one, and what fails alone gives its error.
    `failed`: slots that failed since one did not, from call to call. Raises UserError: at once. Raises Exception: when
    `max(len(places), 4)` slots in a row failed: the model itself is broken."""
    try:
        together = list(draw(places))
    except UserError:
        raise
    except Exception:
        outcomes: list[Drawn | str] = []
    else:
        failed.clear()
        return [*together]
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


def drawn_fields(model: Generator, id: str, terms: str, domain: str | None, prompt: str, seed: int) -> dict[str, Any]:
    """The metadata of a pair that a model drew: its own patient, in the training split."""
    return {
        "id": id,
        "split": "train",
        "patient": id,
        "study": id,
        "domain": domain,
        "terms": terms,
        "synthetic": True,
        "prompt": prompt,
        "seed": seed,
        "model": model.name,
        "model_hash": model.fingerprint,
    }


def described(model: Generator, slots: int, seed: int, attempts: int) -> dict[str, Any]:
    """What an export says of a model that draws its pairs."""
    return {
        "model": model.name,
        "model_hash": model.fingerprint,
        "settings": model.settings(),
        "n": slots,
        "seed": seed,
        "attempts": attempts,
    }


class Generated:
    """Pairs that a model draws from noise or from prompts. `dataset`: whose reports tell the domain of a pair. `terms`: of the
    data that the model learned from."""

    generates, together = True, 1

    def __init__(
        self, model: Generator, slots: int, attempts: int, prompts: "Prompts", seed: int, dataset: PairDataset, terms: str
    ) -> None:
        self.model, self.slots, self.attempts, self.prompts, self.seed = model, slots, attempts, prompts, seed
        self.dataset, self.terms = dataset, terms
        self._failed: set[int] = set()
        self.prefix = hash_of([model.fingerprint, model.settings(), prompts.fingerprint])[:8]

    def draw(self, places: Sequence[Place]) -> list[Candidate | Broken]:
        drawn = one_by_one(self._draw, places, self._failed)
        return [Broken(p, self._id(p), one) if isinstance(one, str) else one for p, one in zip(places, drawn, strict=True)]

    def _draw(self, places: Sequence[Place]) -> Iterator[Candidate]:
        prompts = [self.prompts[place.slot] for place in places]
        seeds = [sample_seed(self.seed, TASK, f"{place.slot}/{place.attempt}") for place in places]
        pairs = self.model.generate_pairs(prompts, seeds=seeds)
        if len(pairs) != len(places):
            raise ValueError(f"{len(pairs)} pairs for {len(places)} prompts")
        domains = self._domains([report for _, report in pairs])
        for place, prompt, seed, (image, report), domain in zip(places, prompts, seeds, pairs, domains, strict=True):
            fields = drawn_fields(self.model, self._id(place), self.terms, domain, prompt, seed)
            yield Candidate(place, to_rgb(image), report, fields)

    def _domains(self, reports: Sequence[str]) -> Sequence[str | None]:
        known = self.dataset.domains
        return [known[0]] * len(reports) if len(known) == 1 else self._domain_reader(reports)

    @cached_property
    def _domain_reader(self) -> DomainReader:
        rows = np.random.default_rng(0).permutation(self.dataset.size("train"))[:_DOMAIN_REPORTS]
        pairs = [pair for pair in (self.dataset.pair("train", int(row)) for row in rows) if pair.report]
        return DomainReader([pair.report or "" for pair in pairs], [pair.domain for pair in pairs])

    def _id(self, place: Place) -> str:
        return f"{self.prefix}-{self.seed}-{place.slot:07d}"

    def describe(self) -> dict[str, Any]:
        return {**described(self.model, self.slots, self.seed, self.attempts), "prompts": self.prompts.fingerprint}


class Existing:
    """The pairs of a data set or folder, all splits, with all their fields."""

    generates, attempts, together = False, 1, 1

    def __init__(self, dataset: PairDataset) -> None:
        self.dataset = dataset
        ends = list(accumulate(dataset.size(split) for split in SPLITS))
        self.starts, self.slots = dict(zip(SPLITS, [0, *ends], strict=False)), ends[-1]
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
        stated = {key: getattr(pair, key) for key in ("id", "split", "patient", "study", "domain", "view")} | {
            "terms": pair.terms or self.dataset.terms,
            "findings": None if pair.findings is None else list(pair.findings),
            "sections": dict(pair.sections) or None,
            "synthetic": bool(known.get("synthetic", self.dataset.synthetic)),
        }
        fields = {**known, **{key: value for key, value in stated.items() if value is not None}}
        try:
            image = read_image(pair.image) if isinstance(pair.image, Path) else to_rgb(pair.image)
        except UserError as error:
            return Broken(place, pair.id, str(error))
        return Candidate(place, image, pair.report or "", fields)

    def describe(self) -> dict[str, Any]:
        return {"pairs": self.dataset.name, "pairs_fingerprint": self.dataset.fingerprint, "n": self.slots}


@dataclass(frozen=True)
class Prompts:
    """The prompt of each slot of an export, a function of the slot alone.

    Template k mod T serves slot k. Its placeholders run through their values side by side, shifted once all that lies between
    two equal combinations has been seen: any run of slots has each value equally often but one, and a run as long as the
    product of the lists has every combination once.
    """

    templates: tuple[str, ...] = ("",)  # texts with `{name}` placeholders
    values: Mapping[str, tuple[str, ...]] | None = None  # by placeholder, in a shuffled order
    fingerprint: str = ""  # hash of the file's content and the seed; empty for no prompts

    def __getitem__(self, slot: int) -> str:
        """The prompt of a slot (from 0)."""
        turn, number = divmod(slot, len(self.templates))
        template = self.templates[number]
        names = _placeholders(template)
        lists = [(self.values or {})[name] for name in names]
        digits = diagonal(turn, [len(values) for values in lists])
        chosen = {name: values[digit] for name, values, digit in zip(names, lists, digits, strict=True)}
        return template.format_map(chosen)

    @classmethod
    def read(cls, path: Path, seed: int = 0) -> "Prompts":
        """The prompts of a YAML file: `templates`, a list of texts, and one list of texts for each placeholder.
        Raises UserError: the file cannot be read, or a template names a placeholder that has no list."""
        try:
            content = read_yaml(path.read_bytes(), str(path))
        except OSError as error:
            raise UserError(f"{path}: cannot be read: {error.strerror}") from None
        if not isinstance(content, dict) or TEMPLATES not in content:
            raise UserError(f"{path}: needs 'templates', a list of texts such as 'A {{modality}} of the {{region}}'")
        lists = {str(key): _texts(path, str(key), value) for key, value in content.items()}
        templates = lists.pop(TEMPLATES)
        used: set[str] = set()
        for template in templates:
            for name in _placeholders(template, path):
                if name not in lists:
                    raise UserError(f"{path}: template {template!r}: {unknown('placeholder', name, lists)}")
                used.add(name)
        if idle := sorted(set(lists) - used):
            raise UserError(f"{path}: no template uses {{{idle[0]}}}")
        values = {name: _shuffled(lists[name], [seed, number]) for number, name in enumerate(sorted(lists))}
        return cls(tuple(templates), values, hash_of([templates, lists, seed]))


def diagonal(number: int, sizes: Sequence[int]) -> list[int]:
    """Digits d_i in [0, sizes[i]) of a number: each digit cycles, and the product of the sizes covers every combination.

    >>> [diagonal(number, [2, 2]) for number in range(4)]
    [[0, 0], [1, 1], [0, 1], [1, 0]]
    """
    number %= math.prod(sizes)
    digits, period = [], 1
    for size in sizes:
        shift = number % (period * size) // math.lcm(period, size)  # what stands before repeats after `period`
        digits.append((number + shift) % size)
        period *= size
    return digits


def _placeholders(template: str, path: Path | None = None) -> list[str]:
    try:
        fields = [(name, spec, conversion) for _, name, spec, conversion in string.Formatter().parse(template)]
    except ValueError as error:
        raise UserError(f"{path}: template {template!r}: {error}") from None
    names = [name for name, spec, conversion in fields if name is not None]
    if any(name is not None and (not name.isidentifier() or spec or conversion) for name, spec, conversion in fields):
        raise UserError(f"{path}: template {template!r}: a placeholder is a plain name in braces")
    return list(dict.fromkeys(names))


def _texts(path: Path, key: str, value: Any) -> list[str]:
    if not isinstance(value, list) or not value or not all(isinstance(item, str) for item in value):
        raise UserError(f"{path}: field '{key}' must be a list of texts that is not empty")
    if len(set(value)) < len(value):
        raise UserError(f"{path}: field '{key}' names a text twice")
    return value


def _shuffled(values: Sequence[str], seed: Sequence[int]) -> tuple[str, ...]:
    order = np.random.default_rng(list(seed)).permutation(len(values))
    return tuple(values[index] for index in order)
