"""One case's probes on one sheet: how a lesion fades with size and contrast, as drawn, through the tokenizer, and generated."""

from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw, ImageFont

from medim.data.phantom.probes import Lesion

TILE = 128  # pixels a picture is shown at, at most
_MARGIN, _LINE = 4, 14


def sheet_of(stages: Mapping[str, Sequence[Image.Image]], lesion: Lesion) -> Image.Image:
    """Rows of contrasts and columns of sizes for each stage with a grid, a row of grades for the generated one.

    Args:
        stages: name -> the twin without the lesion, then either one picture for each contrast and size (row-major) or one for
            each grade.
    """
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
