"""Predictions on disk: appended batch by batch, so that a killed command continues; and `samples.jsonl`, with their scores."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from medim.common.files import atomic_path, file_name, hash_files, hash_of, write_text
from tasks.protocols import Case, Prediction

GENERATED = "generated.jsonl"
IMAGES = "images"
SAMPLES = "samples.jsonl"
REFERENCES = "references"
# An anchor's images repeat those of the data set: enough for a gallery are stored, and the per-sample scores of every case.
ANCHOR_IMAGES = 48


def save_image(image: Image.Image, path: Path) -> None:
    """Writes a PNG, atomically."""
    with atomic_path(path) as temporary:
        image.save(temporary, format="PNG")


class PredictionStore:
    """The predictions of one system in one folder: `generated.jsonl` and `images/`. A line is written after its image, and
    counts only when it is whole: what a killed process left of a line, or a line whose image is gone, is generated again."""

    def __init__(self, folder: Path, commit: str = "") -> None:
        """Reads what is there; `commit` is noted in the lines that are added."""
        self.folder = folder
        self.commit = commit
        self.path = folder / GENERATED
        self.lines: dict[str, dict[str, Any]] = {line["id"]: line for line in self._read()}

    def _read(self) -> Iterator[dict[str, Any]]:
        if not self.path.exists():
            return
        content = self.path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            os.truncate(self.path, len(whole))
        for text in whole.decode("utf-8").split("\n"):
            if text:
                line = json.loads(text)
                if line["image"] is None or (self.folder / line["image"]).is_file():
                    yield line

    def __contains__(self, id: str) -> bool:
        return id in self.lines

    def append(self, predictions: Sequence[Prediction], seeds: Mapping[str, int | None]) -> None:
        """Adds predictions (their images first) and returns when they are on disk; a seed is None where none is known."""
        lines = [self._line(prediction, seeds[prediction.id]) for prediction in predictions]
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as stream:
            stream.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
            stream.flush()
            os.fsync(stream.fileno())
        self.lines.update((line["id"], line) for line in lines)

    def _line(self, prediction: Prediction, seed: int | None) -> dict[str, Any]:
        name = None
        if prediction.image is not None:
            name = f"{IMAGES}/{file_name(prediction.id)}.png"
            save_image(prediction.image, self.folder / name)
        line: dict[str, Any] = {"id": prediction.id, "image": name, "report": prediction.report, "prompt": prediction.prompt}
        line |= {"seed": seed, "cost": dict(prediction.cost), "commit": self.commit}
        return line | ({"details": dict(prediction.details)} if prediction.details else {})

    def predictions(self, ids: Sequence[str]) -> list[Prediction]:
        """The predictions of `ids`, images decoded; an id without one gives an empty prediction."""
        return [self._prediction(id) for id in ids]

    def _prediction(self, id: str) -> Prediction:
        line = self.lines.get(id)
        if line is None:
            return Prediction(id)
        image = None
        if line["image"] is not None:
            with Image.open(self.folder / line["image"]) as opened:
                image = opened.convert("RGB")
        return Prediction(id, image, line["report"], line["prompt"], line["cost"], line.get("details", {}))

    def commits(self, ids: Sequence[str]) -> list[str]:
        """The commits of the code that generated these, sorted; empty where another program did."""
        return sorted({self.lines[id]["commit"] for id in ids if id in self.lines} - {""})

    def fingerprint(self, ids: Sequence[str]) -> str:
        """Hash of what was predicted for `ids`: reports, image bytes and details (costs and seeds are no part)."""
        parts = []
        for id in ids:
            line = self.lines.get(id)
            image = hash_files(self.folder / line["image"]) if line and line["image"] else None
            details = [line["details"]] if line and "details" in line else []
            parts.append([id, image, line["report"] if line else None, *details])
        return hash_of(parts)


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
    """Writes `folder/samples.jsonl` and those of its images that are not there yet. `folder`: `<out>/samples/<task>/<system>`.
    `paired`: each sample answers its own case, which then stands beside it as the reference. `images`: how many samples have
    their image stored; None for all. `domains`: of the samples; None takes those of their cases."""
    if domains is None:
        domains = [case.domain for case in cases]
    lines: list[dict[str, Any]] = []
    for position, (case, prediction, values) in enumerate(zip(cases, predictions, scores, strict=True)):
        shown = images is None or position < images
        name = file_name(case.id)
        image = reference = None
        if prediction.image is not None and shown:
            image = f"{IMAGES}/{name}.png"
            if not (folder / image).exists():
                save_image(prediction.image, folder / image)
        if paired and shown:
            reference = f"../{REFERENCES}/{name}.png"
            path = folder.parent / REFERENCES / f"{name}.png"
            if not path.exists():
                save_image(case.image, path)
        line = {"id": case.id, "image": image, "report": prediction.report, "prompt": prediction.prompt}
        line |= {"reference_image": reference, "reference_report": case.report if paired else None}
        lines.append(line | {"scores": dict(values), "domain": domains[position]})
    write_text(folder / SAMPLES, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
