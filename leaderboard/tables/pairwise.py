"""What is known of pairs of systems, and of a system over its seeds: the schemas of `comparisons.jsonl` and `seeds.jsonl`."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

SEPARABLE = ("better", "worse")


class _OnBoard(BaseModel):
    """Where a value stands, one metric of one task on one board, and its 95 % interval."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    task: str = Field(min_length=1)
    metric: str = Field(min_length=1)
    dataset: str = Field(min_length=1)
    fingerprint: str
    split: str = Field(min_length=1)
    protocol: str = Field(min_length=1)
    ci_low: float | None
    ci_high: float | None

    @model_validator(mode="after")
    def _bounds_come_together(self) -> Self:
        if (self.ci_low is None) != (self.ci_high is None):
            raise ValueError("ci_low and ci_high come together")
        return self

    def to_line(self) -> str:
        """As one line of JSON, without a line end."""
        return json.dumps(self.model_dump(), ensure_ascii=False, allow_nan=False)


class Comparison(_OnBoard):
    """One system against another by one metric; each pair stands twice, once from each side.

    Attributes:
        model, against: names as in the table; `runs` and `against_runs` the runs behind them, one a seed.
        value, against_value: the mean over seeds where there are several.
        difference: `value` less `against_value`.
        p: two-sided, of no difference; `p_adjusted` by Holm over the `family` pairs of the same column.
        test: the test behind p.
        patients: the independent units (samples, where samples answer no case).
        margin: of non-inferiority, in the metric's unit, where one was stated.
        scope: `methods` where both sides have two trainings or more; else the verdict is one of these `checkpoints`.
        smallest_found: where the two are not separable, the true difference that 80 % of repetitions would find.
    """

    model: str = Field(min_length=1)
    runs: list[str]
    value: float
    against: str = Field(min_length=1)
    against_runs: list[str]
    against_value: float
    difference: float
    p: float = Field(ge=0, le=1)
    p_adjusted: float = Field(ge=0, le=1)
    family: int = Field(ge=1)
    test: str
    patients: int = Field(ge=1)
    margin: float | None = Field(gt=0)
    verdict: Literal["better", "worse", "non-inferior", "not separable"]
    scope: Literal["checkpoints", "methods"] = "checkpoints"
    smallest_found: float | None = Field(default=None, ge=0)

    @property
    def separable(self) -> bool:
        return self.verdict in SEPARABLE


class OverSeeds(_OnBoard):
    """One system's mean over its seeds, its interval over patients and, of several trainings, over these.
    `runs`, `seeds`, `values`: one entry a seed."""

    model: str = Field(min_length=1)
    runs: list[str]
    seeds: list[int]
    values: list[float]
    value: float


@dataclass(frozen=True)
class Comparisons:
    """All that was compared among some runs."""

    pairs: Sequence[Comparison] = ()
    seeds: Sequence[OverSeeds] = ()

    def on(self, dataset: str, fingerprint: str, split: str, protocol: str, task: str) -> "Comparisons":
        """Those of one task on one board."""
        where = (dataset, fingerprint, split, protocol, task)

        def here(entry: _OnBoard) -> bool:
            return (entry.dataset, entry.fingerprint, entry.split, entry.protocol, entry.task) == where

        return Comparisons(list(filter(here, self.pairs)), list(filter(here, self.seeds)))

    def of(self, metric: str) -> list[Comparison]:
        """The pairs of one metric."""
        return [pair for pair in self.pairs if pair.metric == metric]


NOTHING = Comparisons()
