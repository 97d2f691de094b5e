"""The training curve as a picture, where matplotlib is installed."""

import json
import math
from importlib.util import find_spec
from pathlib import Path

from medim.common.files import atomic_path


def plot_curve(metrics: Path, unigram: float, out: Path) -> None:
    """Validation bounds against steps, the unigram code of the training reports as a line; nothing without matplotlib.

    Args:
        metrics: `metrics.jsonl` of a training.
        unigram: report nats per real token + EOS of the per-position unigram code.
        out: a PNG file.
    """
    if find_spec("matplotlib") is None:
        print("no curve.png: matplotlib is not installed (pip install 'medim-bench[scoring]')")
        return
    from matplotlib.figure import Figure

    lines = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for axis, unit, wanted in (
        (left, "report: nats per token", "report_nats_per_token"),
        (right, "image: bits per token", "image_bits_per_token"),
    ):
        keys = sorted({key for line in lines for key in line if key.endswith(wanted)})
        for key in keys:
            points = sorted({line["step"]: line[key] for line in lines if key in line}.items())
            name = key.removeprefix("eval_").removesuffix(f"_{wanted}").replace("_given_", " | ")
            axis.plot(*zip(*points, strict=True), marker="o", markersize=3, label=name)
        axis.set(xlabel="training steps", ylabel=unit)
        axis.spines[["top", "right"]].set_visible(False)
    if math.isfinite(unigram):
        left.axhline(unigram, color="grey", linestyle="--", label="unigram code of the training reports")
        left.axhline(0.9 * unigram, color="grey", linestyle=":", label="10 % below it")
    left.legend(frameon=False, fontsize="small")
    right.legend(frameon=False, fontsize="small")
    figure.suptitle("Validation bound (NELBO)")
    with atomic_path(out) as temporary:
        figure.savefig(temporary, dpi=130)
