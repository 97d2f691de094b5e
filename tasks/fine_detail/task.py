"""Fine detail: the smallest lesion that survives the image tokenizer, and that survives generation.

Phantoms with one lesion of each size and contrast are shown to the checker that scores: as drawn (its own limit, the ceiling),
after the tokenizer's round trip, and as generated from the report that tells of it, in the report's own words for a size. A
twin without the lesion stands beside each.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, Protocol, runtime_checkable

from PIL import Image

from medim.data.dataset import PairDataset, keys_of
from medim.data.phantom.probes import Probe
from medim.imaging.images import square
from tasks.cases import unwrapped
from tasks.fine_detail.limits import spot_diameter
from tasks.fine_detail.pictures import sheet_of
from tasks.fine_detail.scores import DRAWN, GENERATED, NONE, TOKENS, DetailScores
from tasks.protocols import Answered, Case, Cases, Generator, Prediction, Predictions, Reconstructs
from tasks.scoring.context import Context
from tasks.scoring.scores import Scored, aligned
from tasks.task import Task, check_seeds, timed_batch

PROBED = 24  # cases of each domain that carry probes, at most


@runtime_checkable
class DrawsProbes(Protocol):
    """A data set that draws lesions of a given size and contrast in its pictures."""

    def probe(self, split: str, index: int) -> Probe | None:
        """The case at `index` without its findings; None where it has no room for a lesion."""


def probes_of(ids: Sequence[str], dataset: PairDataset, most: int = PROBED) -> dict[str, Probe]:
    """Probes in the first cases of each domain that have room for one, at most `most` of each; by id."""
    base = unwrapped(dataset)
    assert isinstance(base, DrawsProbes)
    result: dict[str, Probe] = {}
    counts: dict[str, int] = {}
    for id in ids:
        _, split, number = id.rsplit("-", 2)
        index = int(number)
        assert keys_of(base, split, index).id == id
        probe = base.probe(split, index)
        if probe is not None and counts.get(probe.lesion.name, 0) < most:
            counts[probe.lesion.name] = counts.get(probe.lesion.name, 0) + 1
            result[id] = probe
    return result


@runtime_checkable
class TellsProbabilities(Protocol):
    """An image checker with probabilities."""

    labels: Sequence[str]  # L names
    thresholds: Any  # (L,), from which each counts as present
    fingerprint: str  # hash of its weights

    def probabilities(self, images: Sequence[Image.Image]) -> Any:
        """Probability of each label, (N, L)."""


@dataclass(frozen=True)
class FineDetail(Task):
    """Lesions of controlled size and contrast: drawn, through the tokenizer, and generated.
    The first cases of each domain carry probes (`tasks.fine_detail.task.PROBED`); the others are left out."""

    name = "fine-detail"
    title = "Fine detail"
    intro = "The smallest lesion that survives the tokenizer, and that survives generation."
    headline_metrics = (
        "smallest nodule told from its twin through the tokenizer (% of the width), contrast 0.65",
        "smallest nodule told from its twin through the tokenizer (mm), contrast 0.46",
        "AUC: nodule as drawn",
        "AUC: nodule through the tokenizer",
        "AUC: nodule generated",
        "sensitivity: nodule generated",
    )
    order = 70
    probes: Mapping[str, Probe] | None = None  # by a case's id; filled by `prepared`
    checker: TellsProbabilities | None = None  # reads the images; filled by `prepared`

    def refuses(self, generator: Generator | Answered) -> str | None:
        """Returns a reason against folders of predictions: their images answer other requests."""
        if isinstance(generator, Answered) or not isinstance(generator, Generator):
            return "its images answer the data set's own cases, and here lesions of other sizes are drawn"
        return None

    def refuses_data(self, dataset: PairDataset) -> str | None:
        """Returns what the data set lacks: lesions that can be drawn, or a checker with probabilities."""
        if not isinstance(unwrapped(dataset), DrawsProbes):
            return f"data set '{dataset.name}' cannot draw a lesion of a given size and contrast (phantom and phantom-v2 can)"
        if not isinstance(dataset.image_checker(), TellsProbabilities):
            return f"data set '{dataset.name}' has no image checker that tells probabilities"
        return None

    def prepared(self, cases: Cases, dataset: PairDataset) -> "FineDetail":
        """The task with its probes and its checker."""
        checker = dataset.image_checker()
        assert isinstance(checker, TellsProbabilities)
        return replace(self, probes=probes_of([case.id for case in cases], dataset), checker=checker)

    def generate(self, generator: Generator, cases: Cases, seeds: Sequence[int]) -> list[Prediction]:
        """Of each probed case a sheet of its pictures; `details` holds what the checker says of them. Raises ValueError: the
        task was not `prepared`. Raises UserError: the generator gave another number of images."""
        if self.probes is None or self.checker is None:
            raise ValueError("prepare the task with all cases")
        check_seeds(cases, seeds)
        probed = [(case, self.probes[case.id], seed) for case, seed in zip(cases, seeds, strict=True) if case.id in self.probes]
        generated = self._generated(generator, probed)
        done: dict[str, Prediction] = {}
        for number, (case, probe, _) in enumerate(probed):
            images = {grade: pictures[number] for grade, (pictures, _) in generated.items()}
            costs = [cost for _, cost in generated.values()]
            cost = {key: sum(one[key] for one in costs) for key in costs[0]}
            details, sheet = self._read(generator, self.checker, probe, images, case.image.width)
            done[case.id] = Prediction(case.id, sheet, cost=cost, details=details)
        return [done.get(case.id, Prediction(case.id)) for case in cases]

    @staticmethod
    def _generated(
        generator: Generator, probed: Sequence[tuple[Case, Probe, int]]
    ) -> dict[str, tuple[list[Image.Image], dict[str, float]]]:
        """By grade (`NONE` for the twin): one image for each case, under the case's own seed, and its cost."""
        result: dict[str, tuple[list[Image.Image], dict[str, float]]] = {}
        for grade in dict.fromkeys(grade for _, probe, _ in probed for grade in (NONE, *probe.lesion.grades)):
            reports = [probe.report(grade if grade in probe.lesion.grades else None) for _, probe, _ in probed]
            generate = partial(generator.generate_images, reports, seeds=[seed for _, _, seed in probed])
            images, cost = timed_batch(generate, generator.name, "images", len(probed), generator)
            result[grade] = list(images), cost
        return result

    @staticmethod
    def _read(
        generator: Generator, checker: TellsProbabilities, probe: Probe, generated: Mapping[str, Image.Image], side: int
    ) -> tuple[dict[str, Any], Image.Image]:
        """What the checker says of one case's pictures, JSON-able, and these on one sheet."""
        lesion = probe.lesion
        drawn = [probe.draw(lesion.sizes[-1], 0.0, side)]
        drawn += [probe.draw(size, contrast, side) for contrast in lesion.contrasts for size in lesion.sizes]
        stages = {DRAWN: drawn}
        if isinstance(generator, Reconstructs):
            stages[TOKENS] = [square(image, side) for image in generator.reconstruct(drawn)]
        stages[GENERATED] = [square(generated[grade], side) for grade in (NONE, *lesion.grades)]
        column = list(checker.labels).index(probe.label)
        details: dict[str, Any] = {"lesion": {**asdict(lesion), "grades": dict(lesion.grades)}, "label": probe.label}
        details |= {"checker": checker.fingerprint, "threshold": float(checker.thresholds[column])}
        for stage, images in stages.items():
            details[stage] = [round(float(value), 6) for value in checker.probabilities(images)[:, column]]
        if lesion.solid:
            usual = [probe.draw(size, lesion.contrasts[-1], side) for size in lesion.grades.values()]
            details["measured"] = {
                stage: [spot_diameter(image, probe.box) * lesion.width for image in images]
                for stage, images in ((DRAWN, usual), (GENERATED, stages[GENERATED][1:]))
            }
        return details, sheet_of(stages, lesion)

    def score(self, cases: Cases, predictions: Predictions, context: Context, population: Cases | None = None) -> Scored:
        """Scores, and of each probed case how many of its lesions are seen."""
        scores = self._scores(cases, predictions, context)
        return scores.all(), scores.samples()

    def pictures(self, cases: Cases, predictions: Predictions, context: Context) -> dict[str, bytes]:
        """`detectability.png` and `detectability.csv`: every cell of the grids."""
        return self._scores(cases, predictions, context).pictures()

    def _scores(self, cases: Cases, predictions: Predictions, context: Context) -> DetailScores:
        if context.dataset is None:
            raise ValueError("which cases are probed follows from their data set")
        key = f"{self.name} {len(cases)} {cases[0].id} {cases[-1].id}"
        if key not in context.cached:
            context.cached[key] = frozenset(probes_of([case.id for case in cases], context.dataset))
        return DetailScores(cases, aligned(cases, predictions), context.cached[key], context)
