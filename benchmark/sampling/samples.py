"""Samples to look at, without a score: images, reports or pairs in one folder, with a contact sheet."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import click
from PIL import Image

from benchmark.provenance import commit
from benchmark.run.artifacts import Artifacts
from benchmark.run.generation import FAILURES, GenerateBatch, Item, exit_status, generate_missing, write_failures
from benchmark.run.predictions import SAMPLES, PredictionStore
from benchmark.sampling.options import EditOptions, SampleOptions
from benchmark.sampling.sheets import write_contact_sheet
from benchmark.systems import as_shown_to, open_pipeline
from medim.common.errors import UserError
from medim.common.files import write_text
from medim.data import loading
from medim.pipeline import MeDiMPipeline
from tasks.cases import cases_of
from tasks.protocols import Prediction
from tasks.task import timed_batch

SHEET = "contact_sheet.png"


@dataclass(frozen=True)
class Slot:
    """What one sample is drawn for."""

    id: str
    text: str = ""  # the report to draw (image), or the prompt (pair; empty for none)
    image: Image.Image | None = None  # the image to describe (report)


def execute_sample(kind: str, options: SampleOptions) -> int:
    """Draws one sample for each slot into `out`: `images/`, `samples.jsonl` and `contact_sheet.png`; returns the exit status.
    `kind`: image (of the data set's reports, or of the prompt), report (of the data set's images) or pair.
    Raises UserError: `out` belongs to another configuration, an unknown model, data set or split, an image cannot be read."""
    dataset = None if options.data is None else loading.load_dataset(options.data)
    model = open_pipeline(options.model, options.device, options.overrides, dataset)
    inputs: dict[str, Any] = {"prompt": options.prompt}
    if dataset is not None:
        dataset = as_shown_to(model, dataset)
        inputs |= {"dataset": dataset.name, "dataset_fingerprint": dataset.fingerprint, "split": options.split}
    if dataset is None or kind == "pair":
        if dataset is not None and not model.steered:
            raise UserError("sample pair draws from nothing: --data serves it for sampling.steering.* alone")
        slots = [Slot(f"{index:05d}", options.prompt or "") for index in range(options.n)]
    else:
        cases = cases_of(dataset, options.split, model.resolution, options.n)
        slots = [Slot(case.id, case.report, case.image) for case in cases]

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
        images, captions = [image for image, _ in shown if image is not None], [text for _, text in shown]
        write_contact_sheet(options.out / SHEET, images, captions)

    return draw_into(options, kind, model, inputs, slots, generate, show)


def draw_into(
    options: SampleOptions | EditOptions,
    kind: str,
    model: MeDiMPipeline,
    inputs: dict[str, Any],
    slots: Sequence[Item],
    generate: GenerateBatch[Item],
    show: Callable[[Sequence[Item], Sequence[Prediction]], None],
) -> int:
    """Draws what `out` lacks, writes `samples.jsonl`, lets `show` make a sheet of what was drawn; returns the exit status.
    `inputs`: where the slots come from, for the folder's configuration.
    Raises UserError: `out` belongs to another configuration."""
    out = options.out
    configuration = {
        "kind": kind,
        "model": model.name,
        "model_fingerprint": model.fingerprint,
        "settings": model.settings(),
        "seed": options.seed,
        "n": len(slots),
        **inputs,
    }
    with Artifacts.claim(out, configuration, options.overwrite):
        store = PredictionStore(out, commit=commit())
        failures = generate_missing(
            store, slots, generate, task=kind, system=model.name, seed=options.seed, batch_size=options.batch_size
        )
        write_failures(out / FAILURES, failures)
        drawn = [slot for slot in slots if slot.id in store]
        lines = [store.lines[slot.id] for slot in drawn]
        write_text(out / SAMPLES, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
        show(drawn, store.predictions([slot.id for slot in drawn]))
    click.echo(f"{len(drawn)} {kind}{'' if len(drawn) == 1 else 's'}\ncontact sheet: {out / SHEET}")
    return exit_status(out, len(failures))
