"""What a run is scored against: its cases, and what scoring needs beside them."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
from PIL import Image

from benchmark import NO_SCORING, SCORING
from benchmark.provenance import code_fingerprint
from benchmark.run.cache import SharedCache
from benchmark.systems import best_device
from medim.common.errors import UserError
from medim.common.files import hash_files, hash_of, write_json
from medim.data.dataset import Checker, Described, PairDataset
from medim.perception.array import image_key
from medim.perception.inception import find_weights
from medim.perception.space import DEFAULT, open_features
from tasks.cases import cases_of
from tasks.metrics.isolated.environment import environments, state
from tasks.metrics.pair.domains import DomainReader
from tasks.metrics.text.captioning import RELEASED
from tasks.metrics.text.embeddings import text_encoder
from tasks.metrics.text.meteor import installed_wordnet
from tasks.metrics.text.ngrams import ReferenceCache
from tasks.metrics.weights import SOURCES, weights_folder
from tasks.protocols import PROTOCOL, Case
from tasks.scoring.context import Context
from tasks.scoring.extensions import versions as extensions
from tasks.scoring.reference import ReferenceStatistics

TRAIN_PER_CASE = 4
RELEASED_WEIGHTS = ("inception", "inception-clean")  # spaces whose weights are found where they are known to be put


@dataclass(frozen=True)
class Data:
    """The cases of a run, and what scoring needs beside them (built when something is scored).
    `protocol`: how reports are scored.
    `features`: the feature spaces of the image metrics (`medim.perception.space.open_features`).
    `scratch`: where an index of the training split is stored without a cache: inside the run's own folder.
    `judge`: folder of a chat model that judges generated pairs.
    `reference`: statistics that stand in for the cases' images, and for all reports of their set.
    `shows`: whether the data's terms, or the user by name, allow images of the training split to be shown."""

    dataset: PairDataset
    split: str
    resolution: int
    cases: list[Case]
    seed: int
    device: str | None
    protocol: str = PROTOCOL
    features: tuple[str, ...] = (DEFAULT,)
    cache: SharedCache | None = None
    scratch: Path | None = None
    shows: bool = True
    judge: Path | None = None
    brought: str | None = None  # hash of references that the predictions bring in place of the data set's
    reference: ReferenceStatistics | None = None

    @cached_property
    def ids(self) -> list[str]:
        return [case.id for case in self.cases]

    @cached_property
    def context(self) -> Context:
        folder = None if self.cache is None else self.cache.features
        context = Context.for_dataset(self.dataset, best_device(self.device), self.seed, self.features, folder)
        context = replace(context, protocol=self.protocol, training_folder=folder or self.scratch, judge=self.judge)
        context = replace(context, reference=self.reference)
        if self.cache is None:
            return context
        image, report = context.image_checker, context.report_checker
        images, reports = [case.image for case in self.cases], [case.report for case in self.cases]
        return replace(
            context,
            image_checker=image and RememberingChecker(image, images, self.cache.findings),
            report_checker=report and RememberingChecker(report, reports, self.cache.findings),
            references=ReferenceCache(self.cache.tokens / code_fingerprint("tasks")),
        )

    @cached_property
    def read_domains(self) -> DomainReader:
        """Tells the domain of a sample that answers no case."""
        return DomainReader([case.report for case in self.cases], [case.domain for case in self.cases])

    @cached_property
    def train(self) -> list[Case]:
        """Training cases for the anchors to choose from, balanced over domains as they need."""
        if not self.dataset.size("train"):
            return []
        return cases_of(self.dataset, "train", self.resolution, TRAIN_PER_CASE * len(self.cases))

    @cached_property
    def inputs(self) -> dict[str, Any]:
        """What every score depends on, beside the predictions."""
        checkers = [self.dataset.image_checker(), self.dataset.report_checker()]
        inputs: dict[str, Any] = {"data": self.dataset.fingerprint, "split": self.split, "cases": self.ids}
        inputs |= {"resolution": self.resolution, "seed": self.seed, "protocol": self.protocol}
        inputs |= {"checkers": [checker and checker.fingerprint for checker in checkers]}
        inputs |= {"features": [_feature_files(spec) for spec in self.features]}
        inputs |= {"metrics": [code_fingerprint("tasks"), *extensions()], "texts": text_encoder()}
        inputs |= {"reports": report_files(self.protocol)}
        inputs |= {} if self.brought is None else {"references": self.brought}
        inputs |= {} if self.reference is None else {"reference": self.reference.fingerprint}
        return inputs | ({} if self.judge is None else {"judge": _feature_files(f"judge:{self.judge}")})


