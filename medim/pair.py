"""The datum everywhere: one image, its report, and where both come from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class ImageReportPair:
    """One image and one report of a study.

    Attributes:
        id: unique within its data set.
        image: a decoded image, or the path of one (decoded by `medim.imaging.images.read_image`).
        report: the text; None where a set has images only.
        split: train, val or test.
        study: images of one study of a patient share it; a study is scored once. Other patients may have one of the same name.
        patient: the independent unit of every split and interval.
        domain: `chest-xray`, `pathology`, ...
        findings: labels, where the data set knows them (may be empty); None where it does not.
        terms: licence or data-use terms; they travel into every derived artifact.
        sections: named parts of the report (`findings`, `impression`), where the source has them.
        extra: fields of the source that have no place here, kept as they were.
    """

    id: str
    image: Image.Image | Path
    report: str | None
    split: str
    study: str
    patient: str
    view: str | None = None
    domain: str | None = None
    findings: tuple[str, ...] | None = None
    terms: str | None = None
    sections: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)
