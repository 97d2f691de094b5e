"""One tokenizer per codebook size, and what each size costs: figures by domain, a plot, and the same images at every size."""

import json
import math
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from PIL import Image

from medim.common.csv_text import csv_text
from medim.common.errors import UserError, unknown
from medim.common.files import atomic_path, write_text
from medim.data.dataset import PairDataset
from medim.tokenizers.image import ImageTokenizer
from medim.training.folder import CONFIG
from medim.training.tokenizer.recipe import TokenizerRecipe
from medim.training.tokenizer.train import REPORT, read_images, train_tokenizer, write_sheet

TABLE, PLOT, PICTURE = "sweep.csv", "sweep.png", "sweep_images.png"
FIGURES = (
    *("images", "l1", "psnr", "ssim", "feature_distance", "feature_distance_of_strangers"),
    *("finding_f1", "finding_f1_real", "codes_used", "perplexity"),
)
COLUMNS = ("codes", "bits_per_image", "domain", *FIGURES, "seconds")
SHOWN = 12  # validation images in the picture


def parse_sweep(text: str) -> tuple[int, ...]:
    """`codes=16,64,256` as (16, 64, 256), ascending.
    Raises UserError: another field, not whole numbers of at least 2, or one of them twice."""
    key, _, values = text.partition("=")
    if key.strip() != "codes":
        raise unknown("field to sweep", key.strip(), ["codes"])
    try:
        codes = tuple(sorted(int(value) for value in values.split(",")))
    except ValueError:
        raise UserError(f"--sweep {text}: codes are whole numbers parted by commas, such as codes=16,64,256") from None
    if codes[0] < 2 or len(set(codes)) != len(codes):
        raise UserError(f"--sweep {text}: each size once, and at least 2")
    return codes


def folder_of(out: Path, codes: int) -> Path:
    """Where the tokenizer with a codebook of this size goes."""
    return out / f"codes-{codes}"


def sweep_codes(
    dataset: PairDataset,
    recipe: TokenizerRecipe,
    sizes: Sequence[int],
    out: str | Path,
    device: str | None = None,
    progress: bool = True,
    overwrite: bool = False,
) -> list[dict[str, Any]]:
    """Trains the recipe with each codebook size into `out/codes-N`, or continues, or takes what is finished.
    `out` then holds `sweep.csv` (a row per size and domain), `sweep.png` (where matplotlib and seaborn are installed) and
    `sweep_images.png` (the same validation images, real and through each size).
    `sizes`: codebook sizes; the recipe's own `codes` is not used.
    `overwrite`: start each anew where its folder holds another training.
    Returns the rows of the table.
    Raises UserError: as `train_tokenizer`; or `out` itself holds a training."""
    out = Path(out)
    if (out / CONFIG).exists():
        raise UserError(f"'{out}' holds a training, not a sweep; give another folder")
    images = read_images(dataset, recipe, progress)
    rows, tokenizers = [], []
    for codes in sizes:
        if progress:
            print(f"codes = {codes}")
        sized = recipe.model_copy(update={"codes": codes})
        tokenizers.append(train_tokenizer(dataset, sized, folder_of(out, codes), device, progress, images, overwrite))
        rows += rows_of(tokenizers[-1], json.loads((folder_of(out, codes) / REPORT).read_text(encoding="utf-8")))
    rounded = ({key: round(value, 6) if isinstance(value, float) else value for key, value in row.items()} for row in rows)
    write_text(out / TABLE, csv_text(COLUMNS, rounded))
    shown = [Image.fromarray(image) for image in images[1][:SHOWN].numpy()]
    titles = ["real", *(f"{tokenizer.codes} codes" for tokenizer in tokenizers)]
    sheets = [shown, *(tokenizer.reconstruct(shown) for tokenizer in tokenizers)]
    write_sheet(sheets, out / PICTURE, least=96, titles=titles, margin=96)
    plot(rows, out / PLOT)
    return rows


def rows_of(tokenizer: ImageTokenizer, report: dict[str, Any]) -> list[dict[str, Any]]:
    """The table's rows of one tokenizer: all images together, then each domain."""
    shared = {
        "codes": tokenizer.codes,
        "bits_per_image": round(tokenizer.length * math.log2(tokenizer.codes), 1),
        "seconds": tokenizer.training["seconds"],
    }
    groups = {"all": report["all"], **report["domains"]}
    return [shared | {"domain": name} | {key: group[key] for key in FIGURES} for name, group in groups.items()]


def plot(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """PSNR, SSIM, finding F1 and codebook use against codebook size, by domain; says so where seaborn is missing."""
    if find_spec("seaborn") is None or find_spec("matplotlib") is None:
        print(f"no {path.name}: seaborn is not installed (pip install 'medim-bench[scoring]')")
        return
    import pandas as pd
    import seaborn as sns
    from matplotlib.figure import Figure

    table = pd.DataFrame(rows)
    figure = Figure(figsize=(11, 7), layout="constrained")
    titles = {"psnr": "PSNR (dB)", "ssim": "SSIM", "finding_f1": "finding F1 (macro)", "codes_used": "codebook used (share)"}
    for axis, (key, title) in zip(figure.subplots(2, 2).flat, titles.items(), strict=True):
        values = table.dropna(subset=[key])
        axis.set_title(title)
        if values.empty:
            axis.text(0.5, 0.5, "not measured", ha="center", transform=axis.transAxes)
            continue
        sns.lineplot(
            values, x="codes", y=key, hue="domain", style="domain", markers=True, dashes=False, ax=axis, legend=key == "psnr"
        )
        if key == "finding_f1":  # what the checker reads from the real images: no tokenizer can pass it but by chance
            ceiling = float(values.loc[values.domain == "all", "finding_f1_real"].iloc[0])
            axis.axhline(ceiling, color="grey", linestyle="--")
            axis.annotate(
                "real images, all", (0.99, ceiling - 0.015), xycoords=axis.get_yaxis_transform(), ha="right", va="top"
            )
        axis.set_xscale("log", base=2)
        sizes = sorted(set(table.codes))
        axis.set_xticks(sizes, [str(size) for size in sizes])
        axis.set(xlabel="codes", ylabel="")
    figure.suptitle("Round trip through the image tokenizer, by size of the codebook (validation images)")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
