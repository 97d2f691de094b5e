"""Statistics of a reference set in one file. They stand in for its images, and for the reports of the whole of it.

Of each feature space: mean (D,) and covariance (D, D) of the images' features and, where that is allowed, the features (N, D).
Of the reports: in how many cases' reports each n-gram stands, of those that stand in two or more. An n-gram that stands in one
report alone counts in CIDEr as one that stands in none, so the file holds nothing that is a single report's own.
"""

import hashlib
import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from medim.common.declared import shown
from medim.common.errors import UserError
from medim.common.files import atomic_path, hash_of
from medim.data.dataset import PairDataset
from medim.imaging.images import GEOMETRY
from medim.perception.space import Space
from tasks.cases import has_images
from tasks.metrics.image.features import FeatureBank
from tasks.metrics.text.captioning import protocol_named
from tasks.metrics.text.ngrams import Documents, References
from tasks.protocols import Case

VERSION = 1
INDEX, GRAMS, COUNTS = "index", "grams", "counts"
TEXTS = ("dataset", "dataset_fingerprint", "split", "terms", "cases", "tokenisation")
STATED = dict.fromkeys(TEXTS, str) | {"n": int, "resolution": int}  # what is read of a file beside its arrays
_UNZIP = OSError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError
_DAMAGED = *_UNZIP, ValueError, TypeError, LookupError, AttributeError


@dataclass(frozen=True)
class SpaceStatistics:
    """What is known of the reference images in one feature space: moments of N of them, and their features (N, D) or None.
    `geometry`: how the images were made square."""

    name: str
    geometry: str
    n: int
    mean: np.ndarray
    covariance: np.ndarray
    features: np.ndarray | None


@dataclass(frozen=True)
class ReferenceStatistics:
    """A file of statistics, read."""

    path: Path
    fingerprint: str  # hash of the file's bytes
    about: Mapping[str, Any]  # by the names in `STATED`; the resolution in pixels, a hash of the cases
    spaces: Mapping[str, SpaceStatistics]  # by the fingerprint of the feature space
    documents: Documents
    _weighted: dict[int, tuple[References, References]] = field(default_factory=dict, compare=False, repr=False)

    @property
    def signature(self) -> str:
        """For the signature of what was scored against it."""
        return f"statistics {self.fingerprint} of {self.about['n']} cases of '{self.about['dataset']}', {self.about['split']}"

    def of_space(self, space: Space, cases: Sequence[Case]) -> SpaceStatistics:
        """The statistics of a feature space; features only where they are of these cases, for others no patients are known.
        Raises UserError: the file has none of this space and these weights, or pictures were made square otherwise."""
        found = self.spaces.get(space.fingerprint)
        if found is None:
            names = ", ".join(f"{one.name} ({key})" for key, one in self.spaces.items())
            raise UserError(f"'{self.path}' has statistics of {names}, and none of {space.name} ({space.fingerprint})")
        if found.geometry != GEOMETRY:
            raise UserError(f"'{self.path}' has features of pictures by '{found.geometry}', and here they are by '{GEOMETRY}'")
        return found if self.is_of(cases) else replace(found, features=None)

    def is_of(self, cases: Sequence[Case]) -> bool:
        """Whether these are the cases, in order: by id, patient and report."""
        return bool(self.about["cases"] == _identity(cases))

    def unlike(self, dataset: PairDataset, split: str, resolution: int | None) -> str | None:
        """Why it cannot stand for a split of a data set at a resolution in pixels, None for any; None where it can."""
        about = self.about
        if split != about["split"]:
            return f"of split '{about['split']}', not '{split}'"
        if resolution not in (None, about["resolution"]):
            return f"of images of {about['resolution']} px, not {resolution}: --resolution {about['resolution']}"
        if has_images(dataset) and dataset.fingerprint != about["dataset_fingerprint"]:
            return f"of other data ('{about['dataset']}') than --data, which has images itself"
        return None

    def on(self, references: References) -> References:
        """References whose n-grams are weighted by the frequencies in this set.
        Raises UserError: its reports were tokenised otherwise."""
        stated = self.about["tokenisation"]
        if stated != references.tokenisation:
            raise UserError(
                f"'{self.path}' counts tokens of '{stated}', and here they are of '{references.tokenisation}': export it with "
                "the same --protocol, and with or without Java as here"
            )
        if id(references) not in self._weighted:  # counted once for all systems; holding both keeps the id theirs
            self._weighted[id(references)] = references, references.weighted(self.documents)
        return self._weighted[id(references)][1]


