"""`augmentation.md`: the arms as a table, and in words what their comparison shows."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tasks.augmentation.arms import Arm
from tasks.augmentation.comparison import Comparison
from tasks.augmentation.settings import ARMS, REPEATED, SYNTHETIC, AugmentationSettings
from tasks.augmentation.statistics import ALPHA, Effect

PAPER = ("BLEU-1", "BLEU-2", "BLEU-3", "METEOR")  # the metrics of the paper's relative gains
REGIME = {
    "budget-matched": "budget-matched: the generator was trained on the low-data pairs alone",
    "external-prior": "external prior: the generator was trained on more than the low-data pairs",
}


def markdown(
    arms: Sequence[Arm],
    comparison: Comparison,
    numbers: Mapping[str, Any],
    setting: Mapping[str, Any],
    settings: AugmentationSettings,
) -> str:
    """The whole page; `numbers` are the trainings by arm's name."""
    kinds = {arm.kind for arm in arms}
    sections = [
        [f"# Augmentation: {setting['downstream']} with pairs of {setting['model']}"],
        _setting(setting, settings),
        table(arms, comparison, numbers),
        ["95 % intervals over patients and seeds; p adjusted over the arms (Holm)."],
        ["## What may be said"],
        [f"* {line}" for line in statements(arms, comparison, settings)],
        ["## Arms"],
        [f"* **{kind}**: {what}" for kind, what in ARMS.items() if kind in kinds],
        ["![curve](curve.png)"],
    ]
    return "\n\n".join("\n".join(lines) for lines in sections) + "\n"


def table(arms: Sequence[Arm], comparison: Comparison, numbers: Mapping[str, Any]) -> list[str]:
    """The arms by the main metrics, as lines of Markdown."""
    plain = [metric for metric in comparison.values if ": " not in metric]
    shown = [m for m in plain if m == comparison.primary or m.startswith(("BLEU", "METEOR", "ROUGE", "CIDEr"))]
    lines = ["| arm | pairs | steps | " + " | ".join(shown) + " |", "| --- | --- | --- |" + " --- |" * len(shown)]
    for arm in arms:
        number = numbers[arm.name]
        effects = [comparison.values[metric][arm.name] for metric in shown]
        cells = [f"{effect.value:.3f}{_ends(effect, '.3f')}" for effect in effects]
        lines.append(f"| {arm.name} | {number['examples']:,} | {number['steps']:,} | " + " | ".join(cells) + " |")
    return lines


def statements(arms: Sequence[Arm], comparison: Comparison, settings: AugmentationSettings) -> list[str]:
    """One line for each comparison: gains, the paper's form of them, controls, exchange rates."""
    lines = [*_gains(arms, comparison), *_relative(arms, comparison), *_controls(comparison)]
    for name, exchange in comparison.exchange.items():
        worth = exchange.reason
        if exchange.rate is not None:
            worth = (
                f"a generated pair is worth {exchange.rate:.2g} real ones ({exchange.low:.2g} to {exchange.high:.2g}), "
                f"by {comparison.primary}"
            )
        lines.append(f"{name}, exchange rate: {worth}")
    if len(settings.seeds) == 1:
        lines.append("one seed: what is said holds for these checkpoints; how much another seed would change is not known")
    return lines


def _gains(arms: Sequence[Arm], comparison: Comparison) -> Iterator[str]:
    primary = comparison.primary
    for arm in arms:
        if arm.kind != REPEATED:
            gain, p = comparison.gains[primary][arm.name], comparison.adjusted.get(arm.name)
            shown_p = "" if p is None else f", p = {p:.3g}"
            verdict = _verdict(gain, p, len(comparison.adjusted))
            yield f"{arm.name} against real-repeated, {primary}: {_signed(gain)}{shown_p}: {verdict}"


def _relative(arms: Sequence[Arm], comparison: Comparison) -> Iterator[str]:
    found = [
        (metric, effects)
        for name in PAPER
        for metric, effects in comparison.relative.items()
        if metric == name or metric.startswith(f"{name} (")
    ]
    for arm in arms:
        if arm.kind == SYNTHETIC and found:
            parts = [f"{_percent(effects[arm.name])} {metric}" for metric, effects in found]
            yield f"{arm.name}, relative gains over real-repeated as the paper gives them: {', '.join(parts)}"


def _controls(comparison: Comparison) -> Iterator[str]:
    if (placebo := comparison.placebo) is not None:
        if placebo.equivalent is None:
            yield f"real-as-synthetic: no test of equivalence: {placebo.reason}"
        else:
            yield (
                f"real-as-synthetic and real-repeated {'are equivalent' if placebo.equivalent else 'are NOT equivalent'}: "
                f"{placebo.difference:+.4f} finding F1 (90 % {placebo.low:+.4f} to {placebo.high:+.4f}), margin "
                f"{placebo.margin:g} stated beforehand, p = {placebo.p:.3g}"
            )
    if (shuffled := comparison.shuffled) is not None:
        hurts = shuffled.high is not None and shuffled.high < 0
        verdict = "hurts, so the pairing carries something" if hurts else f"{_verdict(shuffled, shuffled.p, 1)} from 0"
        yield f"shuffled against whole generated pairs, {comparison.primary}: {_signed(shuffled)}: shuffling {verdict}"


def _setting(setting: Mapping[str, Any], settings: AugmentationSettings) -> list[str]:
    lines = [
        f"* regime: {REGIME[setting['regime']]}",
        f"* low-data set: {setting['real_pairs']:,} pairs of {setting['real_patients']:,} patients, {setting['low_data']}",
        f"* chosen on {setting['validation_cases']:,} real validation pairs, tested on {setting['test_cases']:,} cases of "
        f"{setting['test_patients']:,} patients",
        f"* seeds {', '.join(map(str, settings.seeds))}; the set of generated pairs is one and the same for all",
    ]
    return lines + ([f"* **{setting['smoke']}**"] if setting["smoke"] else [])


def _ends(effect: Effect, form: str) -> str:
    return "" if effect.low is None else f" ({effect.low:{form}} to {effect.high:{form}})"


def _signed(effect: Effect) -> str:
    return f"{effect.value:+.4f}" + (f" ({effect.reason})" if effect.low is None else _ends(effect, "+.4f"))


def _percent(effect: Effect) -> str:
    return "no" if effect.value != effect.value else f"{effect.value:+.2f} %{_ends(effect, '+.1f')}"


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
