"""Joint generation: nothing in, an image and its report out."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from medim.common.errors import UserError
from tasks.baselines.anchors import anchors_of
from tasks.generation.joint.agreement import AGREEMENT, PREVALENCE_ERROR, agreement_scores
from tasks.generation.joint.judge import judge_scores
from tasks.generation.joint.retrieval import retrieval_scores
from tasks.metrics.pair.domains import MINIMUM_ACCURACY, NEIGHBOURS, nearest_domains, reading_accuracy
from tasks.metrics.statistics.additive import Additive
from tasks.metrics.text.embeddings import WeightedWords
from tasks.metrics.text.report_form import distinct_share
from tasks.protocols import Cases, Generator, Prediction, Predictions, Reconstructs
from tasks.scoring.alignment import alignment_scores
from tasks.scoring.context import Context, space_signature
from tasks.scoring.distributions import distribution_scores
from tasks.scoring.scores import Score, Scored, Scorer, aligned, because, coverage_of, images_of, reports_of
from tasks.task import Anchor, Task, check_seeds, timed_batch

DOMAIN_ERROR, DOMAIN_AGREEMENT = "max domain share error", "domain agreement"
SHARE = "domain share: {} ({})"


def domain_scores(
    cases: Cases, images: Sequence[Image.Image | None], reports: Sequence[str | None], score: Scorer
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


class JointGeneration(Task):
    """Unprompted pairs, scored by whether image and report agree, and by how far their distributions are from the data's."""

    name = "joint-generation"
    title = "Joint generation"
    intro = "Image and report are generated together, from nothing or from a prompt."
    needs = ("image", "report")
    prompted = False
    headline_metrics = (
        AGREEMENT,
        f"anchored {AGREEMENT}",
        PREVALENCE_ERROR,
        DOMAIN_ERROR,
        "anchored retrieval R@10 (image to report)",
        "distinct reports",
    )
    order = 30

    def generate(self, generator: Generator, cases: Cases, seeds: Sequence[int]) -> list[Prediction]:
        """One unprompted pair per case. Raises UserError: the generator gave another number of pairs."""
        check_seeds(cases, seeds)
        n = len(cases)
        pairs, cost = timed_batch(
            lambda: generator.generate_pairs([""] * n, seeds=list(seeds)), generator.name, "pairs", n, generator
        )
        return [
            Prediction(case.id, image=image, report=report, cost=cost)
            for case, (image, report) in zip(cases, pairs, strict=True)
        ]

    def anchors(self, cases: Cases, train: Cases, reconstructs: Reconstructs | None, seed: int) -> list[Anchor]:
        """real, reconstruction (of images), shuffled, constant, training copy."""
        return anchors_of(cases, train, reconstructs, seed, images=True, reports=True)

    def score(self, cases: Cases, predictions: Predictions, context: Context, population: Cases | None = None) -> Scored:
        """Scores and per-sample scores; a pair counts as given where both its image and its report are."""
        predictions = aligned(cases, predictions)
        images, reports = images_of(cases, predictions), reports_of(predictions)
        pairs = [None if image is None or report is None else True for image, report in zip(images, reports, strict=True)]
        score = Scorer(context, len(cases), coverage_of(pairs))
        scores, samples = agreement_scores(cases, images, reports, score)
        judged, verdicts = judge_scores(cases, images, reports, score)
        scores += judged
        samples = [sample | verdict for sample, verdict in zip(samples, verdicts, strict=True)]
        scores += domain_scores(cases, images, reports, score)
        scores += retrieval_scores(cases, images, reports, score)
        share, real = distinct_share(reports), distinct_share([case.report for case in cases])
        compared: dict[str, Any] = {"compared": "case and spacing apart"}
        scores.append(score("distinct reports", share, None, **compared))
        scores.append(score("distinct reports (of the real share)", share / real, None, **compared))
        scores += distribution_scores(cases, images, context, population)
        scores += alignment_scores(cases, images, reports, context, paired=False)
        return scores, samples
