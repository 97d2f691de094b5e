"""The datum: one image, its report, and where both come from."""

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
        study: shared by the images of one study of a patient; scored once. Not unique across patients.
        patient: the independent unit of every split and interval.
        domain: `chest-xray`, `pathology`, ...
        findings: labels (may be empty); None where the data set has none.
        terms: licence or data-use terms, copied into every derived artifact.
        sections: named parts of the report (`findings`, `impression`), where the source has them.
        extra: other fields of the source.
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
