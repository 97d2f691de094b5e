"""Puts a finished training among the shipped checkpoints: `python -m medim.training.ship FOLDER NAME`."""

import shutil
import sys
from pathlib import Path

import torch

from medim.checkpoints import SHIPPED, resolve
from medim.common.errors import UserError
from medim.common.files import write_json
from medim.model_folder import CARD
from medim.pipeline import MeDiMPipeline
from medim.sampling.settings import SamplerSettings

PROVENANCE = ("config.yaml", "training.json", "metrics.jsonl", "curve.png")
"""Files of the training that accompany shipped weights."""
LARGEST_BYTES = 25_000_000


def ship(source: str, name: str) -> Path:
    """Stores a model in half precision with its tokenizers and provenance; sampler settings already there stay.
    Raises UserError: `source` is no finished training, or takes more than `LARGEST_BYTES`."""
    folder, target = resolve(source), SHIPPED / name
    for file in PROVENANCE:
        if not (folder / file).exists():
            raise UserError(f"'{folder}' is no finished training: {file} is missing")
    pipeline = MeDiMPipeline.from_pretrained(folder, device="cpu")
    if (target / "sampler.json").exists():
        pipeline.sampler = SamplerSettings.read(target / "sampler.json")
    (target / CARD).unlink(missing_ok=True)
    pipeline.save_pretrained(target, torch.float16)
    for file in PROVENANCE:
        shutil.copy(folder / file, target / file)
    size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    if size > LARGEST_BYTES:
        raise UserError(f"'{target}' takes {size / 1e6:.1f} MB; a shipped checkpoint has at most {LARGEST_BYTES / 1e6:.0f}")
    shipped = MeDiMPipeline.from_pretrained(target, device="cpu")
    write_json(
        target / CARD,
        {
            "fingerprint": shipped.fingerprint,
            "bytes": size,
            "image_tokenizer": shipped.images.vocabulary,
            "report_tokenizer": shipped.reports.vocabulary,
        },
    )
    return target


if __name__ == "__main__":
    try:
        print(f"shipped: {ship(*sys.argv[1:])}")
    except UserError as error:
        sys.exit(f"error: {error}")
