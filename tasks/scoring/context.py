"""What scoring needs besides the predictions: checkers, features and the seed, computed once per content."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from medim.common.errors import UserError, foreign
from medim.data.dataset import Checker, Described, PairDataset
from medim.imaging.images import GEOMETRY
from medim.perception.array import image_key
from medim.perception.space import DEFAULT, Space, open_features
from tasks.metrics.image.features import FeatureBank
from tasks.metrics.text.ngrams import ReferenceCache
from tasks.protocols import PROTOCOL
from tasks.scoring.reference import ReferenceStatistics

NO_FINDINGS: frozenset[str] = frozenset()


@dataclass
class Context:
    """Built once per run and shared by all systems, so that the references are measured once."""

    # image_checker, report_checker: None where the data set has none; metrics that need one are then withheld
    image_checker: Checker | None = None
    report_checker: Checker | None = None
    device: str = "cpu"  # where features are computed
    seed: int = 0  # of every resampling; equal seeds give equal intervals
    protocol: str = PROTOCOL
    # the feature spaces of the distribution metrics, as `medim.perception.space.open_features` takes them
    features: Sequence[str] = (DEFAULT,)
    feature_folder: Path | None = None  # where features of reference sets outlive the run; None: nowhere
    training_folder: Path | None = None  # where an index of the training split outlives the run; None: nowhere
    opener: Callable[[str, str], Space] = open_features  # opens a feature space, at its first use
    # reference reports, tokenised and counted once for all systems
    references: ReferenceCache = field(default_factory=ReferenceCache, repr=False)
    # folder of a chat model that judges pairs (`tasks.metrics.pair.judge`); None: pairs are not judged
    judge: Path | None = None
    reference: ReferenceStatistics | None = None  # stands in for the cases' images, and for all reports of their set
    dataset: PairDataset | None = None  # for tasks that look beyond the cases; None where there is none
    # what a task computed once for all systems, by its own key
    cached: dict[str, Any] = field(default_factory=dict, repr=False)
    _banks: dict[str, FeatureBank | UserError] = field(default_factory=dict, repr=False)
    _image_findings: dict[str, frozenset[str]] = field(default_factory=dict, repr=False)
    _report_findings: dict[str, frozenset[str]] = field(default_factory=dict, repr=False)

    @classmethod
    def for_dataset(
        cls,
        dataset: PairDataset,
        device: str = "cpu",
        seed: int = 0,
        features: Sequence[str] = (DEFAULT,),
        feature_folder: Path | None = None,
    ) -> "Context":
        """The context of one data set, with its checkers."""
        return cls(
            dataset.image_checker(),
            dataset.report_checker(),
            device,
            seed,
            features=tuple(dict.fromkeys(features)),
            feature_folder=feature_folder,
            dataset=dataset,
        )

    @property
    def brings_report_checker(self) -> bool:
        """Whether the data set itself has a report checker, as phantoms have: that one alone reads its reports."""
        return self.report_checker is not None and not isinstance(self.report_checker, Described)

    def bank(self, spec: str) -> FeatureBank:
        """The features of one space, opened at its first use.
        Raises UserError: it cannot be opened; the same error again, without trying again."""
        if spec not in self._banks:
            try:
                with foreign(f"feature space '{spec}' cannot be opened"):
                    self._banks[spec] = FeatureBank(self.opener(spec, self.device), self.device, self.feature_folder)
            except UserError as error:
                self._banks[spec] = error
        bank = self._banks[spec]
        if isinstance(bank, UserError):
            raise bank
        return bank

    def image_findings(self, images: Sequence[Image.Image | None]) -> list[frozenset[str]]:
        """Findings that the image checker reads; a missing image shows none. Raises ValueError: there is no image checker.
        Raises UserError: it fails."""
        return _checked(self.image_checker, "image", self._image_findings, images, image_key)

    def report_findings(self, reports: Sequence[str | None]) -> list[frozenset[str]]:
        """Findings that the report checker reads; a missing report states none. Raises ValueError: there is no report checker.
        Raises UserError: it fails."""
        return _checked(self.report_checker, "report", self._report_findings, reports, lambda report: report)


def space_signature(space: Space) -> dict[str, Any]:
    """Name, weights hash and geometry of a feature space, for signatures."""
    signature: dict[str, Any] = {"features": space.name, "features_weights": space.fingerprint}
    signature |= {"resize": space.resize, "geometry": GEOMETRY}
    return signature | ({"trained_against": "perceptual loss of image tokenizers"} if space.trained_against else {})


def _checked(
    checker: Checker | None, modality: str, cache: dict[str, frozenset[str]], items: Sequence[Any], key: Callable[[Any], str]
) -> list[frozenset[str]]:
    """What a checker reads; each content once."""
    if checker is None:
        raise ValueError(f"the data set has no {modality} checker")
    keys = [None if item is None else key(item) for item in items]
    missing = {name: item for name, item in zip(keys, items, strict=True) if name is not None and name not in cache}
    if missing:
        with foreign(f"{modality} checker '{checker.name}' failed"):
            cache.update(zip(missing, checker(list(missing.values())), strict=True))
    return [NO_FINDINGS if name is None else cache[name] for name in keys]
