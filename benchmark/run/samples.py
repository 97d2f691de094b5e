"""`samples.jsonl`: what a system gave, beside what it was asked for and its per-sample scores."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmark.run.predictions import IMAGES, save_image
from medim.common.files import file_name, write_text
from tasks.protocols import Case, Prediction

SAMPLES = "samples.jsonl"
REFERENCES = "references"
# An anchor's images repeat those of the data set: enough for a gallery are kept. Its per-sample scores are kept for every case.
ANCHOR_IMAGES = 48


def write_samples(
    folder: Path,
    cases: Sequence[Case],
    predictions: Sequence[Prediction],
    scores: Sequence[Mapping[str, float]],
    *,
    paired: bool,
    images: int | None,
    domains: Sequence[str | None] | None = None,
) -> None:
    """Writes `folder/samples.jsonl` and those of its images that are not there yet.

    Args:
        folder: `<out>/samples/<task>/<system>`.
        paired: each sample answers its own case, so the case stands beside it as the reference; in unprompted joint
            generation it does not.
        images: how many samples keep their image; None for all.
        domains: of the samples; None takes those of their cases.
    """
    if domains is None:
        domains = [case.domain for case in cases]
    lines: list[dict[str, Any]] = []
    for position, (case, prediction, values) in enumerate(zip(cases, predictions, scores, strict=True)):
        keeps_images = images is None or position < images
        name = file_name(case.id)
        image = reference = None
        if prediction.image is not None and keeps_images:
            image = f"{IMAGES}/{name}.png"
            if not (folder / image).exists():
                save_image(prediction.image, folder / image)
        if paired and keeps_images:
            reference = f"../{REFERENCES}/{name}.png"
            path = folder.parent / REFERENCES / f"{name}.png"
            if not path.exists():
                save_image(case.image, path)
        lines.append(
            {
                "id": case.id, "image": image, "report": prediction.report, "prompt": prediction.prompt,
                "reference_image": reference, "reference_report": case.report if paired else None,
                "scores": dict(values), "domain": domains[position],
            }
        )  # fmt: skip
    write_text(folder / SAMPLES, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
