"""The datum: one image, its report, and where both come from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class ImageReportPair:
    """One image and one report of a study."""

    id: str  # unique within its data set
    image: Image.Image | Path  # a decoded image, or the path of one (decoded by `medim.imaging.images.read_image`)
    report: str | None  # the text; None where a set has images only
    split: str  # train, val or test
    study: str  # shared by the images of one study of a patient; scored once. Not unique across patients
    patient: str  # the independent unit of every split and interval
    view: str | None = None
    domain: str | None = None  # `chest-xray`, `pathology`, ...
    findings: tuple[str, ...] | None = None  # labels (may be empty); None where the data set has none
    terms: str | None = None  # licence or data-use terms, copied into every derived artifact
    # named parts of the report (`findings`, `impression`), where the source has them
    sections: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)  # other fields of the source
