"""The arms: what each is trained on. All take the same optimiser steps, `real` apart, which takes the same passes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tasks.augmentation import settings as names
from tasks.augmentation.settings import AugmentationSettings
from tasks.downstream.contract import Example
from tasks.metrics.statistics.bootstrap import derangement

POOLS: Mapping[str, tuple[str, ...]] = {
    names.SYNTHETIC: ("synthetic",),
    names.SYNTHETIC_ONLY: ("synthetic",),
    names.SHUFFLED: ("synthetic",),
    names.PSEUDO: ("pseudo", "further"),
    names.MORE_REAL: ("further",),
    names.PLACEBO: ("placebo",),
}
"""Pools that an arm needs; its pairs come from the first."""


@dataclass(frozen=True)
class Arm:
    kind: str  # of `tasks.augmentation.settings.ARMS`
    level: int | None = None  # pairs added, in per cent of the real ones; None where nothing is added to a level

    @property
    def name(self) -> str:
        """As in tables: `real+synthetic 100 %`."""
        return self.kind if self.level is None else f"{self.kind} {self.level} %"

    @property
    def folder(self) -> str:
        """As a file's name: `real+synthetic-100`."""
        return self.kind if self.level is None else f"{self.kind}-{self.level}"

    @property
    def generated(self) -> bool:
        """Whether generated pairs are added as they are: the system under test; all other arms are anchors."""
        return self.kind in (names.SYNTHETIC, names.SYNTHETIC_ONLY)

    def pairs_of(self, real: int) -> int:
        """How many pairs are added to `real` ones: at least one; 100 % of an arm without a level."""
        return max(1, round(real * (100 if self.level is None else self.level) / 100))

    @property
    def depends_on_generator(self) -> bool:
        """Whether anything of the generator is in it."""
        return self.generated or self.kind in (names.SHUFFLED, names.PSEUDO)


@dataclass(frozen=True)
class Pools:
    """What arms are composed of; every list may be longer than an arm needs."""

    real: Sequence[Example]  # the low-data pairs
    further: Sequence[Example] = ()  # real pairs of other patients
    synthetic: Sequence[Example] = ()  # generated pairs, in the order of their slots
    pseudo: Sequence[Example] = ()  # real images of other patients with reports of the generator
    placebo: Sequence[Example] = ()  # the real pairs after the way of the generated ones


@dataclass(frozen=True)
class Training:
    """What one arm is trained on: `added` of the examples are not of the low-data set."""

    examples: list[Example]
    steps: int
    augment: bool = False
    added: int = 0


def arms_of(settings: AugmentationSettings) -> list[Arm]:
    """The arms of some settings, in the order of tables."""
    levelled = {names.SYNTHETIC: settings.levels, names.MORE_REAL: settings.more_real}
    return [Arm(kind, level) for kind in settings.arms for level in levelled.get(kind, (None,))]


def needed(arms: Sequence[Arm], real: int) -> dict[str, int]:
    """How many pairs of each pool (`synthetic`, `pseudo`, `further`, `placebo`) the arms need, of `real` real ones."""
    counts = {"synthetic": 0, "pseudo": 0, "further": 0, "placebo": 0}
    for arm in arms:
        for pool in POOLS.get(arm.kind, ()):
            counts[pool] = max(counts[pool], arm.pairs_of(real))
    return counts


def training_of(arm: Arm, pools: Pools, steps: int, seed: int) -> Training:
    """The examples of an arm and how long it is trained. `steps`: of all arms; `real` takes half of them, as the passes of
    `real+synthetic 100 %` over half as many pairs. `seed`: of the shuffled arm's permutation. Raises ValueError: a pool is too
    small."""
    real = list(pools.real)
    if arm.kind == names.REAL:
        return Training(real, max(1, steps // 2))
    if arm.kind in (names.REPEATED, names.CLASSICAL):
        again = [replace(example, id=f"{example.id} again") for example in real]
        return Training([*real, *again], steps, augment=arm.kind == names.CLASSICAL)
    wanted = arm.pairs_of(len(real))
    pool: Sequence[Example] = getattr(pools, POOLS[arm.kind][0])
    added = list(pool[:wanted])
    if len(added) < wanted and arm.kind != names.PSEUDO:  # an image that the generator found no words for is left out
        raise ValueError(f"{arm.name}: {wanted} pairs are needed and there are {len(added)}")
    if arm.kind == names.SHUFFLED:
        added = shuffled(added, seed)
    return Training(added if arm.kind == names.SYNTHETIC_ONLY else [*real, *added], steps, added=len(added))


def shuffled(examples: Sequence[Example], seed: int) -> list[Example]:
    """The same images and the same reports, each report (with its findings) to another image; a single pair stays whole."""
    if len(examples) < 2:
        return list(examples)
    order = derangement(len(examples), np.random.default_rng([seed, 0x5F]))
    return [
        replace(example, report=examples[other].report, findings=examples[other].findings)
        for example, other in zip(examples, order, strict=True)
    ]