def check_scoring() -> None:
    """Raises UserError where a package of the extra `scoring` is missing."""
    for package in SCORING:
        if find_spec(package) is None:
            raise UserError(NO_SCORING.format(package))


def check_features(specs: Sequence[str]) -> None:
    """Opens every feature space but the default once, on the CPU, before anything is generated.
    Where the released Inception weights alone are missing, a line on the standard error says so, and its columns stay blank.
    Raises UserError: an unknown space, or a package, a model or a file named that is not there."""
    for spec in specs:
        try:
            if spec != DEFAULT:
                open_features(spec)
        except UserError as error:
            if spec not in RELEASED_WEIGHTS:
                raise
            click.echo(f"--features {spec}: its columns will stay blank: {error}", err=True)


def report_files(protocol: str) -> list[Any]:
    """What report metrics find on this machine: the state of files and environments; WordNet where the protocol needs it."""
    labellers = [_feature_files(f"{name}:{weights_folder(name) or ''}") for name in SOURCES]
    isolated = [[name, None if folder is None else state(folder)] for name, folder in environments().items()]
    return [*labellers, *isolated, protocol == RELEASED and installed_wordnet() is not None]


def _feature_files(spec: str) -> list[str | None]:
    """A feature space with the state of the files that it names: scores follow the weights, not their name."""
    kind, _, argument = spec.partition(":")
    path = Path(argument)
    if kind.startswith("inception") and not argument:
        try:
            path = find_weights()
        except UserError:  # its columns say so; they are scored anew once the file is there
            return [spec, None]
    if argument and path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        return [spec, hash_of([[str(file), file.stat().st_size, file.stat().st_mtime_ns] for file in files])]
    return [spec, hash_files(path) if path.is_file() else None]


class RememberingChecker:
    """Answers for the references from a file, once one run has read all of them; reads everything else.
    `references`: images or reports of the cases; only what was read from these is stored.
    `folder`: where; the file is named by the checker's hash and the references'."""

    def __init__(self, checker: Checker, references: Sequence[Image.Image] | Sequence[str], folder: Path) -> None:
        self.checker = checker
        self.name, self.fingerprint, self.labels = checker.name, checker.fingerprint, checker.labels
        if isinstance(checker, Described):
            self.details = checker.details
        self._references, self._folder = references, folder
        self._found: dict[str, frozenset[str]] = {}

    def __call__(self, items: Sequence[Image.Image] | Sequence[str]) -> list[frozenset[str]]:
        """The labels present in each item."""
        keys = [_key(item) for item in items]
        if not self._found and self._wanted.intersection(keys) and self._file.is_file():
            content = json.loads(self._file.read_text(encoding="utf-8"))
            self._found = {key: frozenset(labels) for key, labels in content.items()}
        missing = {key: item for key, item in zip(keys, items, strict=True) if key not in self._found}
        read: dict[str, frozenset[str]] = {}
        if missing:
            unread: Any = list(missing.values())  # images or reports, as the checker's own
            read = dict(zip(missing, self.checker(unread), strict=True))
            references = {key: labels for key, labels in read.items() if key in self._wanted}
            self._found |= references
            if references and len(self._found) == len(self._wanted):
                write_json(self._file, {key: sorted(labels) for key, labels in self._found.items()})
        return [self._found[key] if key in self._found else read[key] for key in keys]

    @cached_property
    def _wanted(self) -> frozenset[str]:
        return frozenset(_key(item) for item in self._references)

    @cached_property
    def _file(self) -> Path:
        return self._folder / f"{self.fingerprint}-{hash_of(sorted(self._wanted))}.json"


def _key(item: Image.Image | str) -> str:
    return image_key(item) if isinstance(item, Image.Image) else hashlib.sha256(item.encode("utf-8", "replace")).hexdigest()
