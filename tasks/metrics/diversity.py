"""How varied the reports of a system are: collapse shows here while captioning metrics still look well."""

from collections import Counter
from collections.abc import Sequence


def distinct_share(reports: Sequence[str | None]) -> float:
    """Distinct reports / reports, in (0, 1]; case and spacing do not make a difference, all missing ones are one."""
    return len({" ".join((report or "").split()).lower() for report in reports}) / len(reports)


def mean_length(tokenised: Sequence[str]) -> float:
    """Mean number of tokens of space-separated texts; an empty text has none."""
    return sum(len(text.split()) for text in tokenised) / len(tokenised)


def distinct_n(tokenised: Sequence[str], n: int) -> float:
    """Distinct n-grams / n-grams over all texts (Li et al. 2016, distinct-n); 0 where there are none."""
    grams = Counter(gram for text in tokenised for gram in zip(*(text.split()[shift:] for shift in range(n)), strict=False))
    return len(grams) / grams.total() if grams else 0.0
