"""Phantom version 2 as a data set: graded findings, several report styles, priors, stated rates of noise, twins.
It is frozen: a test holds the hash of its cases, pictures and reports."""

from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
from PIL import Image

from medim.common.declared import read_table
from medim.common.errors import UserError
from medim.common.files import hash_of
from medim.common.streams import stream
from medim.data.phantom.checkers import CheckerDesign, ReportChecker
from medim.data.phantom.dataset import TERMS, Phantom
from medim.data.phantom.labels import CHEST, LABELS, LABELS_BY_DOMAIN, PATHOLOGY
from medim.data.phantom.probes import Box, Lesion, Probe, side_box
from medim.data.phantom.v2.cases import COHORT, Case, change, sample_case, twin
from medim.data.phantom.v2.drawing.chest import draw_chest
from medim.data.phantom.v2.drawing.pathology import draw_pathology
from medim.data.phantom.v2.findings import Finding, severity_of
from medim.data.phantom.v2.placement import places_of
from medim.data.phantom.v2.reading.report_checker import CHECKER
from medim.data.phantom.v2.writing.phrases import WORDS
from medim.data.phantom.v2.writing.report import write_report
from medim.data.phantom.v2.writing.statements import MIXED, Options
from medim.pair import ImageReportPair

LESIONS = read_table(Path(__file__).with_name("lesions.yaml"), dict[str, Lesion])


@dataclass(frozen=True)
class LesionProbe:
    """A chest and its nodule in the mid zone, or a patch and its cluster of pigment."""

    case: Case
    lesion: Lesion
    label: str
    places: tuple[tuple[float, float], ...]
    options: Options

    @classmethod
    def of(cls, split: str, index: int, options: Options) -> "LesionProbe | None":
        """The probe at `index`; None where the picture has no room for the largest size."""
        case = sample_case(split, index)
        chest = case.domain == CHEST
        case = replace(case, findings=(), prior=None, cellularity=None if chest else "moderate")
        label = f"{('left', 'right')[index // 2 % 2]} nodule" if chest else "pigment"
        lesion = LESIONS["nodule" if chest else "pigment"]
        places = places_of(label, lesion.sizes[-1], 1, "mid" if chest else None, (), stream(index, 1))
        sure = replace(options, omission=0.0, uncertainty=0.0)
        return None if places is None else cls(case, lesion, label, places, sure)

    @property
    def box(self) -> Box:
        return side_box(self.label.partition(" ")[0], (0.10, 0.30), (0.34, 0.52))

    def draw(self, size: float, contrast: float, resolution: int) -> Image.Image:
        draw = draw_chest if self.case.domain == CHEST else draw_pathology
        return draw(self._with(size, contrast), resolution)

    def report(self, grade: str | None) -> str:
        case = self.case
        if grade is not None:
            case = self._with(self.lesion.grades[grade], self.lesion.contrasts[-1])
        return write_report(case, self.options).text

    def _with(self, size: float, contrast: float) -> Case:
        zone = None if self.case.domain == PATHOLOGY else "mid"
        lesion = Finding(self.label, severity_of(self.label, size, contrast), size, contrast, 1, zone, self.places)
        return replace(self.case, findings=(lesion,))


FINGERPRINT = "79181f5f49197681"
PICTURES_FINGERPRINT = "7920c9bf1c52a243"
CARD = Path(__file__).parent / "CARD.md"
HARD = ("left nodule", "right nodule", "lymphocytic infiltrate")  # small things among others like them


