"""The plot of an augmentation run: the downstream score over the share of pairs added, generated beside real ones."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from leaderboard.plots.style import DPI, FAINT, GREY, INK, MODEL_COLOURS, STYLE
from medim.common.files import atomic_path
from tasks.augmentation import settings as names
from tasks.augmentation.arms import Arm
from tasks.augmentation.statistics import Effect

CURVES = (names.SYNTHETIC, names.MORE_REAL)
"""Arms that have levels; the others are single points beside the curves."""


def draw_curve(path: Path, metric: str, arms: Sequence[Arm], values: Mapping[str, Effect], title: str, note: str) -> None:
    """Draws one metric, with 95 % bands, atomically.

    Args:
        values: by arm's name.
        title: what was trained on what.
        note: regime, seeds and numbers of pairs.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 4.2), layout="constrained")
        axes = figure.subplots()
        start = values[names.REPEATED]
        levels = sorted({0, *(arm.level for arm in arms if arm.kind in CURVES and arm.level is not None)})
        place = {level: index for index, level in enumerate(levels)}
        axes.axhline(start.value, color=GREY, linewidth=1, linestyle="--", zorder=1)
        for colour, marker, kind, label in (
            (MODEL_COLOURS[0], "o", names.SYNTHETIC, "real + generated"),
            (MODEL_COLOURS[2], "s", names.MORE_REAL, "real + further real"),
        ):
            points = [(0, start), *((place[arm.level or 0], values[arm.name]) for arm in arms if arm.kind == kind)]
            if len(points) > 1:
                _line(axes, points, colour, marker, label)
        singles = {len(levels) + 0.5 + index: arm for index, arm in enumerate(arm for arm in arms if arm.kind not in CURVES)}
        for x, arm in singles.items():
            effect = values[arm.name]
            colour = GREY if arm.kind == names.REPEATED else INK
            if effect.low is not None and effect.high is not None:
                axes.vlines(x, effect.low, effect.high, color=colour, linewidth=1.8, alpha=0.5)
            axes.plot(x, effect.value, marker="D", color=colour, markersize=5, linestyle="none")
        ticks = [f"{level} %" for level in levels] + [arm.name for arm in singles.values()]
        axes.set_xticks([*place.values(), *singles], ticks, rotation=35, ha="right", rotation_mode="anchor")
        axes.set(xlabel="pairs added, in per cent of the real ones; other arms", ylabel=metric)
        axes.set_title(f"{title}\n{note}", fontsize=9)
        axes.grid(axis="y", color=FAINT, linewidth=0.6)
        axes.tick_params(length=0, colors=INK)
        if axes.get_legend_handles_labels()[1]:
            axes.legend(loc="lower left")
        sns.despine(ax=axes, left=True)
        with atomic_path(path) as temporary:
            figure.savefig(temporary, format="png", dpi=DPI)


def _line(axes: Axes, points: Sequence[tuple[int, Effect]], colour: str, marker: str, label: str) -> None:
    points = sorted(points, key=lambda point: point[0])
    xs = [x for x, _ in points]
    axes.plot(xs, [effect.value for _, effect in points], marker=marker, color=colour, linewidth=2, label=label, zorder=3)
    if all(effect.low is not None and effect.high is not None for _, effect in points):
        lows, highs = [effect.low for _, effect in points], [effect.high for _, effect in points]
        axes.fill_between(xs, lows, highs, color=colour, alpha=0.15, linewidth=0)  # type: ignore[arg-type]
