"""What a classifier calls a finding, and what the data set calls it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from medim.common.declared import checked, read_mapping, read_table
from medim.common.errors import UserError, unknown
from medim.common.files import hash_of, read_text


class Entry(BaseModel):
    """What a label stands for, with the threshold of its probability."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    finding: str
    threshold: Annotated[float, Field(ge=0, le=1)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _of_a_name(cls, given: Any) -> Any:
        return {"finding": given} if isinstance(given, str) else given


class LabelFile(BaseModel):
    """A file of `--checker-labels`: by modality a label of the checker and its finding, or null where it is to be ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    image: dict[str, Entry | None] = {}
    report: dict[str, str | None] = {}
    steer: dict[str, Entry | None] = {}


@dataclass(frozen=True)
class LabelMap:
    """The finding of each label that has one; several labels may stand for one finding. `columns`: by finding, the places of
    its labels. `thresholds`: those that the user gave, by finding."""

    columns: Mapping[str, tuple[int, ...]]
    thresholds: Mapping[str, float]
    fingerprint: str

    @property
    def findings(self) -> tuple[str, ...]:
        return tuple(self.columns)

    @classmethod
    def of(
        cls, labels: Sequence[str], findings: Sequence[str] | None, given: Mapping[str, str | Entry | None], where: str
    ) -> "LabelMap":
        """The map of a checker's labels to the data's findings.
        A label that `given` does not name stands for the one finding of its name, else of another name of `names.yaml`.
        `findings`: of the data; None where it states none: each label is then a finding, by CheXpert's name.
        `where`: names `given` in errors.
        Raises UserError: `given` names a label or a finding that does not exist, or two thresholds of one finding."""
        columns: dict[str, list[int]] = {}
        thresholds: dict[str, float] = {}
        if strangers := [label for label in given if label not in labels]:
            raise UserError(f"{where}: {unknown('label', strangers[0], labels)}")
        for place, label in enumerate(labels):
            entry = given[label] if label in given else _finding(label, findings)
            finding = entry.finding if isinstance(entry, Entry) else entry
            if finding is not None and findings is not None and finding not in findings:
                raise UserError(f"{where}: label '{label}': {unknown('finding', finding, findings)}")
            threshold = entry.threshold if isinstance(entry, Entry) else None
            if finding is not None and threshold is not None and thresholds.setdefault(finding, threshold) != threshold:
                raise UserError(f"{where}: finding '{finding}' has two thresholds")
            if finding is not None:
                columns.setdefault(finding, []).append(place)
        order = columns if findings is None else [finding for finding in findings if finding in columns]
        named_labels = {finding: [labels[place] for place in columns[finding]] for finding in order}
        return cls({finding: tuple(columns[finding]) for finding in order}, thresholds, hash_of(named_labels))


def read_label_file(path: Path | None) -> LabelFile:
    """The file, or an empty one. Raises UserError: it cannot be read, or a field is unknown or invalid."""
    if path is None:
        return LabelFile()
    return checked(LabelFile, read_mapping(read_text(path), str(path)), str(path))


def is_finding(name: str) -> bool:
    """Whether a name says that something is there, and not that nothing is."""
    return _canonical(name) != "no finding"


def _finding(label: str, findings: Sequence[str] | None) -> str | None:
    if not is_finding(label):
        return None
    if findings is None:
        return _canonical(label)
    same = [finding for finding in findings if _normal(finding) == _normal(label)]
    same = same or [finding for finding in findings if _canonical(finding) == _canonical(label)]
    return same[0] if len(same) == 1 else None  # several: which is meant is not known


def _normal(name: str) -> str:
    return " ".join(name.lower().replace("_", " ").replace("-", " ").split())


def _canonical(name: str) -> str:
    normal = _normal(name)
    return _CANONICAL.get(normal, normal)


_NAMES = read_table(Path(__file__).with_name("names.yaml"), dict[str, tuple[str, ...]])
_CANONICAL = {other: name for name, others in _NAMES.items() for other in others}
