"""How generated pairs share out over the domains of the data, read from the nearest reference cases."""

from collections.abc import Sequence
from typing import Any

from PIL import Image

from medim.common.errors import UserError
from tasks.metrics.pair.domains import MINIMUM_ACCURACY, NEIGHBOURS, nearest_domains, reading_accuracy
from tasks.metrics.statistics.additive import Additive
from tasks.metrics.text.embeddings import WeightedWords
from tasks.protocols import Case
from tasks.scoring.context import Context, space_signature
from tasks.scoring.scores import Score, because, make_score

ERROR, AGREEMENT = "max domain share error", "domain agreement"


def domain_scores(
    cases: Sequence[Case],
    images: Sequence[Image.Image | None],
    reports: Sequence[str | None],
    coverage: float,
    context: Context,
) -> list[Score]:
    """Share of each domain among generated images and reports, the largest error, and how many pairs are of one domain.

    One rule for all samples: the domain is that of most of the nearest reference cases, in the first image features of the
    context and in weighted words. What it is worth is measured on the cases themselves, each read from the others; below
    `MINIMUM_ACCURACY` nothing is told. A missing image or report is of no domain. Data of one domain has none of these scores.
    """
    domains = [case.domain for case in cases if case.domain is not None]
    names = sorted(set(domains))
    if len(names) < 2 or len(domains) < len(cases):
        return []
    scores = _Shares(cases, domains, names, coverage, context)
    details: dict[str, Any] = {"neighbours": NEIGHBOURS}
    try:
        bank = context.bank(context.features[0])
    except UserError as error:
        return scores.withheld(str(error), details | {"unavailable": True} | because(error))
    try:
        reference = bank.features([case.image for case in cases], keep=True)
        pictures = [image for image in images if image is not None]
        present = bank.features(pictures) if pictures else reference[:0]
    except UserError as error:
        return scores.withheld(str(error), details | because(error))
    details |= space_signature(bank.space)
    words = WeightedWords([case.report for case in cases])
    texts = words.rows([case.report for case in cases])
    accuracy = {"image": reading_accuracy(reference, domains), "report": reading_accuracy(texts, domains)}
    details |= {"texts": words.name, "read_right": {modality: round(value, 4) for modality, value in accuracy.items()}}
    worst = min(accuracy, key=accuracy.__getitem__)
    if accuracy[worst] < MINIMUM_ACCURACY:
        rate = f"{accuracy[worst]:.1%}, less than {MINIMUM_ACCURACY:.0%},"
        return scores.withheld(f"of the real {worst}s the domain of {rate} is read right from the others", details)
    there = words.rows([report for report in reports if report is not None])
    read = {
        "image": _placed(images, nearest_domains(present, reference, domains)),
        "report": _placed(reports, nearest_domains(there, texts, domains)),
    }
    return scores.of(read, details)


def _placed(items: Sequence[Any], read: Sequence[str]) -> list[str | None]:
    """What was read of the items that are there, None for the others."""
    found = iter(read)
    return [None if item is None else next(found) for item in items]


class _Shares:
    """Scores from the domains that were read."""

    def __init__(
        self, cases: Sequence[Case], domains: Sequence[str], names: Sequence[str], coverage: float, context: Context
    ) -> None:
        self.ids = [case.id for case in cases]
        self.data = {name: domains.count(name) / len(domains) for name in names}
        self.coverage, self.context = coverage, context

    def of(self, read: dict[str, list[str | None]], details: dict[str, Any]) -> list[Score]:
        shares = {
            (name, modality): Additive.proportion([one == name for one in found], self.ids, paired=False)
            for modality, found in read.items()
            for name in self.data
        }
        error = max(abs(share.value() - self.data[name]) for (name, _), share in shares.items())
        same = [image is not None and image == report for image, report in zip(read["image"], read["report"], strict=True)]
        scores = [
            self._score(ERROR, error, False, None, details),
            self._score(AGREEMENT, None, True, Additive.proportion(same, self.ids, paired=False), details),
        ]
        for (name, modality), share in shares.items():
            data = {"data": round(self.data[name], 4)}
            scores.append(
                self._score(f"domain share: {name} ({modality})", None, None, share, {**details, "share_of_data": data})
            )
        return scores

    def withheld(self, reason: str, details: dict[str, Any]) -> list[Score]:
        names: list[tuple[str, bool | None]] = [(ERROR, False), (AGREEMENT, True)]
        names += [(f"domain share: {name} ({modality})", None) for modality in ("image", "report") for name in self.data]
        return [self._score(name, None, better, None, details, reason) for name, better in names]

    def _score(
        self,
        metric: str,
        value: float | None,
        better: bool | None,
        additive: Additive | None,
        details: dict[str, Any],
        reason: str | None = None,
    ) -> Score:
        value = value if additive is None else additive.value()
        return make_score(
            metric, value, self.context, len(self.ids), self.coverage, better, reason=reason, additive=additive,
            **details,
        )  # fmt: skip
