"""Heat maps of detectability against size and contrast, stage by stage."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from medim.data.phantom.probes import Lesion

TITLES = {
    "drawn": "as drawn (the checker's own limit)",
    "tokens": "through the tokenizer",
    "generated": "generated from the report",
}


def heat_maps(lesions: Sequence[Lesion], table: Sequence[Mapping[str, Any]], value: str, title: str) -> bytes:
    """A PNG: a row for each lesion, a column for each stage.

    Args:
        table: rows of `DetailScores.table`.
        value: which of its columns, `sensitivity` or `auc`.
    """
    import seaborn as sns
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
            sns.heatmap(
                values, ax=axis, vmin=0, vmax=1, cmap="viridis", annot=True, fmt=".2f", annot_kws={"fontsize": 8},
                xticklabels=columns, yticklabels=rows, cbar=False, linewidths=0.5,
            )  # fmt: skip
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
