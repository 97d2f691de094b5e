"""Training of the image tokenizer: images in, a folder for `ImageTokenizer.from_pretrained` out."""

import json
import os
import re
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from PIL import Image, ImageDraw
from torch import Tensor
from tqdm import tqdm

from medim.common import claims
from medim.common.errors import UserError, named
from medim.common.files import atomic_path, write_json, write_text, writes_into
from medim.common.locks import held
from medim.data.dataset import PairDataset
from medim.data.tokens.read_ahead import pixels
from medim.devices import chosen_device
from medim.tokenizers.image import DESCRIPTION, ImageTokenizer
from medim.training.callbacks import CtrlC
from medim.training.folder import CONFIG, clear_training, configuration_in
from medim.training.tokenizer.recipe import TokenizerRecipe
from medim.training.tokenizer.round_trip import chosen, evaluate, report
from medim.training.tokenizer.steps import START_IMAGES, BreakdownError, TokenizerTraining
from medim.weights.files import read_state

METRICS, PICTURE, REPORT = "metrics.jsonl", "reconstructions.png", "reconstruction.json"
CHECKPOINTS = 2  # the last so many are kept
COLUMNS = 12  # images in a row of the picture


def train_tokenizer(
    dataset: PairDataset,
    recipe: TokenizerRecipe,
    out: str | Path,
    device: str | None = None,
    progress: bool = True,
    images: tuple[Tensor, Tensor] | None = None,
    overwrite: bool = False,
) -> ImageTokenizer:
    """Trains a tokenizer on the train split, or resumes what the same call began.

    `out` then holds the tokenizer (`save_pretrained`), `config.yaml`, `metrics.jsonl`, the last two `checkpoint-N`,
    `reconstructions.png` (validation images above their round trips) and `reconstruction.json` (`round_trip.report` on the
    validation split).

    Args:
        device: `cuda` where there is one, else `cpu`, by default.
        images: what `read_images` gives, where several trainings share it.
        overwrite: start anew in a folder that holds another training.

    Raises:
        UserError: `out` holds another configuration (the key is named) or is being worked on, there is no such device, the data
            set has no images for a split, or the loss is no longer finite.
        KeyboardInterrupt: Ctrl-C; a checkpoint was saved, and the same call continues from it.
    """
    out, device = Path(out), str(chosen_device(device))
    with held(out), writes_into(out):
        if overwrite:
            clear_training(out, "codes")
        config = {"data": {"name": dataset.name, "fingerprint": dataset.fingerprint}, "recipe": recipe.model_dump(mode="json")}
        refuse_another(out, config)
        if (out / DESCRIPTION).is_file():
            tokenizer = ImageTokenizer.from_pretrained(out)
            if not (out / REPORT).is_file():
                figures = report(tokenizer.to(device), dataset, "val", recipe.eval_images, recipe.seed, progress)
                write_json(out / REPORT, figures)
            return tokenizer
        write_text(out / CONFIG, yaml.safe_dump(config, sort_keys=False))
        train, val = images or read_images(dataset, recipe, progress)
        run = TokenizerTraining(recipe, device)
        if (state := newest_state(out)) is not None:
            run.load(state)
        metrics = out / METRICS
        drop_lines(metrics, after=run.step)
        try:
            _steps(run, train, val, out, progress)
            tokenizer = run.finish()
            run.refuse_broken_weights()
        except BreakdownError as error:
            steps = checkpoint_steps(out)
            kept = f"the last finite checkpoint is '{out / f'checkpoint-{steps[-1]}'}'" if steps else "no checkpoint was saved"
            raise UserError(
                f"the training broke down: {error}; {kept}; a lower learning_rate may help, in another --out"
            ) from error
        figures = evaluate(tokenizer, val)
        add_line(metrics, run, "final", figures)
        tokenizer.training = {**config, "val": {**figures, "images": len(val)}, "seconds": round(run.seconds, 1)}
        shown = [Image.fromarray(image) for image in val[: 2 * COLUMNS].numpy()]
        rows = [shown[:COLUMNS], shown[COLUMNS:]] if len(shown) > COLUMNS else [shown]
        write_sheet([part for row in rows for part in (row, tokenizer.reconstruct(row))], out / PICTURE, least=128)
        write_json(out / REPORT, report(tokenizer, dataset, "val", recipe.eval_images, recipe.seed, progress))
        tokenizer.save_pretrained(out, dtype=getattr(torch, recipe.weights))
        return tokenizer


def _steps(run: TokenizerTraining, train: Tensor, val: Tensor, out: Path, progress: bool) -> None:
    """All steps that are left, with what is logged and saved between them."""
    recipe, began = run.recipe, time.monotonic() - run.seconds
    bar = tqdm(total=recipe.steps, initial=run.step, desc="tokenizer", unit="step", disable=not progress)
    with CtrlC() as ctrl_c, bar:
        while run.step < recipe.steps:
            figures = run.advance(train)
            run.seconds = time.monotonic() - began
            bar.update()
            if run.step % recipe.logging_steps == 0:
                add_line(out / METRICS, run, "train", figures)
                bar.set_postfix({key: f"{figures[key]:.3g}" for key in ("loss", "psnr", "codes_used")})
            if run.step % recipe.eval_every == 0 and recipe.first_quantised_step < run.step < recipe.steps:
                add_line(out / METRICS, run, "val", evaluate(run.tokenizer, val))
            if run.step % recipe.save_steps == 0 or run.step == recipe.steps or ctrl_c.pressed:
                run.refuse_broken_weights()
                save_checkpoint(out, run.step, run.state())
            if ctrl_c.pressed:
                raise KeyboardInterrupt


