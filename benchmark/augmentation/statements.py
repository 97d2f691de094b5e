"""`augmentation.md`: the arms as a table, and in words what their comparison allows to be said."""

from collections.abc import Mapping, Sequence
from typing import Any

from tasks.augmentation import settings as names
from tasks.augmentation.arms import Arm
from tasks.augmentation.comparison import Comparison
from tasks.augmentation.settings import ARMS, REPEATED, AugmentationSettings
from tasks.augmentation.statistics import ALPHA, Effect

PAPER = ("BLEU-1", "BLEU-2", "BLEU-3", "METEOR")  # the metrics of the paper's relative gains


def markdown(
    arms: Sequence[Arm],
    comparison: Comparison,
    numbers: Mapping[str, Any],
    told: Mapping[str, Any],
    settings: AugmentationSettings,
) -> str:
    """The whole page."""
    lines = [f"# Augmentation: {told['downstream']} with pairs of {told['model']}", "", *_setting(told, settings), ""]
    lines += table(arms, comparison, numbers)
    lines += ["", "95 % intervals over patients and seeds; p adjusted over the arms (Holm).", "", "## What may be said", ""]
    lines += [f"* {line}" for line in statements(arms, comparison, settings)]
    lines += [
        "",
        "## Arms",
        "",
        *(f"* **{kind}**: {what}" for kind, what in ARMS.items() if kind in {arm.kind for arm in arms}),
    ]
    return "\n".join([*lines, "", "![curve](curve.png)", ""])


def table(arms: Sequence[Arm], comparison: Comparison, numbers: Mapping[str, Any]) -> list[str]:
    """The arms by the main metrics, as lines of Markdown."""
    plain = [metric for metric in comparison.values if ": " not in metric]
    shown = [m for m in plain if m == comparison.primary or m.startswith(("BLEU", "METEOR", "ROUGE", "CIDEr"))]
    lines = ["| arm | pairs | steps | " + " | ".join(shown) + " |", "| --- | --- | --- |" + " --- |" * len(shown)]
    for arm in arms:
        number = numbers[arm.name]
        cells = [_cell(comparison.values[metric][arm.name]) for metric in shown]
        lines.append(f"| {arm.name} | {number['examples']:,} | {number['steps']:,} | " + " | ".join(cells) + " |")
    return lines


def statements(arms: Sequence[Arm], comparison: Comparison, settings: AugmentationSettings) -> list[str]:
    """One line for each comparison: gains, the paper's form of them, controls, exchange rates."""
    lines = []
    primary = comparison.primary
    for arm in arms:
        if arm.kind == REPEATED:
            continue
        gain = comparison.gains[primary][arm.name]
        p = comparison.adjusted.get(arm.name)
        lines.append(
            f"{arm.name} against real-repeated, {primary}: {_signed(gain)}" + ("" if p is None else f", p = {p:.3g}")
            + f": {_verdict(gain, p, len(comparison.adjusted))}"
        )  # fmt: skip
    for arm in arms:
        if arm.kind == names.SYNTHETIC:
            found = [(metric, comparison.relative[metric][arm.name]) for metric in comparison.relative]
            parts = [
                f"{_percent(effect)} {metric}"
                for name in PAPER
                for metric, effect in found
                if metric == name or metric.startswith(f"{name} (")
            ]
            if parts:
                lines.append(f"{arm.name}, relative gains over real-repeated as the paper gives them: {', '.join(parts)}")
    if (placebo := comparison.placebo) is not None:
        if placebo.equivalent is None:
            lines.append(f"real-as-synthetic: no test of equivalence: {placebo.reason}")
        else:
            lines.append(
                f"real-as-synthetic and real-repeated {'are equivalent' if placebo.equivalent else 'are NOT equivalent'}: "
                f"{placebo.difference:+.4f} finding F1 (90 % {placebo.low:+.4f} to {placebo.high:+.4f}), margin "
                f"{placebo.margin:g} stated beforehand, p = {placebo.p:.3g}"
            )
    if (shuffled := comparison.shuffled) is not None:
        hurts = shuffled.high is not None and shuffled.high < 0
        lines.append(
            f"shuffled against whole generated pairs, {primary}: {_signed(shuffled)}: shuffling "
            + ("hurts, so the pairing carries something" if hurts else f"{_verdict(shuffled, shuffled.p, 1)} from 0")
        )
    for name, exchange in comparison.exchange.items():
        if exchange.rate is None:
            lines.append(f"{name}, exchange rate: {exchange.reason}")
        else:
            lines.append(
                f"{name}, exchange rate: a generated pair is worth {exchange.rate:.2g} real ones "
                f"({exchange.low:.2g} to {exchange.high:.2g}), by {primary}"
            )
    count = len(settings.seeds)
    if count == 1:
        lines.append("one seed: what is said holds for these checkpoints; how much another seed would change is not known")
    return lines


def _setting(told: Mapping[str, Any], settings: AugmentationSettings) -> list[str]:
    regime = {
        "budget-matched": "budget-matched: the generator was trained on the low-data pairs alone",
        "external-prior": "external prior: the generator was trained on more than the low-data pairs",
    }[told["regime"]]
    lines = [
        f"* regime: {regime}",
        f"* low-data set: {told['real_pairs']:,} pairs of {told['real_patients']:,} patients, {told['low_data']}",
        f"* chosen on {told['validation_cases']:,} real validation pairs, tested on {told['test_cases']:,} cases of "
        f"{told['test_patients']:,} patients",
        f"* seeds {', '.join(map(str, settings.seeds))}; the set of generated pairs is one and the same for all",
    ]
    if told["smoke"]:
        lines.append(f"* **{told['smoke']}**")
    return lines


def _cell(effect: Effect) -> str:
    interval = "" if effect.low is None else f" ({effect.low:.3f} to {effect.high:.3f})"
    return f"{effect.value:.3f}{interval}"


def _signed(effect: Effect) -> str:
    interval = f" ({effect.reason})" if effect.low is None else f" ({effect.low:+.4f} to {effect.high:+.4f})"
    return f"{effect.value:+.4f}{interval}"


def _percent(effect: Effect) -> str:
    if effect.value != effect.value:
        return "no"
    interval = "" if effect.low is None else f" ({effect.low:+.1f} to {effect.high:+.1f})"
    return f"{effect.value:+.2f} %{interval}"


def _verdict(effect: Effect, p: float | None, family: int) -> str:
    """`p` is adjusted over the `family`; what could have been found is, too."""
    if p is None or effect.estimate is None:
        return "no interval"
    if effect.value == 0 or p >= ALPHA:
        smallest = effect.estimate.smallest_found(ALPHA / family)
        if smallest is None:
            return "not separable"
        return f"not separable (a difference of {smallest:.2g} would be found in 80 % of repetitions)"
    return "better" if effect.value > 0 else "worse"
