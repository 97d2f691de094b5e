"""`medim-bench data show`: a sheet of some pairs of a data set, as a person would look at them."""

from pathlib import Path

import numpy as np
from PIL import Image

from benchmark.sampling.sheets import Card, write_pair_sheet
from benchmark.systems import withheld
from medim.common.errors import UserError
from medim.data.checks.check import open_for_check
from medim.data.dataset import PairDataset
from medim.imaging.images import read_image, to_rgb
from medim.pair import SPLITS

EVERY = "all"


def show_pairs(name: str, out: Path, split: str, number: int, seed: int) -> tuple[list[str], list[str]]:
    """Writes a sheet of `number` pairs, drawn without replacement and in the set's order; all where there are fewer.

    Returns:
        Lines to print, and one for each picture that could not be read (a grey field stands in its place).

    Raises:
        UserError: no such data set or split, or an empty split.
    """
    dataset = open_for_check(name)
    splits = SPLITS if split == EVERY else (split,)
    places = [(part, index) for part in splits for index in range(dataset.size(part))]
    if not places:
        raise UserError(f"'{name}' has no pairs in split '{split}'")
    chosen = np.random.default_rng(seed).choice(len(places), size=min(number, len(places)), replace=False)
    failures: list[str] = []
    cards = [_card(dataset, places[row], failures) for row in sorted(chosen.tolist())]
    told = f"{len(cards)} of {len(places)} pairs" + ("" if split == EVERY else f" of split '{split}'") + f", seed {seed}"
    write_pair_sheet(out, [dataset.name, told, f"terms: {dataset.terms}"], cards)
    lines = [f"{told}: {out}", f"terms: {dataset.terms}"]
    if withheld(dataset.terms):
        lines.append("these terms do not allow the sheet to be passed on")
    return lines, failures


def _card(dataset: PairDataset, place: tuple[str, int], failures: list[str]) -> Card:
    split, index = place
    pair = dataset.pair(split, index)
    heads = [pair.id, " · ".join(part for part in (split, pair.domain, pair.view) if part)]
    heads.append(f"patient {pair.patient}, study {pair.study}")
    if pair.findings is not None:
        heads.append(f"findings: {', '.join(pair.findings) or 'none'}")
    try:
        image = to_rgb(pair.image) if isinstance(pair.image, Image.Image) else read_image(pair.image)
    except UserError as error:
        failures.append(str(error))
        image = Image.new("RGB", (320, 80), (200, 200, 200))
        heads.append(str(error))
    return Card(image, tuple(heads), pair.report if pair.report is not None else "(no report)")
