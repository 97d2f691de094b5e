"""What a run is scored against: its cases, and what scoring needs beside them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import click

from benchmark.results.provenance import code_fingerprint
from benchmark.run.cache import SharedCache
from benchmark.run.reading import RememberingChecker
from benchmark.systems import best_device
from medim.common.errors import UserError
from medim.common.files import hash_files, hash_of
from medim.data.dataset import PairDataset
from medim.perception.inception import find_weights
from medim.perception.space import DEFAULT, open_features
from tasks.cases import cases_of
from tasks.metrics.clinical.weights import FOLDERS, weights_folder
from tasks.metrics.pair.domains import DomainReader
from tasks.metrics.text.captioning import RELEASED
from tasks.metrics.text.embeddings import text_encoder
from tasks.metrics.text.ngrams import ReferenceCache
from tasks.metrics.text.nltk_meteor import installed_wordnet
from tasks.protocols import PROTOCOL, Case
from tasks.scoring.context import Context
from tasks.scoring.extensions import versions as extensions

TRAIN_PER_CASE = 4
RELEASED_WEIGHTS = ("inception", "inception-clean")  # spaces whose weights are found where they are known to be put


@dataclass(frozen=True)
class Data:
    """The cases of a run, and what scoring needs beside them (built when something is scored).

    Attributes:
        protocol: how reports are scored.
        features: the feature spaces of the image metrics (`medim.perception.space.open_features`).
        cache: what other runs left and will find; None for none.
        scratch: where an index of the training split is kept without a cache: inside the run's own folder.
        judge: folder of a chat model that judges generated pairs; None for none.
        shows: whether the data's terms, or the user by name, allow images of the training split to be shown.
    """

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

    @cached_property
    def ids(self) -> list[str]:
        return [case.id for case in self.cases]

    @cached_property
    def context(self) -> Context:
        folder = None if self.cache is None else self.cache.features
        context = Context.for_dataset(self.dataset, best_device(self.device), self.seed, self.features, folder)
        context = replace(context, protocol=self.protocol, training_folder=folder or self.scratch, judge=self.judge)
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
        return {
            "data": self.dataset.fingerprint, "split": self.split, "resolution": self.resolution, "seed": self.seed,
            "cases": self.ids, "checkers": [checker and checker.fingerprint for checker in checkers],
            "protocol": self.protocol, "features": [_feature_files(spec) for spec in self.features],
            "metrics": [code_fingerprint("tasks"), *extensions()], "texts": text_encoder(),
            "reports": report_files(self.protocol),
            **({} if self.judge is None else {"judge": _feature_files(f"judge:{self.judge}")}),
        }  # fmt: skip


def check_features(specs: Sequence[str]) -> None:
    """Opens every feature space but the default once, on the CPU: what is wrong is told before anything is generated.

    Where the released Inception weights alone are missing, a line on the standard error says so, and its columns stay blank.

    Raises:
        UserError: an unknown space, or a package, a model or a file named that is not there.
    """
    for spec in specs:
        try:
            if spec != DEFAULT:
                open_features(spec)
        except UserError as error:
            if spec not in RELEASED_WEIGHTS:
                raise
            click.echo(f"--features {spec}: its columns will stay blank: {error}", err=True)


def report_files(protocol: str) -> list[Any]:
    """What report metrics find on this machine: the state of the labellers' files and, where the protocol needs it, WordNet."""
    labellers = [_feature_files(f"{name}:{weights_folder(name) or ''}") for name in FOLDERS]
    return [*labellers, protocol == RELEASED and installed_wordnet() is not None]


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
