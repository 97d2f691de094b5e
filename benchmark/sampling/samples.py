"""Samples to look at, without a score: images, reports or pairs in one folder, with a contact sheet."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from benchmark.results.provenance import commit
from benchmark.run.artifacts import Artifacts
from benchmark.run.generation import FAILURES, Failure, GenerateBatch, Item, generate_missing, write_failures
from benchmark.run.predictions import PredictionStore
from benchmark.run.samples import SAMPLES
from benchmark.sampling.contact_sheet import write_contact_sheet
from medim.common.files import write_text
from medim.data.dataset import PairDataset
from tasks.cases import cases_of
from tasks.generating import timed_batch
from tasks.protocols import Generator, Prediction

KINDS = ("image", "report", "pair")
SHEET = "contact_sheet.png"


@dataclass(frozen=True)
class Slot:
    """What one sample is drawn for.

    Attributes:
        text: the report to draw (image), or the prompt (pair; empty for none).
        image: the image to describe (report).
    """

    id: str
    text: str = ""
    image: Image.Image | None = None


def slots_of(n: int, prompt: str | None, dataset: PairDataset | None, split: str, resolution: int) -> list[Slot]:
    """The slots of `n` samples: from the data set where one is given, else `n` times the prompt (or none).

    Raises:
        UserError: the split is unknown or empty, or an image cannot be read.
    """
    if dataset is None:
        return [Slot(f"{index:05d}", prompt or "") for index in range(n)]
    return [Slot(case.id, case.report, case.image) for case in cases_of(dataset, split, resolution, n)]


def sample(
    kind: str,
    model: Generator,
    slots: Sequence[Slot],
    out: Path,
    *,
    inputs: dict[str, Any],
    seed: int,
    batch_size: int,
    overwrite: bool = False,
) -> list[Failure]:
    """Draws one sample for each slot into `out`: `images/`, `samples.jsonl` and `contact_sheet.png`.

    Args:
        kind: image (slots' texts -> images), report (slots' images -> reports) or pair (slots' texts are prompts).
        inputs: where the slots come from, for the folder's configuration.

    Raises:
        UserError: `out` belongs to another configuration.
    """
    configuration = {
        "kind": kind, "model": model.name, "model_fingerprint": model.fingerprint, "settings": model.settings(),
        "seed": seed, "n": len(slots), **inputs,
    }  # fmt: skip

    def generate(batch: Sequence[Slot], seeds: Sequence[int]) -> list[Prediction]:
        texts, pictures = [slot.text for slot in batch], [slot.image for slot in batch if slot.image is not None]
        images: Sequence[Image.Image | None] = [None] * len(batch)
        reports: Sequence[str | None] = [None] * len(batch)
        how = model.name, f"{kind}s", len(batch), model
        if kind == "image":
            images, cost = timed_batch(lambda: model.generate_images(texts, seeds=seeds), *how)
        elif kind == "report":
            reports, cost = timed_batch(lambda: model.generate_reports(pictures, seeds=seeds), *how)
        else:
            pairs, cost = timed_batch(lambda: model.generate_pairs(texts, seeds=seeds), *how)
            images, reports = zip(*pairs, strict=True)
        prompts = [None if kind == "report" else text or None for text in texts]
        return [
            Prediction(slot.id, image, report, prompt, cost)
            for slot, image, report, prompt in zip(batch, images, reports, prompts, strict=True)
        ]

    def show(drawn: Sequence[Slot], predictions: Sequence[Prediction]) -> None:
        shown = [(p.image or s.image, p.report or s.text) for p, s in zip(predictions, drawn, strict=True)]
        write_contact_sheet(out / SHEET, [image for image, _ in shown if image is not None], [text for _, text in shown])

    return draw_into(
        out, configuration, slots, generate, show, kind=kind, system=model.name, seed=seed, batch_size=batch_size,
        overwrite=overwrite,
    )  # fmt: skip


def draw_into(
    out: Path,
    configuration: dict[str, Any],
    slots: Sequence[Item],
    generate: GenerateBatch[Item],
    show: Callable[[Sequence[Item], Sequence[Prediction]], None],
    *,
    kind: str,
    system: str,
    seed: int,
    batch_size: int,
    overwrite: bool,
) -> list[Failure]:
    """Draws what `out` lacks, writes `samples.jsonl`, and lets `show` make a sheet of the slots that were drawn.

    Raises:
        UserError: `out` belongs to another configuration.
    """
    with Artifacts.claim(out, configuration, overwrite):
        store = PredictionStore(out, commit=commit())
        failures = generate_missing(store, slots, generate, task=kind, system=system, seed=seed, batch_size=batch_size)
        write_failures(out / FAILURES, failures)
        drawn = [slot for slot in slots if slot.id in store]
        lines = [store.lines[slot.id] for slot in drawn]
        write_text(out / SAMPLES, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
        show(drawn, store.predictions([slot.id for slot in drawn]))
    return failures
