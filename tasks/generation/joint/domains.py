"""How generated pairs share out over the domains of the data, read from the nearest reference cases."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from medim.common.errors import UserError
from tasks.metrics.pair.domains import MINIMUM_ACCURACY, NEIGHBOURS, nearest_domains, reading_accuracy
from tasks.metrics.statistics.additive import Additive
from tasks.metrics.text.embeddings import WeightedWords
from tasks.protocols import Case
from tasks.scoring.context import space_signature
from tasks.scoring.scores import Score, Scorer, because

DOMAIN_ERROR, DOMAIN_AGREEMENT = "max domain share error", "domain agreement"
SHARE = "domain share: {} ({})"


def domain_scores(
    cases: Sequence[Case], images: Sequence[Image.Image | None], reports: Sequence[str | None], score: Scorer
) -> list[Score]:
    """Share of each domain among generated images and reports, the largest error, and how many pairs are of one domain.

    The domain of a sample is that of most of the nearest reference cases, in the first image features of the context and in
    weighted words. Each case is read from the others to measure the accuracy of the rule: below `MINIMUM_ACCURACY` all is
    withheld. A missing image or report is of no domain. Data of one domain has none of these scores.
    """
    domains = [case.domain for case in cases if case.domain is not None]
    names = sorted(set(domains))
    if len(names) < 2 or len(domains) < len(cases):
        return []
    score = score.of(neighbours=NEIGHBOURS)
    directions: dict[str, bool | None] = {DOMAIN_ERROR: False, DOMAIN_AGREEMENT: True}
    directions |= dict.fromkeys(SHARE.format(name, modality) for modality in ("image", "report") for name in names)
    context = score.context
    try:
        bank = context.bank(context.features[0])
    except UserError as error:
        return score.withheld(directions, str(error), **{"unavailable": True} | because(error))
    try:
        reference = bank.features([case.image for case in cases], keep=True)
        pictures = [image for image in images if image is not None]
        present = bank.features(pictures) if pictures else reference[:0]
    except UserError as error:
        return score.withheld(directions, str(error), **because(error))
    words = WeightedWords([case.report for case in cases])
    texts = words.rows([case.report for case in cases])
    accuracy = {"image": reading_accuracy(reference, domains), "report": reading_accuracy(texts, domains)}
    rounded = {modality: round(value, 4) for modality, value in accuracy.items()}
    score = score.of(**space_signature(bank.space), texts=words.name, read_right=rounded)
    worst = min(accuracy, key=accuracy.__getitem__)
    if accuracy[worst] < MINIMUM_ACCURACY:
        rate = f"{accuracy[worst]:.1%}, less than {MINIMUM_ACCURACY:.0%},"
        return score.withheld(directions, f"of the real {worst}s the domain of {rate} is read right from the others")
    written = words.rows([report for report in reports if report is not None])
    read = {
        "image": _placed(images, nearest_domains(present, reference, domains)),
        "report": _placed(reports, nearest_domains(written, texts, domains)),
    }
    return _shares(read, {name: domains.count(name) / len(domains) for name in names}, [case.id for case in cases], score)


def _placed(items: Sequence[Any], read: Sequence[str]) -> list[str | None]:
    """What was read of the items that are there, None for the others."""
    found = iter(read)
    return [None if item is None else next(found) for item in items]


def _shares(read: dict[str, list[str | None]], data: dict[str, float], ids: Sequence[str], score: Scorer) -> list[Score]:
    """Scores of the domains that were read, by modality, against their shares of the data."""
    shares = {
        (name, modality): Additive.proportion([one == name for one in found], ids, paired=False)
        for modality, found in read.items()
        for name in data
    }
    error = np.max([abs(share.value() - data[name]) for (name, _), share in shares.items()])
    same = [image is not None and image == report for image, report in zip(read["image"], read["report"], strict=True)]
    return [
        score(DOMAIN_ERROR, float(error), False),
        score(DOMAIN_AGREEMENT, Additive.proportion(same, ids, paired=False), True),
        *(
            score(SHARE.format(name, modality), share, None, share_of_data={"data": round(data[name], 4)})
            for (name, modality), share in shares.items()
        ),
    ]