def read_images(dataset: PairDataset, recipe: TokenizerRecipe, progress: bool = True) -> tuple[Tensor, Tensor]:
    """Training and validation images of a recipe, each (N, H, W, 3) uint8: no more than the steps can see.
    Raises UserError: a split is empty, or an image cannot be read."""
    limits = {"train": min(recipe.cache_images, max(recipe.steps * recipe.batch_size, START_IMAGES)), "val": recipe.eval_images}
    train, val = (
        cached_images(dataset, split, recipe.resolution, limit, recipe.seed, progress) for split, limit in limits.items()
    )
    return train, val


def cached_images(dataset: PairDataset, split: str, resolution: int, limit: int, seed: int, progress: bool = False) -> Tensor:
    """Images of a split (see `chosen`), decoded and made square once: (N, resolution, resolution, 3) uint8.
    Raises UserError: the split is empty, or an image cannot be read."""
    rows = chosen(dataset, split, limit, seed)
    cache = torch.empty(len(rows), resolution, resolution, 3, dtype=torch.uint8)
    for row, index in enumerate(tqdm(rows, desc=f"{split} images", unit="image", disable=not progress)):
        cache[row] = torch.from_numpy(np.array(pixels(dataset.pair(split, int(index)), resolution)))
    return cache


def refuse_another(out: Path, config: dict[str, Any]) -> None:
    """Raises UserError, naming the first key that differs, where `out` holds a training of another configuration."""
    known = configuration_in(out, "codes")
    if known is None:
        return
    shared = {part: {key: known[part].get(key) for key in config[part]} for part in config}
    claims.refuse_another(out, "a training", shared, config, unset_is_null=True)


def checkpoint_steps(out: Path) -> list[int]:
    """Steps of the folders `checkpoint-N`, ascending; each is whole."""
    names = (re.fullmatch(r"checkpoint-(\d+)", path.name) for path in out.iterdir())
    return sorted(int(match[1]) for match in names if match)


def save_checkpoint(out: Path, step: int, state: dict[str, Any]) -> None:
    """Writes `checkpoint-N` in one step and removes all but the last `CHECKPOINTS`."""
    target, temporary = out / f"checkpoint-{step}", out / f".checkpoint-{step}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    torch.save(state, temporary / "training_state.pt")
    if target.exists():
        shutil.rmtree(target)
    os.rename(temporary, target)
    for old in checkpoint_steps(out)[:-CHECKPOINTS]:
        shutil.rmtree(out / f"checkpoint-{old}")


def newest_state(out: Path) -> dict[str, Any] | None:
    """The state of the latest checkpoint, or None; leftovers of a kill are removed.
    Raises UserError: the checkpoint cannot be read."""
    for leftover in out.glob(".checkpoint-*.tmp"):
        shutil.rmtree(leftover)
    steps = checkpoint_steps(out)
    if not steps:
        return None
    folder = out / f"checkpoint-{steps[-1]}"
    with named(f"'{folder}' cannot be continued from; remove it to continue from the one before it"):
        return read_state(folder / "training_state.pt")


def drop_lines(metrics: Path, after: int) -> None:
    """Removes what a killed run wrote after its last checkpoint, a half-written line and the final one included."""
    lines = metrics.read_text(encoding="utf-8").splitlines() if metrics.exists() else []
    rows = ((line, json.loads(line)) for line in lines if line.endswith("}"))
    write_text(metrics, "".join(f"{line}\n" for line, row in rows if row["step"] <= after and row["split"] != "final"))


def add_line(metrics: Path, run: TokenizerTraining, split: str, figures: dict[str, float]) -> None:
    """Appends one JSON object: step, split, seconds and the figures."""
    rounded = {key: round(value, 6) for key, value in {"seconds": run.seconds, **figures}.items()}
    with metrics.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps({"step": run.step, "split": split, **rounded}) + "\n")


def write_sheet(
    rows: Sequence[Sequence[Image.Image]], path: Path, least: int, titles: Sequence[str] = (), margin: int = 0
) -> None:
    """Writes rows of square images as one PNG, enlarged to at least `least` pixels, with titles in a margin on the left."""
    side = rows[0][0].width
    tile = side * -(-least // side)
    sheet = Image.new("RGB", (margin + max(map(len, rows)) * tile, len(rows) * tile), "white")
    draw = ImageDraw.Draw(sheet)
    for row, images in enumerate(rows):
        for column, image in enumerate(images):
            sheet.paste(image.resize((tile, tile), Image.Resampling.NEAREST), (margin + column * tile, row * tile))
        if titles:
            draw.text((6, row * tile + tile // 2 - 6), titles[row], fill="black")
    with atomic_path(path) as temporary:
        sheet.save(temporary, format="PNG")