class PhantomV2(Phantom):
    """Phantom version 2: synthetic pairs with graded findings; `CARD.md` says what they can and cannot tell about real images.
    `resolution`: side of the square pictures in pixels, 32 to 1024; details are drawn for 64 to 512. `style`, `omission`,
    `label_noise`, `uncertainty`, `comparison`: see `Options`. Raises UserError: an option out of range."""

    name = "phantom-v2"
    cohort = COHORT
    resolutions = (32, 1024)
    pictures = PICTURES_FINGERPRINT
    folder = Path(__file__).parent
    openings = frozenset(opening for openings in WORDS.openings.values() for opening in openings)
    design = read_table(folder / "checker.yaml", CheckerDesign)

    def __init__(
        self,
        resolution: int = 64,
        style: str = MIXED,
        omission: float = 0.0,
        label_noise: float = 0.0,
        uncertainty: float = 0.1,
        comparison: bool = True,
    ) -> None:
        super().__init__(resolution)
        self.options = Options(style, omission, label_noise, uncertainty, comparison)
        chosen = {**vars(self.options), "resolution": resolution}
        standard = {**vars(Options()), "resolution": 64}
        self.fingerprint = FINGERPRINT if chosen == standard else hash_of([FINGERPRINT, chosen])

    def with_resolution(self, resolution: int) -> "PhantomV2":
        return PhantomV2(resolution, **vars(self.options))

    @staticmethod
    def case(split: str, index: int) -> Case:
        return sample_case(split, index)

    @staticmethod
    def draw(case: Case, resolution: int) -> Image.Image:
        """The picture of a case, sampled or built by hand. Every finding is drawn from a random stream of its own, so that a
        twin's picture differs only where the finding is. Raises UserError: a case built by hand whose findings have no room."""
        return (draw_chest if case.domain == CHEST else draw_pathology)(case, resolution)

    @classmethod
    def training_cases(cls, start: int, count: int, seed: int) -> list[Case]:
        """Cases from `start` of the training split, each followed by a twin."""
        rng = np.random.default_rng([seed, start])
        originals = (sample_case("train", index) for index in range(start, start + count))
        return [case for original in originals for case in (original, some_twin(original, rng))]

    def pair(self, split: str, index: int) -> ImageReportPair:
        """The pair at `index` (0-based) of a split; its image is RGB, `resolution` pixels square.
        `extra` holds `attributes` (per finding size, contrast, severity, count, zone), `cellularity`, the report's `style` and
        `mentions`, and where there is a prior study its id (`prior`) and how each finding compares (`change`).
        Raises UserError: unknown split.
        Raises IndexError: `index` outside the split."""
        return self.pair_of(sample_case(split, index))

    def pair_of(self, case: Case, suffix: str = "") -> ImageReportPair:
        """The pair of a case, sampled or built by hand; the suffix is appended to the id and the study."""
        keys = self.keys(case.split, case.index)
        report = write_report(case, self.options)
        extra: dict[str, object] = {"attributes": _attributes(case), "style": report.style, "mentions": dict(report.mentions)}
        if case.cellularity is not None:
            extra["cellularity"] = case.cellularity
        if case.prior is not None:
            extra["prior"] = self.keys(case.prior.split, case.prior.index).id
            compared = {label: change(case, label) for label in LABELS_BY_DOMAIN[case.domain]}
            extra["change"] = {label: how for label, how in compared.items() if how is not None}
        return ImageReportPair(
            id=keys.id + suffix,
            image=self.draw(case, self.resolution),
            report=report.text,
            split=case.split,
            study=keys.study + suffix,
            patient=keys.patient,
            view="frontal" if case.domain == CHEST else None,
            domain=case.domain,
            findings=noisy_labels(case, self.options.label_noise),
            terms=TERMS,
            sections=MappingProxyType(dict(report.sections)),
            extra=MappingProxyType(extra),
        )

    def twin_pairs(self, split: str, index: int, label: str) -> tuple[ImageReportPair, ImageReportPair]:
        """The pair at `index` and its counterfactual: with the finding `label` taken out, or put in where it was absent.
        Image and report differ only where they show or tell of that finding (see `writing.report` on grouped sentences).
        Raises UserError: unknown split, a label of the other domain, or no room for the finding.
        Raises IndexError: `index` outside the split."""
        case = sample_case(split, index)
        other = twin(case, label)
        return self.pair_of(case), self.pair_of(other, suffix=f"-twin-{label.replace(' ', '-')}")

    def reworded(self, split: str, index: int) -> str:
        return write_report(sample_case(split, index), self.options, np.random.default_rng([7, index])).text

    def probe(self, split: str, index: int) -> Probe | None:
        return LesionProbe.of(split, index, self.options)

    def report_checker(self) -> ReportChecker:
        return CHECKER


def some_twin(case: Case, rng: np.random.Generator) -> Case:
    """A twin of the case by a label at random, hard ones more often; by another where the picture has no room for that one."""
    labels = LABELS_BY_DOMAIN[case.domain]
    weights = np.array([3.0 if label in HARD else 1.0 for label in labels])
    for position in rng.choice(len(labels), len(labels), replace=False, p=weights / weights.sum()):
        try:
            return twin(case, labels[int(position)])
        except UserError:  # no room: the next label
            continue
    return case


def noisy_labels(case: Case, rate: float) -> tuple[str, ...]:
    """The labels of a case, each of its domain's flipped with probability `rate`; always the same ones."""
    flipped = case.stream("labels").random(len(LABELS)) < rate
    return tuple(label for label in LABELS_BY_DOMAIN[case.domain] if case.has(label) != flipped[LABELS.index(label)])


def _attributes(case: Case) -> dict[str, dict[str, object]]:
    return {
        finding.label: {
            "size": round(finding.size, 1),
            "contrast": round(finding.contrast, 3),
            "severity": finding.severity,
            "count": finding.count,
            "zone": finding.zone,
        }
        for finding in case.findings
    }
