"""The pictures of an ablation: learning curves, what each choice is worth, and what the arms draw for the same prompts."""

import json
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from benchmark.ablation.changes import ENDPOINTS, PRIMARY, comparable
from benchmark.ablation.comparison import Measured, Row
from benchmark.run.predictions import save_image
from medim.common.files import atomic_path, file_name

CURVES, TORNADO, GRID = "curves.png", "tornado.png", "grid.png"
PANELS = {  # of `ENDPOINTS`, in their order
    "eval_loss": "joint: nats per pair",
    "eval_report_given_image_report_nats_per_token": "report | image: nats per token",
    "eval_image_given_report_image_bits_per_token": "image | report: bits per token",
}
COLOURS = {"better": "#0072B2", "worse": "#D55E00", "not resolved": "#7b8794"}
DASHES = ("-", "--", "-.")
PROMPTS, TILE, MARGIN, LINE = 6, 128, 150, 13
TASK = "image-generation"


def draw_curves(measured: Sequence[Measured], path: Path) -> None:
    """Validation bounds against steps: the mean over seeds, and a band from the least to the greatest.
    Dotted where an arm's bound is of other tokens than the first arm's, as another tokenizer gives."""
    shown = [one for one in measured if one.seeds]
    colours = sns.color_palette("colorblind", 10)
    figure = Figure(figsize=(13, 4.4), layout="constrained")
    axes = figure.subplots(1, len(PANELS))
    for axis, endpoint, (key, title) in zip(axes, ENDPOINTS, PANELS.items(), strict=True):
        for index, one in enumerate(shown):
            steps, table = _curves(one, key)
            if not len(steps):
                continue
            first = index == 0
            colour = "black" if first else colours[(index - 1) % 10]
            other = comparable(endpoint, one.first.evaluation, shown[0].first.evaluation) is not None
            title += "\n(dotted: of other tokens)" * (other and "dotted" not in title)
            style: dict[str, Any] = {"linewidth": 2, "zorder": 3} if first else {"linewidth": 1.4, "zorder": 2}
            dashes = ":" if other else DASHES[max(0, index - 1) // 10 % 3]
            axis.plot(steps, table.mean(axis=0), color=colour, label=one.arm.title, linestyle=dashes, **style)
            axis.fill_between(steps, table.min(axis=0), table.max(axis=0), color=colour, alpha=0.15, linewidth=0)
        axis.set(title=title, xlabel="training steps")
        _robust(axis)
        axis.spines[["top", "right"]].set_visible(False)
    handles, labels = axes[0].get_legend_handles_labels()
    columns = min(4, max(1, len(labels)))
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False, fontsize="small")
    seeds = max((len(one.seeds) for one in shown), default=0)
    figure.suptitle(f"Validation bound while training ({seeds} seed{'s' if seeds != 1 else ''}; lower is better)")
    _save(figure, path)


