"""Image generation: a report in, an image out."""

from collections.abc import Sequence

from tasks.baselines.anchors import anchors_of
from tasks.protocols import Cases, Generator, Prediction, Predictions, Reconstructs
from tasks.scoring.alignment import alignment_scores
from tasks.scoring.context import Context
from tasks.scoring.distributions import distribution_scores
from tasks.scoring.findings import MACRO_F1, PER_SAMPLE_F1, Reading, finding_scores
from tasks.scoring.scores import Scored, aligned, coverage_of, images_of
from tasks.task import Anchor, Task, check_seeds, timed_batch


class ImageGeneration(Task):
    """Reports to images, scored by distance from the real images and by the findings that the image checker reads."""

    name = "image-generation"
    title = "Image generation"
    intro = "A report is given; the image is generated."
    needs = ("image",)
    by_statistics = True
    headline_metrics = (MACRO_F1, "KID (EfficientNet-Lite0)", "Fréchet distance (EfficientNet-Lite0)", "FID")
    order = 10

    def generate(self, generator: Generator, cases: Cases, seeds: Sequence[int]) -> list[Prediction]:
        """One image per case, from its report. Raises UserError: the generator gave another number of images."""
        check_seeds(cases, seeds)
        reports = [case.report for case in cases]
        images, cost = timed_batch(
            lambda: generator.generate_images(reports, seeds=list(seeds)), generator.name, "images", len(cases), generator
        )
        return [
            Prediction(case.id, image=image, prompt=case.report, cost=cost) for case, image in zip(cases, images, strict=True)
        ]

    def anchors(self, cases: Cases, train: Cases, reconstructs: Reconstructs | None, seed: int) -> list[Anchor]:
        """real, reconstruction, shuffled, constant, nearest neighbour (by report), training copy."""
        return anchors_of(cases, train, reconstructs, seed, images=True, reports=False)

    def score(self, cases: Cases, predictions: Predictions, context: Context, population: Cases | None = None) -> Scored:
        """Scores and per-sample scores; a missing image shows no findings and withholds the distribution metrics."""
        images = images_of(cases, aligned(cases, predictions))
        scores, per_sample = finding_scores(cases, Reading.of("image", images, context), context, coverage_of(images))
        scores += distribution_scores(cases, images, context, population)
        scores += alignment_scores(cases, images, [case.report for case in cases], context, paired=True)
        return scores, [{PER_SAMPLE_F1: value} for value in per_sample] if per_sample is not None else [{} for _ in cases]
