"""What the comparisons of a table say, in sentences and in rows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from leaderboard.tables.boards import Table
from leaderboard.tables.formats import decimals, number
from leaderboard.tables.pairwise import Comparison


@dataclass(frozen=True)
class PairRow:
    """One pair and metric, from the side of the better value."""

    pair: Comparison
    places: int  # decimals of the difference and its interval
    verdict: str  # in words, with what the other side reaches at a stated margin


def pair_rows(table: Table) -> Iterator[PairRow]:
    for metric in table.metrics:
        pairs = table.comparisons.of(metric)
        places = decimals(abs(pair.difference) for pair in pairs)
        sides = {(pair.model, pair.against): pair for pair in pairs}
        for pair in _better_sides(pairs, _higher_is_better(table, metric)):
            other = sides.get((pair.against, pair.model))
            verdict: str = pair.verdict
            if other is not None and other.verdict == "non-inferior":
                verdict = f"not separable; {other.model} non-inferior at a margin of {pair.margin:g}"
            if pair.smallest_found is not None:
                verdict += f" (80 % of repetitions would find {number(pair.smallest_found, places)})"
            yield PairRow(pair, places, verdict)


def _better_sides(pairs: Sequence[Comparison], higher: bool) -> list[Comparison]:
    kept: dict[frozenset[str], Comparison] = {}
    for pair in pairs:
        key = frozenset((pair.model, pair.against))
        if key not in kept or (pair.difference > 0) == higher:
            kept[key] = pair
    return list(kept.values())


def _higher_is_better(table: Table, metric: str) -> bool:
    return next((record.higher_is_better is not False for record in table.column(metric).values()), True)


def verdicts(table: Table) -> list[str]:
    """Sentences about the primary metric (who leads, who cannot be told apart), about every metric with a stated margin, and
    about what all these hold for. The first headline metric that is compared is the primary one."""
    compared = [metric for metric in table.metrics if table.comparisons.of(metric)]
    if not compared:
        return []
    primary = next((name for name in table.card.headline_metrics if name in compared), None)
    metric = primary or compared[0]
    pairs = table.comparisons.of(metric)
    sign = -1 if _higher_is_better(table, metric) else 1
    values = {pair.model: pair.value for pair in pairs}
    order = sorted(values, key=lambda model: (sign * values[model], model))
    lead, *others = order
    beats = {model: [p.against for p in pairs if p.model == model and p.verdict == "better"] for model in order}
    parts = []
    if beats[lead]:
        worst = max(pair.p_adjusted for pair in pairs if pair.model == lead and pair.verdict == "better")
        parts.append(f"{lead} is better than {_list(beats[lead])} (adjusted p {p_text(worst)})")
    if tied := [_tied(pair) for pair in pairs if pair.model == lead and pair.verdict != "better"]:
        parts.append(f"{lead} cannot be told apart from {_list(tied)}")
    parts += [f"{model} is better than {_list(beats[model])}" for model in others if beats[model]]
    met = {(pair.model, pair.against) for pair in pairs}
    if not met.issuperset(combinations(others, 2)):
        parts.append("some pairs were not compared (other cases, too few, or no value)")
    elif len(others) > 1 and not any(beats[model] for model in others):
        parts.append(f"{_list(others)} cannot be told apart from each other")
    sentences = [f"{metric}: {'; '.join(parts)}."]
    if any(pair.scope == "checkpoints" for pair in pairs):
        methods = {pair.model for pair in pairs if pair.scope == "methods"}
        single = [model for model in order if model not in methods]
        what = f"What is said of {_list(single)}" if methods and single else "This"
        sentences.append(f"{what} is said of these checkpoints, not of the methods: that needs two trainings or more of each.")
    if len(compared) > 1:
        sentences.append(
            f"{len(compared)} columns are compared, each with its own correction for the number of pairs and none for the "
            f"number of columns. {primary or 'None'} was named beforehand as the primary one; verdicts by the others are "
            "descriptive."
        )
    sentences += [
        f"{pair.metric}: {pair.model} is non-inferior to {pair.against} at the stated margin of {pair.margin:g} "
        "(by its own interval, not corrected for the number of pairs)."
        for pair in table.comparisons.pairs
        if pair.verdict == "non-inferior"
    ]
    return sentences


def _tied(pair: Comparison) -> str:
    if pair.smallest_found is None:
        return pair.against
    places = decimals([abs(pair.difference), pair.smallest_found])
    return f"{pair.against} (80 % of repetitions would find a difference of {number(pair.smallest_found, places)})"


def p_text(value: float) -> str:
    """A p value with two significant digits."""
    return f"{value:.2g}" if value >= 0.001 else "< 0.001"


def _list(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