def write_reference(
    path: Path,
    cases: Sequence[Case],
    banks: Sequence[FeatureBank],
    protocol: str,
    about: Mapping[str, Any],
    with_features: bool,
) -> dict[str, Any]:
    """Writes the statistics of cases in some feature spaces, and of their reports, atomically; the same give the same bytes.
    Returns what the file says of itself. Raises UserError: a feature space fails, or there are less than two cases."""
    if len(cases) < 2:
        raise UserError(f"statistics need at least two cases, here are {len(cases)}")
    arrays: dict[str, np.ndarray] = {}
    spaces: dict[str, Any] = {}
    for number, bank in enumerate(banks):
        features = bank.features([case.image for case in cases], keep=True)
        centred = (features - (mean := features.mean(axis=0))) / np.sqrt(len(features) - 1)
        arrays |= {f"mean-{number}": mean, f"covariance-{number}": centred.T @ centred}
        arrays |= {f"features-{number}": features} if with_features else {}
        space: dict[str, Any] = {"features": bank.space.name, "resize": bank.space.resize, "geometry": GEOMETRY}
        spaces[bank.space.fingerprint] = space | {"dimension": features.shape[1], "number": number}
    references = protocol_named(protocol).references([(case.report, *case.other_reports) for case in cases])
    grams = references.shared()
    index = {**about, "version": VERSION, "n": len(cases), "cases": _identity(cases), "spaces": spaces}
    index |= {"protocol": protocol, "tokenisation": references.tokenisation, "with_features": with_features}
    index["n-grams"] = len(grams.texts)
    arrays |= {GRAMS: np.array("\n".join(grams.texts)), COUNTS: grams.counts}
    arrays |= {INDEX: np.array(json.dumps(index, sort_keys=True))}
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]
    return index


def _identity(cases: Sequence[Case]) -> str:
    return hash_of([[case.id, case.patient, case.report] for case in cases])


def read_reference(path: Path) -> ReferenceStatistics:
    """The statistics of a file. Raises UserError: it is missing, damaged, or of another version."""
    try:
        fingerprint = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        with np.load(path, allow_pickle=False) as stored:
            about = json.loads(str(stored[INDEX]))
            if about["version"] != VERSION:
                raise UserError(f"'{path}': version {about['version']} of these files, and this program reads {VERSION}")
            spaces = {key: _space(stored, about["n"], one) for key, one in about["spaces"].items()}
            texts = str(stored[GRAMS])
            if wrong := [name for name, kind in STATED.items() if not isinstance(about[name], kind)]:
                raise TypeError(f"'{wrong[0]}' is {shown(about[wrong[0]])}")
            documents = Documents(about["n"], tuple(texts.split("\n") if texts else ()), stored[COUNTS])
            if documents.counts.shape != (len(documents.texts),) or documents.counts.min(initial=2) < 2:
                raise ValueError(
                    f"{len(documents.texts)} n-grams with counts of shape {documents.counts.shape}, 2 or more each"
                )
    except FileNotFoundError:
        raise UserError(f"'{path}' does not exist: `medim-bench data reference DATA --out FILE` writes it") from None
    except _DAMAGED as error:
        raise UserError(f"'{path}' holds no reference statistics, or is damaged ({type(error).__name__}: {error})") from error
    return ReferenceStatistics(path, fingerprint, about, spaces, documents)


def _space(stored: Any, n: int, one: Mapping[str, Any]) -> SpaceStatistics:
    number, dimension = one["number"], one["dimension"]
    name = f"features-{number}"
    features = stored[name] if name in stored.files else None
    mean, covariance = stored[f"mean-{number}"], stored[f"covariance-{number}"]
    shapes = (mean.shape, covariance.shape, (n, dimension) if features is None else features.shape)
    if not np.isfinite(mean).all() or not np.isfinite(covariance).all():
        raise ValueError("moments hold NaN or infinity")
    if shapes != ((dimension,), (dimension, dimension), (n, dimension)):
        raise ValueError(f"arrays of shapes {shapes} for {n} images and {dimension} features")
    return SpaceStatistics(one["features"], one["geometry"], n, mean, covariance, features)