def _curves(one: Measured, key: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps that all seeds were validated at, (n,), and their values, (seeds, n)."""
    curves = [{line["step"]: line[key] for line in trained.curve if key in line} for trained in one.seeds.values()]
    steps = sorted(set.intersection(*map(set, curves))) if curves else []
    return np.array(steps), np.array([[curve[step] for step in steps] for curve in curves])


def _robust(axis: Axes) -> None:
    """Leaves room for where the curves end, not for where they begin: the first validation may be far above."""
    values = [np.asarray(line.get_ydata(), float) for line in axis.lines]
    values = [y for y in values if len(y)]
    if not values or max(map(len, values)) < 4:
        return
    low = min(y.min() for y in values)
    late = max(y[len(y) // 4 :].max() for y in values)
    room = 0.06 * (late - low) or 1.0
    axis.set_ylim(low - room, late + room)


def draw_tornado(rows: Sequence[Row], path: Path) -> None:
    """The change of the primary endpoint of each arm, with its interval, the largest on top."""
    found = [(row, row.changes[PRIMARY.metric]) for row in rows if PRIMARY.metric in row.changes]
    found.sort(key=lambda pair: abs(pair[1].difference))
    figure = Figure(figsize=(9, 1.6 + 0.42 * max(1, len(found))), layout="constrained")
    axis = figure.subplots()
    ends = [end for _, one in found for end in (one.interval.low, one.interval.high, one.difference) if end is not None]
    widest = max(map(abs, ends), default=1.0) or 1.0
    for height, (_, one) in enumerate(found):
        axis.barh(height, one.difference, color=COLOURS[one.verdict], height=0.62, alpha=0.85)
        if one.interval.low is not None and one.interval.high is not None:
            axis.plot([one.interval.low, one.interval.high], [height, height], color="black", linewidth=1.4, marker="|")
        beyond = max(one.difference, one.interval.high or one.difference, 0)
        axis.text(beyond + 0.02 * widest, height, f"{one.difference:+.1f}  {one.verdict}", va="center", fontsize="small")
    axis.set_yticks(range(len(found)), ["\n".join(textwrap.wrap(row.label, 38)) for row, _ in found])
    axis.set_xlim(min([*ends, 0]) - 0.05 * widest, max([*ends, 0]) + 0.35 * widest)
    axis.axvline(0, color="black", linewidth=0.8)
    axis.set(xlabel=f"change of {PRIMARY.metric}; above 0 is worse")
    axis.set_title("What each choice is worth: difference to the full model, 95 % interval", loc="left", fontsize="medium")
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.tick_params(left=False)
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=130)


def draw_grid(measured: Sequence[Measured], path: Path) -> bool:
    """What each arm drew for the same prompts, under the images that the prompts belong to; False where nothing was sampled."""
    sampled = [one for one in measured if one.seeds and one.first.run is not None]
    if not sampled:
        return False
    lines = {one.arm.title: _samples(one) for one in sampled}
    ids = list(next(iter(lines.values())))[:PROMPTS]
    first = next(iter(lines.values()))
    real = {id: first[id] | {"image": first[id]["reference_image"]} for id in ids}
    font = ImageFont.load_default(size=10)
    prompts = [textwrap.wrap(str(first[id]["prompt"] or ""), 21) for id in ids]
    top = LINE * min(12, max(map(len, prompts))) + 10
    pictures = {"real": real, **lines}
    sheet = Image.new("RGB", (MARGIN + len(ids) * (TILE + 4), top + len(pictures) * (TILE + 4)), "white")
    draw = ImageDraw.Draw(sheet)
    for column, words in enumerate(prompts):
        for number, line in enumerate(words[:12]):
            draw.text((MARGIN + column * (TILE + 4), 4 + number * LINE), line, fill="black", font=font)
    for row, (title, samples) in enumerate(pictures.items()):
        y = top + row * (TILE + 4)
        draw.multiline_text((6, y + TILE // 3), "\n".join(textwrap.wrap(title, 24)), fill="black", font=font)
        for column, id in enumerate(ids):
            shown = samples.get(id, {}).get("image")
            if shown is not None:
                with Image.open(str(shown)) as image:
                    resampling = Image.Resampling.NEAREST if max(image.size) < TILE else Image.Resampling.LANCZOS
                    tile = image.convert("RGB").resize((TILE, TILE), resampling)
                sheet.paste(tile, (MARGIN + column * (TILE + 4), y))
    save_image(sheet, path)
    return True


def _samples(one: Measured) -> Mapping[str, dict[str, object]]:
    """The samples of an arm's first seed by id, with whole paths of the images."""
    assert one.first.run is not None
    folder = one.first.run / "samples" / TASK / file_name(one.arm.name)
    found: dict[str, dict[str, object]] = {}
    for line in (folder / "samples.jsonl").read_text(encoding="utf-8").splitlines():
        sample = json.loads(line)
        paths = {key: folder / sample[key] for key in ("image", "reference_image") if sample[key] is not None}
        found[sample["id"]] = {"prompt": sample["prompt"], "image": None, "reference_image": None, **paths}
    return found
