"""Length calibration: are generated reports as long as those of the data, the short ones and the long ones?

Quantile q of the generated lengths against quantile q of the reference lengths, in words: on the diagonal where both have one
law. Where samples answer cases, each domain stands for itself; unprompted samples answer none and are held against all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from leaderboard.plots.metrics import FAINT, GREY, STYLE, Plot, look, png
from medim.common.csv_text import csv_text

QUANTILES = tuple(round(0.05 * step, 2) for step in range(1, 20))
EVERY = "all"
FEWEST = 20
"""Reports of a domain, below which its quantiles say nothing."""
COLUMNS = ("model", "domain", "quantile", "reference words", "generated words", "reports", "references")


@dataclass(frozen=True)
class Lengths:
    """Words of reports: one number each.

    Attributes:
        generated, reference: by domain; `EVERY` holds all.
    """

    generated: Mapping[str, Sequence[int]]
    reference: Mapping[str, Sequence[int]]


def calibration(lengths: Mapping[str, Lengths]) -> pd.DataFrame:
    """Quantiles of lengths, a row for each model, domain and quantile; domains of fewer than `FEWEST` reports are left out."""
    rows = [
        (model, domain, q, float(np.quantile(own.reference[domain], q)), float(np.quantile(words, q)), len(words),
         len(own.reference[domain]))
        for model, own in lengths.items()
        for domain, words in own.generated.items()
        if len(words) >= FEWEST and len(own.reference.get(domain, ())) >= FEWEST
        for q in QUANTILES
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=list(COLUMNS))


def calibration_plot(title: str, lengths: Mapping[str, Lengths], models: Sequence[str], name: str) -> Plot | None:
    """The figure, a panel for each domain (one of all where there are no two), and its table; None of too few reports.

    Args:
        lengths: by model.
        models: all models of the table, in its order: a model has the colour of its place there.
        name: file name without its ending.
    """
    table = calibration(lengths)
    domains = [domain for domain in table["domain"].unique() if domain != EVERY]
    domains = domains if len(domains) > 1 else [EVERY]
    if not len(table):
        return None
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(0.4 + 3.2 * len(domains), 3.7), layout="constrained")
        panels = figure.subplots(1, len(domains), squeeze=False)[0]
        for axes, domain in zip(panels, domains, strict=True):
            here = table[table["domain"] == domain]
            ends = [0.9 * here[list(COLUMNS[3:5])].to_numpy().min(), 1.05 * here[list(COLUMNS[3:5])].to_numpy().max()]
            axes.plot(ends, ends, color=GREY, linewidth=1, linestyle="--", zorder=0)
            for model in lengths:
                own = here[here["model"] == model]
                colour, marker = look(model, model, "measured", models)
                axes.plot(
                    own[COLUMNS[3]], own[COLUMNS[4]], markersize=4, linewidth=1.2, label=model, color=colour, marker=marker
                )
            axes.set(xlabel="reference (words)", title=domain if domain != EVERY else "all reports")
            axes.set_aspect("equal", adjustable="datalim")  # a fixed box overflows the constrained layout
            axes.grid(color=FAINT, linewidth=0.6)
        panels[0].set_ylabel("generated (words)")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=3)
        sns.despine(figure)
        return Plot(name, title, _told(table), png(figure), csv=csv_text(COLUMNS, table.to_dict("records")))


def _told(table: pd.DataFrame) -> str:
    """Medians, for those who do not see the figure."""
    middle = table[(table["quantile"] == 0.5) & (table["domain"] == EVERY)]
    medians = ", ".join(f"{m} {g:g} words (references {r:g})" for m, r, g in middle[["model", *COLUMNS[3:5]]].to_numpy())
    return f"Quantiles of generated against reference lengths, 5 to 95 per cent. Medians: {medians}"
