"""Who is in which set, fixed by a hash of the patient before anything is generated or trained."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from medim.common.errors import UserError
from medim.common.files import hash_of
from medim.data.dataset import Keys, PairDataset, keys_of
from medim.data.sources.selection import Subset
from medim.data.splits import nested_order
from medim.imaging.images import read_image, square
from medim.pair import ImageReportPair
from tasks.cases import at_resolution
from tasks.downstream.contract import Example
from tasks.protocols import Case

REAL_SET, OTHER_SET, VALIDATION_SET, TEST_SET = "real", "further", "validation", "test"
SPLIT_OF = {REAL_SET: "train", OTHER_SET: "train", VALIDATION_SET: "val", TEST_SET: "test"}


@dataclass(frozen=True)
class Division:
    """Four sets of pairs without a common patient."""

    dataset: PairDataset  # the whole data set
    subset: Subset  # the low-data set; its name is what a budget-matched generator has to be trained on
    # of each set, positions in its split (`SPLIT_OF`): `real` in the data set's order, `further` (training pairs of other
    # patients) in the order in which they would join, `validation` and `test` one a study
    rows: Mapping[str, Sequence[int]]

    @cached_property
    def keys(self) -> Mapping[str, list[Keys]]:
        """Ids, patients and studies of each set, for each row."""
        return {name: [keys_of(self.dataset, SPLIT_OF[name], row) for row in rows] for name, rows in self.rows.items()}

    def patients(self, name: str) -> list[str]:
        """The patients of a set, each once, by name."""
        return sorted({key.patient for key in self.keys[name]})

    def as_json(self) -> dict[str, Any]:
        sets = {}
        for name, keys in self.keys.items():
            patients, ids = self.patients(name), [key.id for key in keys]
            counts = {"split": SPLIT_OF[name], "pairs": len(keys)}
            sets[name] = {**counts, "patients": patients, "sha256": hash_of(patients), "ids": ids}
        subset = self.subset
        return {"dataset": subset.name, "fingerprint": subset.fingerprint, "seed": subset.seed, "sets": sets}

    @property
    def fingerprint(self) -> str:
        return hash_of(self.as_json())

    def examples(self, name: str, resolution: int, count: int | None = None) -> list[Example]:
        """The first `count` pairs of a set (all by default) to train on, images squares of `resolution` pixels, in memory.
        Raises UserError: a pair without a report, an image that cannot be read."""
        return [Example(pair.id, pair.patient, *_content(pair)) for pair in self._pairs(name, resolution, count)]

    def cases(self, name: str, resolution: int) -> list[Case]:
        """The pairs of a set to be tested on. Raises as `examples`."""
        return [Case(pair.id, pair.patient, pair.domain, *_content(pair)) for pair in self._pairs(name, resolution, None)]

    def _pairs(self, name: str, resolution: int, count: int | None) -> Iterator[ImageReportPair]:
        drawn = at_resolution(self.dataset, resolution)
        for row in self.rows[name][:count]:
            pair = drawn.pair(SPLIT_OF[name], row)
            if pair.report is None or not pair.report.strip():
                raise UserError(
                    f"pair '{pair.id}' of data set '{self.dataset.name}' has no report: nothing can be learned from it"
                )
            image = read_image(pair.image) if isinstance(pair.image, Path) else pair.image
            yield replace(pair, image=square(image, resolution))


def _content(pair: ImageReportPair) -> tuple[Any, str, frozenset[str] | None]:
    return pair.image, str(pair.report), None if pair.findings is None else frozenset(pair.findings)


def divide(dataset: PairDataset, *, train: float, further: float, validation: int, test: int) -> Division:
    """Divides a data set. A set that is a `Subset` already (`--data D:train=1%`) is the low-data set itself.
    `train`: share of the training patients in the low-data set; ignored for a `Subset`.
    `further`: most training pairs of other patients, as a multiple of the low-data pairs; fewer where there are no more.
    `validation`, `test`: most cases, whole patients; at least one patient.
    Raises UserError: an empty split, or one patient in two sets."""
    subset = dataset if isinstance(dataset, Subset) else Subset(dataset, train)
    base, seed = subset.base, subset.seed
    for split in ("val", "test"):
        if not base.size(split):
            raise UserError(
                f"data set '{base.name}' has no pairs in split '{split}': augmentation chooses on val and is tested on test"
            )
    real_ids = {keys_of(subset, "train", index).id for index in range(subset.size("train"))}
    keys = [keys_of(base, "train", index) for index in range(base.size("train"))]
    real = [row for row, key in enumerate(keys) if key.id in real_ids]
    of_real = {keys[row].patient for row in real}
    others: dict[str, list[int]] = {}
    for row, key in enumerate(keys):
        if key.patient not in of_real:
            others.setdefault(key.patient, []).append(row)
    joining = [row for patient in nested_order(others, seed) for row in others[patient]]
    rows = {
        REAL_SET: real,
        OTHER_SET: joining[: round(further * len(real))],
        VALIDATION_SET: _held_out(base, "val", validation, seed),
        TEST_SET: _held_out(base, "test", test, seed),
    }
    division = Division(base, subset, rows)
    seen: dict[str, str] = {}
    for name in rows:
        for patient in division.patients(name):
            if patient in seen:
                raise UserError(
                    f"patient '{patient}' of data set '{base.name}' is in {seen[patient]} and in {name}: "
                    "augmentation needs splits without common patients (medim-bench data check)"
                )
            seen[patient] = name
    return division


def _held_out(dataset: PairDataset, split: str, most: int, seed: int) -> list[int]:
    """Rows of whole patients by the hash of the patient, one a study, as many as fit into `most`."""
    studies: dict[str, dict[str, int]] = {}
    for row in range(dataset.size(split)):
        key = keys_of(dataset, split, row)
        studies.setdefault(key.patient, {}).setdefault(key.study, row)
    kept: list[int] = []
    for patient in nested_order(studies, seed):
        if kept and len(kept) + len(studies[patient]) > most:
            break
        kept += studies[patient].values()
    return sorted(kept)
