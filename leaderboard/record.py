"""What one result is: the schema of a line of `records.jsonl`, and reading and writing such files."""

import json
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from medim.common.files import write_text
from medim.common.json_lines import read_models

SUMS = "statistics"  # the key of a signature that names the sums by patient which the value follows from
Kind = Literal["measured", "anchor", "reported"]


class Record(BaseModel):
    """One value of one metric for one system, with all that is needed to read it."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    task: str = Field(min_length=1)
    # the system as the page shows it; for an anchor its name (real, reconstruction, shuffled, constant)
    model: str = Field(min_length=1)
    dataset: str = Field(min_length=1)
    split: str = Field(min_length=1)
    # `group: item` or `group: item (modality)` marks one item of a breakdown: `prevalence: left effusion (image)`
    metric: str = Field(min_length=1)
    value: float | None  # in the metric's unit, or None where it was withheld; `reason` then says why
    # ci_low, ci_high: ends of the 95 % interval; both or neither
    ci_low: float | None = None
    ci_high: float | None = None
    # n, coverage, seed: cases behind the value, the share of them that the system answered, in [0, 1], and the seed of the run;
    # None only for published numbers
    n: int | None = Field(ge=0)
    coverage: float | None = Field(ge=0, le=1)
    seed: int | None
    protocol: str = Field(min_length=1)  # strict-v1, medim-paper-v1, or `paper` for published numbers
    signature: dict[str, Any]  # metric, version, tokenisation, feature extractor and weights hash, resize, ...; JSON-able
    kind: Kind
    commit: str
    command: str
    created: str  # ISO 8601
    reason: str | None = None  # why there is no value, or what a reader of the value must know
    higher_is_better: bool | None  # None for a descriptive value (a prevalence, a length), which has no best
    synthetic: bool  # no patient stands behind the data set
    run: str = Field(min_length=1)  # id of the run: a hash

    @field_validator("created")
    @classmethod
    def _is_iso_8601(cls, value: str) -> str:
        datetime.fromisoformat(value)
        return value

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if (self.ci_low is None) != (self.ci_high is None):
            raise ValueError("ci_low and ci_high come together")
        if self.ci_low is not None and self.ci_high is not None and self.ci_low > self.ci_high:
            raise ValueError(f"ci_low {self.ci_low} is above ci_high {self.ci_high}")
        if self.value is None and not self.reason:
            raise ValueError("a record without a value needs a reason")
        if self.kind != "reported" and (self.n is None or self.coverage is None or self.seed is None):
            raise ValueError("n, coverage and seed may be null only in records of kind 'reported'")
        return self

    @property
    def key(self) -> tuple[str | int | None, ...]:
        """What identifies a record: two records of one key must hold the same value."""
        place = (self.dataset, self.split, self.protocol)
        return (self.run, self.task, self.model, *place, self.metric, self.seed, self.kind)

    @property
    def unverified(self) -> bool | None:
        """Whether the value is as stated: no sums by patient to recompute it from. None where nothing was measured."""
        return None if self.value is None or self.kind == "reported" else self.signature.get(SUMS) is None

    def to_line(self) -> str:
        """The record as one line of JSON, without a line end."""
        fields = self.model_dump()
        fields["signature"] = dict(sorted(fields["signature"].items()))  # one record, one line, whoever assembled it
        return json.dumps(fields, ensure_ascii=False, allow_nan=False)


def read_records(path: str | Path) -> list[Record]:
    """Reads a file of records, one JSON object a line.
    Raises UserError: the file cannot be read, or a line is no record; names file, line and field."""
    return [record for _, record in read_models(path, Record)]


def write_records(path: str | Path, records: Iterable[Record]) -> None:
    """Writes records as JSON lines, atomically."""
    write_text(path, "".join(record.to_line() + "\n" for record in records))
