"""Who is in which set, fixed by a hash of the patient before anything is generated or trained."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medim.common.errors import UserError
from medim.common.files import hash_of
from medim.data.dataset import PairDataset, keys_of
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
    """Four sets of pairs without a common patient.

    Attributes:
        dataset: the whole data set.
        subset: the low-data set; its name is what a budget-matched generator has to be trained on.
        rows: of each set, positions in its split (`SPLIT_OF`): `real` in the data set's order, `further` (training pairs of
            other patients) in the order in which they would join, `validation` and `test` one a study.
        patients: of each set, for each row.
        ids: of each set, for each row.
    """

    dataset: PairDataset
    subset: Subset
    rows: Mapping[str, tuple[int, ...]]
    patients: Mapping[str, tuple[str, ...]]
    ids: Mapping[str, tuple[str, ...]]

    def told(self) -> dict[str, Any]:
        """JSON-able: `splits.json`."""
        sets = {
            name: {
                "split": SPLIT_OF[name], "pairs": len(self.rows[name]), "patients": sorted(set(self.patients[name])),
                "sha256": hash_of(sorted(set(self.patients[name]))), "ids": list(self.ids[name]),
            }
            for name in self.rows
        }  # fmt: skip
        return {
            "dataset": self.subset.name, "fingerprint": self.subset.fingerprint, "seed": self.subset.seed, "sets": sets,
        }  # fmt: skip

    @property
    def fingerprint(self) -> str:
        """Hash of `told()`."""
        return hash_of(self.told())

    def examples(self, name: str, resolution: int, count: int | None = None) -> list[Example]:
        """The first `count` pairs of a set (all by default) to train on, images squares of `resolution` pixels, in memory.

        Raises:
            UserError: a pair without a report, an image that cannot be read.
        """
        return [
            Example(pair.id, pair.patient, _square(pair, resolution), _report(self.dataset, pair), _findings(pair))
            for pair in self._pairs(name, resolution, count)
        ]

    def cases(self, name: str, resolution: int) -> list[Case]:
        """The pairs of a set to be tested on.

        Raises:
            UserError: a pair without a report, an image that cannot be read.
        """
        return [
            Case(pair.id, pair.patient, pair.domain, _square(pair, resolution), _report(self.dataset, pair), _findings(pair))
            for pair in self._pairs(name, resolution, None)
        ]

    def _pairs(self, name: str, resolution: int, count: int | None) -> Iterator[ImageReportPair]:
        drawn = at_resolution(self.dataset, resolution)
        rows = self.rows[name] if count is None else self.rows[name][:count]
        return (drawn.pair(SPLIT_OF[name], row) for row in rows)


def divide(dataset: PairDataset, *, train: float, further: float, validation: int, test: int) -> Division:
    """Divides a data set. A set that is a `Subset` already (`--data D:train=1%`) is the low-data set itself.

    Args:
        train: share of the training patients in the low-data set; ignored for a `Subset`.
        further: most training pairs of other patients, as a multiple of the low-data pairs; fewer where there are no more.
        validation, test: most cases, whole patients; at least one patient.

    Raises:
        UserError: an empty split, or one patient in two sets.
    """
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
    own = {keys[row].patient for row in real}
    others: dict[str, list[int]] = {}
    for row, key in enumerate(keys):
        if key.patient not in own:
            others.setdefault(key.patient, []).append(row)
    wanted = round(further * len(real))
    rows = {
        REAL_SET: real,
        OTHER_SET: [row for patient in nested_order(others, seed) for row in others[patient]][:wanted],
        VALIDATION_SET: _held_out(base, "val", validation, seed),
        TEST_SET: _held_out(base, "test", test, seed),
    }
    named = {name: [keys_of(base, SPLIT_OF[name], row) for row in kept] for name, kept in rows.items()}
    division = Division(
        base, subset, {name: tuple(kept) for name, kept in rows.items()},
        {name: tuple(key.patient for key in kept) for name, kept in named.items()},
        {name: tuple(key.id for key in kept) for name, kept in named.items()},
    )  # fmt: skip
    _check_disjoint(division)
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


def _check_disjoint(division: Division) -> None:
    seen: dict[str, str] = {}
    for name, patients in division.patients.items():
        for patient in set(patients):
            if patient in seen:
                raise UserError(
                    f"patient '{patient}' of data set '{division.dataset.name}' is in {seen[patient]} and in {name}: "
                    "augmentation needs splits without common patients (medim-bench data check)"
                )
        seen.update(dict.fromkeys(patients, name))


def shares(count: int, levels: Sequence[int]) -> dict[int, int]:
    """How many pairs each level in per cent of `count` is, at least one."""
    return {level: max(1, round(count * level / 100)) for level in levels}


def _square(pair: ImageReportPair, resolution: int) -> Any:
    return square(read_image(pair.image) if isinstance(pair.image, Path) else pair.image, resolution)


def _report(dataset: PairDataset, pair: ImageReportPair) -> str:
    if pair.report is None or not pair.report.strip():
        raise UserError(f"pair '{pair.id}' of data set '{dataset.name}' has no report: nothing can be learned from it")
    return pair.report


def _findings(pair: ImageReportPair) -> frozenset[str] | None:
    return None if pair.findings is None else frozenset(pair.findings)
