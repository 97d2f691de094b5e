"""How the plots look: palette, markers and fonts; and what a plot is to the page."""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass

import seaborn as sns
from matplotlib.figure import Figure

# Okabe and Ito's palette: told apart with every common colour vision; anchors are grey and differ by marker.
MODEL_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MODEL_MARKERS = ("o", "s", "^", "v", "P", "X", "<")  # one more than colours: 42 models look each another way
ANCHOR_MARKERS = {"real": "D", "reconstruction": "h", "shuffled": "x", "constant": "+"}
INK, GREY, FAINT = "#1f2933", "#7b8794", "#d5dbe1"
STYLE = {
    **sns.axes_style("white"),
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
}
DPI = 130


@dataclass(frozen=True)
class Plot:
    name: str  # file name without `.png`
    title: str  # what it shows, in one line
    alt: str  # the same for those who do not see it, with the values that matter
    png: bytes  # the file's bytes
    group: str | None = None  # the breakdown that it belongs to, or None
    csv: str | None = None  # the numbers that it shows, for a file beside it; None for none


def look(label: str, name: str, kind: str, models: Sequence[str]) -> tuple[str, str]:
    """Colour and marker of a row: a model's by its place among `models`, an anchor's grey."""
    if kind == "anchor":
        return GREY, ANCHOR_MARKERS.get(name, "D")
    index = models.index(label)
    return MODEL_COLOURS[index % len(MODEL_COLOURS)], MODEL_MARKERS[index % len(MODEL_MARKERS)]


def slug(text: str) -> str:
    """A text as part of a file name: lower-case letters, digits and single hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=DPI)
    return stream.getvalue()
