"""Which patient belongs to which split: a pure function of the patient, so that a set may grow without moving anybody."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from medim.common.errors import UserError, unknown
from medim.common.files import hash_of, read_json, write_json
from medim.data.dataset import PairDataset, keys_of
from medim.pair import SPLITS


def u_of(key: str, seed: int) -> float:
    """A number in [0, 1) that depends on nothing but `seed` and `key`: the first 53 bits of SHA-256 of both."""
    digest = hashlib.sha256(f"{seed}\0{key}".encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53


def assign(key: str, fractions: Mapping[str, float], seed: int) -> str:
    """The split of `key` (a patient, a site): test where u < test, val where u < test + val, train otherwise.
    A key keeps its split when others are added, and a larger share of `test` or `val` only adds keys to it."""
    u, test = u_of(key, seed), fractions.get("test", 0.0)
    if u < test:
        return "test"
    return "val" if u < test + fractions.get("val", 0.0) else "train"


def nested_order(keys: Iterable[str], seed: int) -> list[str]:
    """The distinct keys by growing `u_of`: the first 1 % of them are among the first 10 %, whatever order they came in."""
    return sorted(set(keys), key=lambda key: (u_of(key, seed), key))


def save_splits(
    path: str | Path, dataset: PairDataset, seed: int | None = None, fractions: Mapping[str, float] | None = None
) -> dict[str, Any]:
    """Writes who is in which split of `dataset` as JSON, and returns it.

    `splits` has, for each split, the number of `pairs`, the sorted `patients` and `sha256`, the hash of the sorted patients
    (16 hex digits): two sets with the same hash hold out the same people. `seed` and `fractions` are those of `assign`,
    null where the source came with its own split.

    Raises UserError: a patient occurs in two splits.
    """
    splits: dict[str, Any] = {}
    seen: dict[str, str] = {}
    for split in SPLITS:
        patients = sorted({keys_of(dataset, split, index).patient for index in range(dataset.size(split))})
        for patient in patients:
            if patient in seen:
                raise UserError(f"patient '{patient}' of data set '{dataset.name}' occurs in {seen[patient]} and in {split}")
        seen.update(dict.fromkeys(patients, split))
        splits[split] = {"pairs": dataset.size(split), "patients": patients, "sha256": hash_of(patients)}
    value = {
        "dataset": dataset.name,
        "fingerprint": dataset.fingerprint,
        "seed": seed,
        "fractions": None if fractions is None else dict(fractions),
        "splits": splits,
    }
    write_json(path, value)
    return value


def load_splits(path: str | Path) -> dict[str, str]:
    """The split of each patient, from a file of `save_splits`.
    Raises UserError: no such file or form, a patient in two splits, or patients that do not have the hash stated."""
    try:
        value = read_json(path)
        splits = {split: (part["patients"], part["sha256"]) for split, part in value["splits"].items()}
    except (KeyError, TypeError, AttributeError):
        raise UserError(f"{path}: is no file of splits: `splits` must hold `patients` and `sha256` for each split") from None
    found: dict[str, str] = {}
    for split, (patients, stated) in splits.items():
        if split not in SPLITS:
            raise UserError(f"{path}: {unknown('split', split, SPLITS)}")
        if hash_of(patients) != stated:
            raise UserError(f"{path}: the patients of {split} do not have the hash {stated}: the file was changed by hand")
        for patient in patients:
            if patient in found:
                raise UserError(f"{path}: patient '{patient}' occurs in {found[patient]} and in {split}")
            found[patient] = split
    return found
