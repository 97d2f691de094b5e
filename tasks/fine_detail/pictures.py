"""Pictures of the probes: heat maps of detectability by size and contrast, and one case's probes on one sheet."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from medim.data.phantom.probes import Lesion

TILE = 128  # pixels a picture is shown at, at most
_MARGIN, _LINE = 4, 14
TITLES = {
    "drawn": "as drawn (the checker's own limit)",
    "tokens": "through the tokenizer",
    "generated": "generated from the report",
}


def heat_maps(lesions: Sequence[Lesion], table: Sequence[Mapping[str, Any]], value: str, title: str) -> bytes:
    """A PNG: a row for each lesion, a column for each stage. `table`: rows of `DetailScores.table`. `value`: which of its
    columns, `sensitivity` or `auc`."""
    import seaborn as sns  # takes a second
    from matplotlib.figure import Figure

    stages = [stage for stage in TITLES if any(row["stage"] == stage for row in table)]
    figure = Figure(figsize=(4.2 * len(stages), 2.9 * len(lesions)), layout="constrained")
    axes = figure.subplots(
        len(lesions), len(stages), squeeze=False, width_ratios=[3 if s != "generated" else 1.6 for s in stages]
    )
    for across, lesion in zip(axes, lesions, strict=True):
        for axis, stage in zip(across, stages, strict=True):
            cells = [row for row in table if row["lesion"] == lesion.name and row["stage"] == stage]
            generated = stage == "generated"
            if generated:
                values = np.array([[row[value] for row in cells]])
                columns, rows = [row["grade"] for row in cells], [""]
            else:
                values = np.array([row[value] for row in cells]).reshape(len(lesion.contrasts), len(lesion.sizes))[::-1]
                columns = [f"{size:g}" for size in lesion.sizes]
                rows = [f"{contrast:g}" for contrast in reversed(lesion.contrasts)]
            labels = {"xticklabels": columns, "yticklabels": rows, "annot_kws": {"fontsize": 8}}
            look = {"cmap": "viridis", "annot": True, "fmt": ".2f", "cbar": False, "linewidths": 0.5}
            sns.heatmap(values, ax=axis, vmin=0, vmax=1, **look, **labels)
            axis.set(xlabel="word in the report" if generated else f"size ({lesion.unit})")
            axis.set_ylabel("" if generated else "contrast")
            axis.tick_params(axis="y", rotation=0)
            axis.set_title(
                f"{lesion.name}: {TITLES[stage]}\nfalse alarms {cells[0]['false_alarms']:.2f}, n = {cells[0]['n']}", fontsize=9
            )
    figure.suptitle(title, fontsize=10)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120, metadata={"Software": None})
    return buffer.getvalue()


def sheet_of(stages: Mapping[str, Sequence[Image.Image]], lesion: Lesion) -> Image.Image:
    """Rows of contrasts and columns of sizes for each stage with a grid, a row of grades for the generated one. `stages`: name
    -> the twin without the lesion, then either one picture for each contrast and size (row-major) or one for each grade."""
    side = max(64, min(TILE, next(iter(stages.values()))[0].width))
    columns = 1 + max(len(lesion.sizes), len(lesion.grades))
    rows: list[tuple[str, list[Image.Image]]] = []
    for stage, images in stages.items():
        twin, shown = images[0], list(images[1:])
        if len(shown) == len(lesion.grades):
            rows.append((f"{stage}: without, {', '.join(lesion.grades)}", [twin, *shown]))
            continue
        for number, contrast in enumerate(lesion.contrasts):
            row = shown[number * len(lesion.sizes) : (number + 1) * len(lesion.sizes)]
            sizes = ", ".join(f"{size:g}" for size in lesion.sizes)
            rows.append((f"{stage}, contrast {contrast:g}: without, {sizes} {lesion.unit}", [twin, *row]))
    step = side + _MARGIN
    sheet = Image.new("RGB", (columns * step + _MARGIN, len(rows) * (step + _LINE) + _MARGIN), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=10)
    for number, (title, images) in enumerate(rows):
        top = _MARGIN + number * (step + _LINE)
        draw.text((_MARGIN, top), title, fill="black", font=font)
        for column, image in enumerate(images):
            shown_at = image.convert("RGB").resize((side, side), Image.Resampling.LANCZOS if image.width > side else 0)
            sheet.paste(shown_at, (_MARGIN + column * step, top + _LINE))
    return sheet
