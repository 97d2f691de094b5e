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

from medim.data.dataset import PairDataset
from medim.data.phantom.probes import Probe
from medim.imaging.images import square
from tasks.fine_detail.limits import spot_diameter
from tasks.fine_detail.pictures import sheet_of
from tasks.fine_detail.probes import DrawsProbes, probes_of, unwrapped
from tasks.fine_detail.scores import DRAWN, GENERATED, NONE, TOKENS, DetailScores
from tasks.protocols import Answered, Case, Generator, Prediction, Reconstructs
from tasks.scoring.context import Context
from tasks.scoring.scores import Score, aligned
from tasks.task import Task, check_seeds, timed_batch


@runtime_checkable
class TellsProbabilities(Protocol):
    """An image checker that says how sure it is.

    Attributes:
        labels: L names.
        thresholds: (L,), from which each counts as present.
        fingerprint: hash of its weights.
    """

    labels: Sequence[str]
    thresholds: Any
    fingerprint: str

    def probabilities(self, images: Sequence[Image.Image]) -> Any:
        """Probability of each label, (N, L)."""


@dataclass(frozen=True)
class FineDetail(Task):
    """Lesions of controlled size and contrast: drawn, through the tokenizer, and generated.

    The first cases of each domain carry probes (`tasks.fine_detail.probes.PROBED`); the others are not asked.

    Attributes:
        probes: by a case's id; filled by `prepared`.
        checker: reads the images; filled by `prepared`.
    """

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
    probes: Mapping[str, Probe] | None = None
    checker: TellsProbabilities | None = None

    def refuses(self, generator: Generator | Answered) -> str | None:
        """Why this system cannot be asked; None where it can."""
        if isinstance(generator, Answered) or not isinstance(generator, Generator):
            return "its images answer the data set's own cases, and here lesions of other sizes are drawn"
        return None

    def refuses_data(self, dataset: PairDataset) -> str | None:
        """Why this data set cannot be asked; None where it can."""
        if not isinstance(unwrapped(dataset), DrawsProbes):
            return f"data set '{dataset.name}' cannot draw a lesion of a given size and contrast (phantom and phantom-v2 can)"
        if not isinstance(dataset.image_checker(), TellsProbabilities):
            return f"data set '{dataset.name}' has no image checker that tells probabilities"
        return None

    def prepared(self, cases: Sequence[Case], dataset: PairDataset) -> "FineDetail":
        """The task with its probes and its checker."""
        checker = dataset.image_checker()
        assert isinstance(checker, TellsProbabilities)
        return replace(self, probes=probes_of([case.id for case in cases], dataset), checker=checker)

    def generate(self, generator: Generator, cases: Sequence[Case], seeds: Sequence[int]) -> list[Prediction]:
        """Of each probed case a sheet of its pictures; `told` holds what the checker says of them.

        Raises:
            ValueError: the task was not `prepared`.
            UserError: the generator gave another number of images.
        """
        if self.probes is None or self.checker is None:
            raise ValueError("prepare the task with all cases")
        check_seeds(cases, seeds)
        asked = [(case, self.probes[case.id], seed) for case, seed in zip(cases, seeds, strict=True) if case.id in self.probes]
        made = self._generated(generator, asked)
        done: dict[str, Prediction] = {}
        for number, (case, probe, _) in enumerate(asked):
            images = {grade: pictures[number] for grade, (pictures, _) in made.items()}
            spent = [one for _, one in made.values()]
            cost = {key: sum(one[key] for one in spent) for key in spent[0]}
            done[case.id] = self._probed(generator, self.checker, case, probe, images, cost)
        return [done.get(case.id, Prediction(case.id)) for case in cases]

    @staticmethod
    def _generated(
        generator: Generator, asked: Sequence[tuple[Case, Probe, int]]
    ) -> dict[str, tuple[list[Image.Image], dict[str, float]]]:
        """By grade (`NONE` for the twin): one image for each case, under the case's own seed, and its cost."""
        result: dict[str, tuple[list[Image.Image], dict[str, float]]] = {}
        grades = dict.fromkeys(grade for _, probe, _ in asked for grade in (NONE, *probe.lesion.grades))
        for grade in grades:
            reports = [probe.report(grade if grade in probe.lesion.grades else None) for _, probe, _ in asked]
            own = [seed for _, _, seed in asked]
            ask = partial(generator.generate_images, reports, seeds=own)
            images, cost = timed_batch(ask, generator.name, "images", len(asked), generator)
            result[grade] = list(images), cost
        return result

    @staticmethod
    def _probed(
        generator: Generator,
        checker: TellsProbabilities,
        case: Case,
        probe: Probe,
        generated: Mapping[str, Image.Image],
        cost: Mapping[str, float],
    ) -> Prediction:
        lesion, side = probe.lesion, case.image.width
        drawn = [probe.draw(lesion.sizes[-1], 0.0, side)]
        drawn += [probe.draw(size, contrast, side) for contrast in lesion.contrasts for size in lesion.sizes]
        stages = {DRAWN: drawn}
        if isinstance(generator, Reconstructs):
            stages[TOKENS] = [square(image, side) for image in generator.reconstruct(drawn)]
        stages[GENERATED] = [square(generated[grade], side) for grade in (NONE, *lesion.grades)]
        column = list(checker.labels).index(probe.label)
        told: dict[str, Any] = {
            "lesion": {**asdict(lesion), "grades": dict(lesion.grades)}, "label": probe.label, "checker": checker.fingerprint,
            "threshold": float(checker.thresholds[column]),
            **{
                stage: [round(float(p), 6) for p in checker.probabilities(images)[:, column]]
                for stage, images in stages.items()
            },
        }  # fmt: skip
        if lesion.solid:
            usual = [probe.draw(size, lesion.contrasts[-1], side) for size in lesion.grades.values()]
            told["measured"] = {
                DRAWN: [spot_diameter(image, probe.box) * lesion.width for image in usual],
                GENERATED: [spot_diameter(image, probe.box) * lesion.width for image in stages[GENERATED][1:]],
            }
        return Prediction(case.id, sheet_of(stages, lesion), cost=cost, told=told)

    def score(
        self,
        cases: Sequence[Case],
        predictions: Sequence[Prediction],
        context: Context,
        population: Sequence[Case] | None = None,
    ) -> tuple[list[Score], list[dict[str, float]]]:
        """Scores, and of each probed case how many of its lesions are seen."""
        scores = DetailScores(cases, aligned(cases, predictions), self._probed_ids(cases, context), context)
        return scores.all(), scores.samples()

    def pictures(self, cases: Sequence[Case], predictions: Sequence[Prediction], context: Context) -> dict[str, bytes]:
        """`detectability.png` and `detectability.csv`: every cell of the grids."""
        scores = DetailScores(cases, aligned(cases, predictions), self._probed_ids(cases, context), context)
        return scores.pictures()

    def _probed_ids(self, cases: Sequence[Case], context: Context) -> frozenset[str]:
        if context.dataset is None:
            raise ValueError("which cases are probed follows from their data set")
        key = f"{self.name} {len(cases)} {cases[0].id} {cases[-1].id}"
        if key not in context.made:
            context.made[key] = frozenset(probes_of([case.id for case in cases], context.dataset))
        return frozenset(context.made[key])
